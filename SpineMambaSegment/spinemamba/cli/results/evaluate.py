"""``spinemamba evaluate PREDICTED [REFERENCE]``: compare labels with a reference."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from spinemamba.anatomy.label_schemes import OPTION, numbering_of
from spinemamba.cli.arguments import add_numbering, add_overwrite
from spinemamba.cli.console import print_line, table
from spinemamba.common.atomic_files import check_place
from spinemamba.common.exit_codes import ExitCode
from spinemamba.evaluation.cases import Case, find_cases
from spinemamba.evaluation.cohort import Numberings, Outcome, Summary, evaluate, summarize
from spinemamba.evaluation.files import state
from spinemamba.evaluation.measures import MEASURES
from spinemamba.evaluation.scores import Comparison
from spinemamba.jobs.outputs import refuse_overwriting
from spinemamba.report.evaluation_files import evaluation_files, write_evaluation

_BY_KEY = {measure.key: measure for measure in MEASURES}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("predicted", type=Path, help="label image, folder of them, or .csv table")
    parser.add_argument(
        "reference", type=Path, nargs="?", help="label image on the same grid, or folder of them"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write tables, JSON and a page into this folder"
    )
    parser.add_argument(
        "--skip-unmatched",
        action="store_true",
        help="skip files without a counterpart instead of reporting them as errors",
    )
    parser.add_argument(
        "--no-distances", action="store_true", help="skip surface distances, the slowest part"
    )
    add_overwrite(parser)
    add_numbering(parser)
    parser.add_argument(
        "--reference-labels",
        metavar=OPTION,
        help="the same for references, if they use another scheme (default: as --labels)",
    )


def run(args: argparse.Namespace) -> int:
    """Compare cases, write files and print tables; return 2 if a case could not be compared."""
    cases = find_cases(args.predicted, args.reference)
    if args.skip_unmatched:
        cases = [case for case in cases if not case.problem]
    outputs: list[Path] = []
    if args.out:
        outputs = _outputs(args.out, [args.predicted], cases, overwrite=args.overwrite)
    predicted = numbering_of(args.numbering)
    other = args.reference_labels
    numberings = Numberings(predicted, predicted if other is None else numbering_of(other))
    outcomes = _evaluate_visibly(cases, distances=not args.no_distances, numberings=numberings)
    summary = summarize(outcomes)
    # Written before printing, which may fail.
    if outputs:
        write_evaluation(outcomes, summary, args.out, overwrite=args.overwrite)
    _print(outcomes, summary)
    for path in outputs:
        print_line(f"Wrote {path}")
    return ExitCode.USER_ERROR if summary.failed else ExitCode.DONE


def _print(outcomes: Sequence[Outcome], summary: Summary) -> None:
    """Print tables and means to stdout, and notes and errors of cases to stderr."""
    for outcome in outcomes:
        for note in outcome.notes:
            sys.stderr.write(f"{outcome.case.name}: {note}\n")
        if outcome.error:
            sys.stderr.write(f"{outcome.case.name}: {outcome.error}\n")
    if len(outcomes) == 1 and summary.scores:
        print_line(_vertebra_table(summary.scores[0]))
    elif summary.scores:
        print_line(_case_table(outcomes))
    for outcome in outcomes:
        if outcome.score is not None and outcome.score.note:
            print_line(f"{outcome.case.name}: {outcome.score.note}")
    if summary.scores:
        for line in _summary_lines(summary):
            print_line(line)


def _vertebra_table(score: Comparison) -> str:
    """Return a table with a row for each vertebra of the reference."""
    dice, mm = _BY_KEY["dice_matched"].text, _BY_KEY["hd95_matched_mm"].text
    heads = ("reference", "found as", "Dice", "HD95 mm", "ASSD mm", "Dice by name", "centroid mm")
    rows = [
        [
            v.name,
            v.found_as or state(v),
            dice(v.dice),
            mm(v.surface.hd95_mm),
            mm(v.surface.assd_mm),
            dice(v.named_dice),
            mm(v.centre_mm),
        ]
        for v in score.vertebrae
    ]
    return table(heads, rows)


def _case_table(outcomes: Sequence[Outcome]) -> str:
    """Return a table with a row for each case that was compared."""
    keys = ("bone_dice", "dice_matched", "dice_named", "hd95_matched_mm", "f1")
    rows = [
        [
            outcome.case.name,
            *(_BY_KEY[key].text(_BY_KEY[key].of(outcome.score)) for key in keys),
            f"{outcome.score.named_right} of {len(outcome.score.vertebrae)}",
        ]
        for outcome in outcomes
        if outcome.score is not None
    ]
    return table(("case", *(_BY_KEY[key].head for key in keys), "named right"), rows)


def _summary_lines(summary: Summary) -> list[str]:
    """Return the summary of all cases as lines of text; means are over cases."""
    means = {m.key: m.text(summary.measures[m.key].mean) for m in MEASURES}
    right, counted = summary.all_right
    vertebrae = summary.vertebrae
    extra = [name for score in summary.scores for name in score.extra]
    beyond = [name for score in summary.scores for name in score.beyond]
    lines = [
        f"All vertebrae against background: Dice {means['bone_dice']}, "
        f"HD95 {means['bone_hd95_mm']} mm, ASSD {means['bone_assd_mm']} mm",
        f"Per vertebra, matched by overlap: Dice {means['dice_matched']}, "
        f"HD95 {means['hd95_matched_mm']} mm, ASSD {means['assd_matched_mm']} mm",
        f"Per vertebra, by name: Dice {means['dice_named']}, "
        f"HD95 {means['hd95_named_mm']} mm, ASSD {means['assd_named_mm']} mm",
        f"Identification rate (VerSe, 20 mm): {means['identification_rate']}, "
        f"{summary.total('identified')} of {vertebrae}; "
        f"localisation distance {means['localisation_mm']} mm",
        f"Named right: {summary.total('named_right')} of {vertebrae}; "
        f"missed {summary.total('missed')}, extra {len(extra)}",
        f"All levels right: {right} of {counted} case{'' if counted == 1 else 's'}",
        f"Instance F1 {_BY_KEY['f1'].text(summary.f1)}, "
        f"panoptic quality {_BY_KEY['pq'].text(summary.pq)}",
    ]
    if len(summary.scores) == 1 and extra:
        lines.append(f"Extra: {', '.join(extra)}")
    if beyond:
        listed = ", ".join(beyond) if len(summary.scores) == 1 else f"{len(beyond)} vertebrae"
        lines.append(f"Beyond the labelled part, not counted: {listed}")
    return lines


def _evaluate_visibly(
    cases: Sequence[Case], *, distances: bool, numberings: Numberings
) -> list[Outcome]:
    """Compare; for several cases, show a progress bar on a terminal, otherwise a line per case."""
    if len(cases) == 1:
        return list(evaluate(cases, distances=distances, numberings=numberings))
    outcomes = []
    interactive = sys.stderr.isatty()
    with tqdm(total=len(cases), unit="case", file=sys.stderr, disable=not interactive) as bar:
        for outcome in evaluate(cases, distances=distances, numberings=numberings):
            outcomes.append(outcome)
            bar.update()
            if not interactive:
                sys.stderr.write(f"{len(outcomes)} of {len(cases)}  {outcome.case.name}\n")
                sys.stderr.flush()
    return outcomes


def _outputs(
    folder: Path, read: list[Path], cases: Sequence[Case], *, overwrite: bool
) -> list[Path]:
    """Return the output files in a folder, checked before the work starts.

    Args:
        folder: Output folder.
        read: Input files besides those of the cases, such as the table.
        cases: Cases to compare.
        overwrite: Whether files may be replaced.

    Raises:
        UserError: If the folder cannot be written, or an output is also an input (OUTPUT_BAD).
    """
    outputs = evaluation_files(folder)
    images = (path for case in cases for path in (case.predicted, case.reference))
    refuse_overwriting(outputs, [*read, *(path for path in images if path is not None)])
    for path in outputs:
        check_place(path, overwrite=overwrite)
    return outputs
