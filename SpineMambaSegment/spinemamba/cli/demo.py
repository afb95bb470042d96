"""``spinemamba demo``: segment a synthetic CT and compare with its exact labels."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.cli.arguments import add_overwrite, seed
from spinemamba.cli.console import VERTEBRA_HEADS, print_line, result_rows, table
from spinemamba.cli.segment import run_with_progress_bar
from spinemamba.common.atomic_files import all_or_none
from spinemamba.imaging.masks import dice
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.write import check_output, write_image
from spinemamba.jobs.outputs import check_outputs
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.protocol.result import Result

OPTIONS = PhantomOptions(first="T9", last="Sacrum", cut=True, spacing_mm=(1.5, 1.5, 1.5))
_DEFAULT_FOLDER = Path("spinemamba-demo")
_SCAN, _TRUTH = "ct.nii.gz", "truth.nii.gz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--out", type=Path, help=f"folder ({_DEFAULT_FOLDER})")
    parser.add_argument("--seed", type=seed, default=7, help="seed of the spine (%(default)s)")
    parser.add_argument("--model", default=DEFAULT, help="bundled model or folder (%(default)s)")
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Make a phantom, segment it, compare with its labels."""
    find_model(args.model)
    # In the default folder, files of an earlier demo are replaced.
    out: Path = args.out or _DEFAULT_FOLDER
    overwrite = args.overwrite or args.out is None
    for name in (_SCAN, _TRUTH):
        check_output(out / name, overwrite=overwrite)
    job = SegmentJob(
        out / _SCAN,
        out / "spine.seg.nrrd",
        out / "result.json",
        out / "report.png",
        model=args.model,
        modality="ct",
        overwrite=overwrite,
    )
    check_outputs(job)
    print_line(f"Making a synthetic CT of {OPTIONS.first} to {OPTIONS.last} (seed {args.seed}).")
    phantom = make_phantom(args.seed, OPTIONS)
    with all_or_none([out / _SCAN, out / _TRUTH], overwrite=overwrite) as partial:
        write_image(phantom.image, partial[out / _SCAN])
        write_image(phantom.labels, partial[out / _TRUTH])
    files = run_with_progress_bar(job)
    predicted = read_volume(files.labels).array
    rows = with_dice(files.result_data, predicted, phantom.labels.array)
    print_line(table((*VERTEBRA_HEADS[:-1], "truth", "Dice", VERTEBRA_HEADS[-1]), rows))
    bone_dice = dice(predicted > 0, phantom.labels.array > 0)
    print_line(f"All vertebrae against background: Dice {bone_dice:.3f}.")
    print_line(f"Check in {out / 'report.png'} that outlines follow the bone.")
    print_line(f"In Slicer, open {out / _SCAN} and over it {out / 'spine.seg.nrrd'}.")
    print_line(f"All details of the run are in {out / 'result.json'}.")
    return 0


def with_dice(result: Result, predicted: np.ndarray, truth: np.ndarray) -> list[list[str]]:
    """Return the rows of the table with the true level that overlaps most, and the Dice.

    Args:
        result: Result of the run.
        predicted: Label values, (z, y, x).
        truth: True label values, of the same shape.
    """
    rows = result_rows(result)
    for row, item in zip(rows, result.instances, strict=True):
        mask = predicted == item.label
        below = np.bincount(truth[mask], minlength=1)
        below[0] = 0
        if below.any():
            true = int(below.argmax())
            row[-1:-1] = [BY_VALUE[true].name, f"{dice(mask, truth == true):.3f}"]
        else:
            row[-1:-1] = ["none", "-"]
    return rows
