"""``spinemamba demo``: the whole way of a volume, on a synthetic CT with known truth."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.cli.console import VERTEBRA_HEADS, say, table, vertebra_rows
from spinemamba.cli.names import add_overwrite
from spinemamba.cli.numbers import seed
from spinemamba.cli.segment import run_visibly
from spinemamba.common.atomic_files import all_or_none
from spinemamba.imaging.masks import dice
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.write import check_output, write_image
from spinemamba.jobs.outputs import check_outputs
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol.job import Job
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.protocol.result import Result

OPTIONS = PhantomOptions(first="T9", last="Sacrum", cut=True, spacing_mm=(1.5, 1.5, 1.5))
OWN_FOLDER = Path("spinemamba-demo")
SCAN, TRUTH = "ct.nii.gz", "truth.nii.gz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--out", type=Path, help=f"folder ({OWN_FOLDER})")
    parser.add_argument("--seed", type=seed, default=7, help="another seed, another patient")
    parser.add_argument("--model", default=DEFAULT, help="bundled model or folder (%(default)s)")
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Make a phantom, segment it, compare with its truth."""
    find_model(args.model)
    # In its own folder, the files of an earlier demo are replaced.
    out: Path = args.out or OWN_FOLDER
    overwrite = args.overwrite or args.out is None
    for name in (SCAN, TRUTH):
        check_output(out / name, overwrite=overwrite)
    job = Job(
        out / SCAN,
        out / "spine.seg.nrrd",
        out / "result.json",
        out / "report.png",
        model=args.model,
        modality="ct",
        overwrite=overwrite,
    )
    check_outputs(job)
    say(f"Making a synthetic CT of {OPTIONS.first} to {OPTIONS.last} (seed {args.seed}).")
    phantom = make_phantom(args.seed, OPTIONS)
    with all_or_none([out / SCAN, out / TRUTH], overwrite=overwrite) as partial:
        write_image(phantom.image, partial[out / SCAN])
        write_image(phantom.labels, partial[out / TRUTH])
    files = run_visibly(job)
    found = read_volume(files.labels).array
    rows = with_dice(files.result_data, found, phantom.labels.array)
    say(table((*VERTEBRA_HEADS[:-1], "truth", "Dice", VERTEBRA_HEADS[-1]), rows))
    whole = dice(found > 0, phantom.labels.array > 0)
    say(f"All vertebrae against background: Dice {whole:.3f} to the phantom's truth.")
    say(f"Look at {out / 'report.png'}: are the outlines on the bone, and the names in order?")
    say(f"In Slicer, open {out / SCAN} and over it {out / 'spine.seg.nrrd'}.")
    say(f"Everything that is known about the run is in {out / 'result.json'}.")
    return 0


def with_dice(result: Result, found: np.ndarray, truth: np.ndarray) -> list[list[str]]:
    """Return the vertebrae's rows with the true vertebra below most of each, and their Dice.

    Args:
        result: What was found.
        found: Label values.
        truth: True label values, of the same shape.
    """
    rows = vertebra_rows(result)
    for row, item in zip(rows, result.instances, strict=True):
        mask = found == item.label
        below = np.bincount(truth[mask], minlength=1)
        below[0] = 0
        if below.any():
            true = int(below.argmax())
            row[-1:-1] = [BY_VALUE[true].name, f"{dice(mask, truth == true):.3f}"]
        else:
            row[-1:-1] = ["none", "-"]
    return rows
