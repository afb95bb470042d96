"""``spinemamba resegment IMAGE LABELS OUTPUT --level L3``: segment one vertebra again."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from spinemamba.anatomy.label_schemes import numbering_of
from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.anatomy.terminology import level_named
from spinemamba.cli.arguments import add_former_option, add_numbering, add_overwrite
from spinemamba.cli.console import ProgressBar, print_line
from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.common.errors import UserError
from spinemamba.imaging.masks import merge_mask
from spinemamba.imaging.orientation import with_axes_of
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import check_output, write_image
from spinemamba.jobs.outputs import refuse_overwriting_inputs
from spinemamba.jobs.resegment import run_resegmentation
from spinemamba.labelmaps.read import LabelledSpine, read_vertebra_labels, values_in
from spinemamba.labelmaps.write_changes import write_changed
from spinemamba.protocol.job import DEVICES, MODALITIES, FileJob, ResegmentJob
from spinemamba.protocol.model_card import DEFAULT
from spinemamba.protocol.vertebra_result import VertebraResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("image", type=Path, help="CT or MR, as for segment")
    parser.add_argument("labels", type=Path, help="its label image")
    parser.add_argument("output", type=Path, help="new label image")
    parser.add_argument("--level", metavar="LEVEL", help="vertebra to segment again")
    parser.add_argument(
        "--point", metavar="X,Y,Z", help="point in the body of a missed vertebra (LPS, mm)"
    )
    parser.add_argument("--name", metavar="LEVEL", help="level of the vertebra at that point")
    parser.add_argument(
        "--keep",
        metavar="LEVEL",
        action="append",
        default=[],
        help="level whose voxels must not change; may be repeated. With --level, no other level "
        "changes",
    )
    add_former_option(parser, "--again", "--level")
    add_former_option(parser, "--at", "--point")
    parser.add_argument("--model", default=DEFAULT, help="bundled model or folder (%(default)s)")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--modality", choices=MODALITIES, default="auto")
    add_overwrite(parser)
    add_numbering(parser)


def run(args: argparse.Namespace) -> int:
    """Segment one vertebra, and merge it into the labels."""
    from spinemamba.common.process_tuning import keep_freed_memory

    keep_freed_memory()
    if bool(args.level) == bool(args.point) or bool(args.point) != bool(args.name):
        raise UserError(
            "The command needs either --level, or --point with --name.",
            "Write --level L3, or --point=12.5,-30,104 --name L3.",
        )
    value, keep = _value(args.level or args.name), tuple(_value(level) for level in args.keep)
    check_output(args.output, overwrite=args.overwrite)
    for path in (args.image, args.labels):
        refuse_overwriting_inputs(FileJob(path, args.output))
    spine = read_vertebra_labels(args.labels, numbering_of(args.numbering))
    for note in spine.notes:
        sys.stderr.write(f"{note}\n")
    _check_present(spine, value, again=bool(args.level))
    mask, result = _resegment(args, spine.volume, keep)
    inside = with_axes_of(spine.volume, mask).array > 0
    after = merge_mask(spine.volume.array, inside, value, keep)
    with whole_or_nothing(args.output, overwrite=args.overwrite) as partial:
        write_changed(spine, after, partial)
    print_line(_summary(BY_VALUE[value].name, result))
    print_line(f"Wrote {args.output}")
    return 0


def _check_present(spine: LabelledSpine, value: int, *, again: bool) -> None:
    """Check that a vertebra exists in the labels if, and only if, it is segmented again.

    Raises:
        UserError: If it does not exist and ``again``, or exists and not ``again``.
    """
    present = set(values_in(spine.volume.array))
    name = BY_VALUE[value].name
    if again and value not in present:
        existing = ", ".join(label.name for v, label in BY_VALUE.items() if v in present)
        raise UserError(
            f"The labels do not contain {name}.", f"They contain {existing or 'no vertebra'}."
        )
    if not again and value in present:
        raise UserError(f"The labels already contain {name}.", f"Segment it again: --level {name}.")


def _resegment(
    args: argparse.Namespace, labels: Volume, keep: tuple[int, ...]
) -> tuple[Volume, VertebraResult]:
    with tempfile.TemporaryDirectory(prefix="spinemamba-") as folder, ProgressBar() as bar:
        # A job refers to levels by VerSe's values; the file may use another scheme.
        verse_labels = Path(folder) / "labels.nrrd"
        write_image(labels, verse_labels)
        job = ResegmentJob(
            args.image,
            Path(folder) / "mask.nrrd",
            labels=verse_labels,
            point_lps_mm=_point_lps_mm(args.point),
            replaced_label=_value(args.level) if args.level else 0,
            locked_labels=keep,
            model=args.model,
            device=args.device,
            modality=args.modality,
        )
        return run_resegmentation(job, bar, bar.warn)


def _summary(name: str, result: VertebraResult) -> str:
    text = f"{name}: {result.volume_ml:.1f} mL"
    if result.dice_before is not None:
        text += f", Dice with the previous outline {result.dice_before:.2f}"
    return f"{text}, seeded by the given point." if result.seeded else f"{text}."


def _value(text: str) -> int:
    """Return the label value of a level.

    Raises:
        UserError: If there is no level of that name.
    """
    if label := level_named(text):
        return label.value
    raise UserError(f"{text!r} is not a level.", "Use C1 to L6, T13, Sacrum or Coccyx.")


def _point_lps_mm(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"{text!r} is not a point.", "Write three numbers: 12.5,-30,104.") from None
    return x, y, z
