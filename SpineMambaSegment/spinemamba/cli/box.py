"""``spinemamba box IMAGE LABELS OUTPUT --again L3``: one vertebra anew, the others as they are."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from spinemamba.box_result import BoxResult
from spinemamba.box_run import run_box
from spinemamba.cli.console import ProgressBar, say
from spinemamba.cli.names import add_overwrite
from spinemamba.errors import UserError
from spinemamba.files import whole_or_nothing
from spinemamba.image_io import read_labels
from spinemamba.job import DEVICES, MODALITIES, BoxJob, FileJob
from spinemamba.labels import BY_NAME, BY_VALUE
from spinemamba.models import DEFAULT
from spinemamba.output import check_output
from spinemamba.patch import with_vertebra
from spinemamba.run import spare_inputs
from spinemamba.segnrrd import write_labels
from spinemamba.terminology import segment_info
from spinemamba.volume import Volume


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


def run(args: argparse.Namespace) -> int:
    """Find one vertebra and put it into the labels."""
    from spinemamba.memory import keep_freed_memory

    keep_freed_memory()
    if bool(args.again) == bool(args.at) or bool(args.at) != bool(args.name):
        raise UserError(
            "Either --again, or --at with --name is needed.",
            "Write --again L3, or --at=12.5,-30,104 --name L3.",
        )
    name, keep = args.again or args.name, tuple(_value(level) for level in args.keep)
    check_output(args.output, overwrite=args.overwrite)
    for path in (args.image, args.labels):
        spare_inputs(FileJob(path, args.output))
    labels = read_labels(args.labels)
    if args.at and (labels.array == _value(name)).any():
        raise UserError(f"The labels hold {name} already.", f"Find it anew: --again {name}.")
    mask, result = _look(args, keep)
    values = labels.array.astype(np.uint8)
    found = with_vertebra(values, mask.array > 0, _value(name), keep)
    present = [segment_info(value, {}) for value in BY_VALUE if (found == value).any()]
    with whole_or_nothing(args.output, overwrite=args.overwrite) as partial:
        write_labels(labels.with_array(found), partial, present)
    say(_sentence(BY_VALUE[_value(name)].name, result))
    say(f"Wrote {args.output}")
    return 0


def _look(args: argparse.Namespace, keep: tuple[int, ...]) -> tuple[Volume, BoxResult]:
    with tempfile.TemporaryDirectory(prefix="spinemamba-") as folder, ProgressBar() as bar:
        job = BoxJob(
            args.image,
            Path(folder) / "mask.nrrd",
            labels=args.labels,
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
    for name, label in BY_NAME.items():
        if name.lower() == text.lower():
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
