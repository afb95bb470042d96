"""``spinemamba demo``: the whole way of a volume, on a synthetic CT with known truth."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from spinemamba.cli.console import VERTEBRA_HEADS, say, table, vertebra_rows
from spinemamba.cli.segment import run_visibly
from spinemamba.errors import Code, UserError
from spinemamba.evaluation.compare import dice
from spinemamba.image_io import read_volume, write_image
from spinemamba.job import Job
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.result import Result

OPTIONS = PhantomOptions(first="T9", last="Sacrum", cut=True, spacing_mm=(1.5, 1.5, 1.5))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--out", type=Path, default=Path("spinemamba-demo"), help="folder")
    parser.add_argument("--seed", type=int, default=7, help="another seed, another patient")


def run(args: argparse.Namespace) -> int:
    """Make a phantom, segment it, compare with its truth."""
    out: Path = args.out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"Cannot make the folder {out}: {error.strerror}.",
            "Choose another one.",
            Code.OUTPUT_BAD,
        ) from error
    say(f"Making a synthetic CT of {OPTIONS.first} to {OPTIONS.last} (seed {args.seed}).")
    phantom = make_phantom(args.seed, OPTIONS)
    write_image(phantom.image, out / "ct.nii.gz")
    write_image(phantom.labels, out / "truth.nii.gz")
    job = Job(out / "ct.nii.gz", out / "spine.seg.nrrd", out / "result.json", out / "report.png")
    files = run_visibly(job)
    found = read_volume(files.labels).array
    rows = with_dice(files.result_data, found, phantom.labels.array)
    say(table((*VERTEBRA_HEADS[:4], "Dice", VERTEBRA_HEADS[4]), rows))
    whole = dice(found > 0, phantom.labels.array > 0)
    say(f"All vertebrae against background: Dice {whole:.3f} to the phantom's truth.")
    say(f"Look at {out / 'report.png'}; open {out / 'spine.seg.nrrd'} over ct.nii.gz in Slicer.")
    return 0


def with_dice(result: Result, found: np.ndarray, truth: np.ndarray) -> list[list[str]]:
    """Return the rows of the vertebrae with their Dice to the same level of the truth."""
    rows = vertebra_rows(result)
    for row, item in zip(rows, result.instances, strict=True):
        row.insert(4, f"{dice(found == item.label, truth == item.label):.3f}")
    return rows
