"""``spinemamba box IMAGE LABELS OUTPUT --again L3``: one vertebra anew, the others as they are."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from spinemamba.anatomy.label_schemes import numbering_of
from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.anatomy.terminology import level_named
from spinemamba.cli.console import ProgressBar, say
from spinemamba.cli.names import add_numbering, add_overwrite
from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.common.errors import UserError
from spinemamba.imaging.masks import merge_mask
from spinemamba.imaging.orientation import with_axes_of
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import check_output, write_image
from spinemamba.jobs.outputs import spare_inputs
from spinemamba.jobs.resegment import run_box
from spinemamba.labelmaps.read import LabelledSpine, read_vertebra_labels, values_in
from spinemamba.labelmaps.write_changes import write_changed
from spinemamba.protocol.job import DEVICES, MODALITIES, BoxJob, FileJob
from spinemamba.protocol.model_card import DEFAULT
from spinemamba.protocol.vertebra_result import BoxResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("image", type=Path, help="CT or MR, as for segment")
    parser.add_argument("labels", type=Path, help="its label image")
    parser.add_argument("output", type=Path, help="new label image")
    parser.add_argument("--again", metavar="LEVEL", help="the vertebra to find anew")
    parser.add_argument(
        "--at", metavar="X,Y,Z", help="place in the body of one that was missed (LPS, mm)"
    )
    parser.add_argument("--name", metavar="LEVEL", help="level of the vertebra at that place")
    parser.add_argument(
        "--keep",
        metavar="LEVEL",
        action="append",
        default=[],
        help="a level whose voxels stay; may be repeated. With --again, every other one stays",
    )
    parser.add_argument("--model", default=DEFAULT, help="bundled model or folder (%(default)s)")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--modality", choices=MODALITIES, default="auto")
    add_overwrite(parser)
    add_numbering(parser)


def run(args: argparse.Namespace) -> int:
    """Find one vertebra and put it into the labels."""
    from spinemamba.common.process_tuning import keep_freed_memory

    keep_freed_memory()
    if bool(args.again) == bool(args.at) or bool(args.at) != bool(args.name):
        raise UserError(
            "Either --again, or --at with --name is needed.",
            "Write --again L3, or --at=12.5,-30,104 --name L3.",
        )
    value, keep = _value(args.again or args.name), tuple(_value(level) for level in args.keep)
    check_output(args.output, overwrite=args.overwrite)
    for path in (args.image, args.labels):
        spare_inputs(FileJob(path, args.output))
    spine = read_vertebra_labels(args.labels, numbering_of(args.numbering))
    for note in spine.notes:
        sys.stderr.write(f"{note}\n")
    _check_there(spine, value, again=bool(args.again))
    mask, result = _look(args, spine.volume, keep)
    found = with_axes_of(spine.volume, mask).array > 0
    after = merge_mask(spine.volume.array, found, value, keep)
    with whole_or_nothing(args.output, overwrite=args.overwrite) as partial:
        write_changed(spine, after, partial)
    say(_sentence(BY_VALUE[value].name, result))
    say(f"Wrote {args.output}")
    return 0


def _check_there(spine: LabelledSpine, value: int, *, again: bool) -> None:
    """Refuse to find anew what is not there, or for the first time what is.

    Raises:
        UserError: If it is so.
    """
    present = set(values_in(spine.volume.array))
    name = BY_VALUE[value].name
    if again and value not in present:
        there = ", ".join(label.name for v, label in BY_VALUE.items() if v in present)
        raise UserError(f"The labels hold no {name}.", f"They hold {there or 'no vertebra'}.")
    if not again and value in present:
        raise UserError(f"The labels hold {name} already.", f"Find it anew: --again {name}.")


def _look(
    args: argparse.Namespace, labels: Volume, keep: tuple[int, ...]
) -> tuple[Volume, BoxResult]:
    with tempfile.TemporaryDirectory(prefix="spinemamba-") as folder, ProgressBar() as bar:
        # In a job, labels are numbers: those of the file may be others.
        numbers = Path(folder) / "labels.nrrd"
        write_image(labels, numbers)
        job = BoxJob(
            args.image,
            Path(folder) / "mask.nrrd",
            labels=numbers,
            place_lps_mm=_place(args.at),
            again=_value(args.again) if args.again else 0,
            keep=keep,
            model=args.model,
            device=args.device,
            modality=args.modality,
        )
        return run_box(job, bar, bar.warn)


def _sentence(name: str, result: BoxResult) -> str:
    text = f"{name}: {result.volume_ml:.1f} mL"
    if result.dice_before is not None:
        text += f", Dice with what it was {result.dice_before:.2f}"
    return f"{text}, the place given counted as its body." if result.seeded else f"{text}."


def _value(text: str) -> int:
    """Return the value of a level.

    Raises:
        UserError: If there is none of that name.
    """
    if label := level_named(text):
        return label.value
    raise UserError(f"{text!r} is no level.", "Use C1 to L6, T13, Sacrum or Coccyx.")


def _place(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"{text!r} is no place.", "Write three numbers: 12.5,-30,104.") from None
    return x, y, z
