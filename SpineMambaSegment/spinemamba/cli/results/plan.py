"""``spinemamba plan LABELS OUT --image CT``: pedicles, screw corridors, breach test, guides."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spinemamba.anatomy.label_schemes import numbering_of
from spinemamba.anatomy.labels import ORDER
from spinemamba.cli.arguments import (
    add_numbering,
    add_overwrite,
    level_ranges,
    positive_number,
    split_name,
)
from spinemamba.cli.console import print_line, table
from spinemamba.common.atomic_files import check_place
from spinemamba.common.errors import UserError
from spinemamba.imaging.write import make_folder
from spinemamba.protocol.job import MODALITIES
from spinemamba.protocol.planning.plan import GUIDE_NOTICE, Corridor, Pedicle

_HEADS = ("pedicle", "width", "height", "inner", "length", "transverse", "sagittal", "corridor")
_SCREW_HEADS = ("pedicle", "screw", "diameter", "length", "grade", "breach", "wall", "canal")
_OPTIONS = {
    "gap": "between bone and patch",
    "bore": "hole of a sleeve",
    "thickness": "of the patch",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("labels", type=Path, help="label image, such as segment wrote")
    parser.add_argument("out", type=Path, help="folder of the plan")
    parser.add_argument(
        "--image",
        type=Path,
        help="segmented image; a CT shows the inner cortex, and screws of metal",
    )
    parser.add_argument("--modality", choices=MODALITIES, default="auto", help="of the image")
    parser.add_argument(
        "--levels",
        nargs="+",
        type=level_ranges,
        metavar="LEVEL",
        help="plan only these, such as L1 L2 or T10-L2",
    )
    parser.add_argument(
        "--screws", type=Path, help="table of screws and rules, JSON or CSV (default: usual sizes)"
    )
    parser.add_argument(
        "--lines",
        type=Path,
        help="edited lines of Slicer (.mrk.json), from entry to tip: test these, too",
    )
    parser.add_argument(
        "--guides", action="store_true", help="write a starting point of a drill guide per level"
    )
    for name, text in _OPTIONS.items():
        parser.add_argument(
            f"--guide-{name}", type=positive_number(10, " of mm"), metavar="MM", help=text
        )
    parser.add_argument("--case", help="beginning of the file names (default: name of the labels)")
    add_overwrite(parser)
    add_numbering(parser)


def run(args: argparse.Namespace) -> int:
    """Plan, write the files, and print tables."""
    from spinemamba.jobs.plan import PlanSources, plan_files, write_plan  # loads vtk
    from spinemamba.planning.drill_guide import GuideOptions

    case = args.case or split_name(args.labels)[0]
    if case != Path(case).name:
        raise UserError(f"'{case}' is not valid in a file name.", "Leave out slashes.")
    given = {f"{name}_mm": getattr(args, f"guide_{name}") for name in _OPTIONS}
    sizes = {name: value for name, value in given.items() if value is not None}
    guide = GuideOptions(**sizes) if args.guides else None
    sources = PlanSources(
        args.labels,
        args.image,
        args.modality,
        args.screws,
        args.lines,
        numbering_of(args.numbering),
        _levels(args.levels),
    )
    make_folder(args.out)
    # Other files are checked when their names are known, before any is written.
    check_place(args.out / f"{case}_plan.json", overwrite=args.overwrite)
    planned = plan_files(sources, _print_progress)
    plan, paths = write_plan(planned, args.out, case, guide, overwrite=args.overwrite)
    for text in plan.alerts:
        print_line(text)
    print_line(table(_HEADS, [_row(pedicle) for pedicle in plan.pedicles]) + "\n")
    tested = [_screw_row(p, screw) for p in plan.pedicles for screw in p.screws]
    if tested:
        print_line(table(_SCREW_HEADS, tested) + "\n")
    for text in plan.notes:
        print_line(text)
    if guide is not None:
        print_line(f"Drill guides: {GUIDE_NOTICE}")
    print_line(plan.notice)
    print_line(f"Wrote {len(paths)} files, {case}_plan.json among them, into {args.out}")
    return 0


def _levels(given: list[list[tuple[str, str]]] | None) -> list[str] | None:
    """Return the levels of ranges; None for all."""
    if given is None:
        return None
    ranges = [ends for ranges in given for ends in ranges]
    return [n for n in ORDER if any(ORDER[a] <= ORDER[n] <= ORDER[b] for a, b in ranges)]


def _row(pedicle: Pedicle) -> list[str]:
    sizes = (pedicle.width_mm, pedicle.height_mm, pedicle.inner_width_mm, pedicle.length_mm)
    angles = (pedicle.transverse_deg, pedicle.sagittal_deg)
    cells = ["-" if value is None else f"{value + 0.0:.1f}" for value in (*sizes, *angles)]
    corridor = pedicle.suggestion
    text = pedicle.reasons.get("suggestion", "")
    if corridor is not None:
        text = (
            f"{corridor.diameter_mm:g} x {corridor.length_mm:g} mm, margin "
            f"{corridor.cortex_margin_mm:.1f} mm"
        )
    return [pedicle.name, *cells, text]


def _screw_row(pedicle: Pedicle, screw: Corridor) -> list[str]:
    canal = f"{screw.in_canal_mm:.1f} in it" if screw.in_canal_mm else "free"
    numbers = [f"{value:.1f}" for value in (screw.diameter_mm, screw.length_mm)]
    breach = f"{screw.breach_mm:.1f}"
    return [pedicle.name, screw.source, *numbers, screw.grade, breach, screw.wall or "-", canal]


def _print_progress(name: str, fraction: float) -> None:
    sys.stderr.write(f"{100 * fraction:3.0f}%  planning {name}\n")
    sys.stderr.flush()
