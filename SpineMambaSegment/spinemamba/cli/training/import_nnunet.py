"""``spinemamba import-nnunet PREDICTIONS OUT``: nnU-Net's predictions as segmentations of ours."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spinemamba.cli.arguments import add_overwrite, split_name
from spinemamba.cli.console import print_line
from spinemamba.common.errors import UserError
from spinemamba.common.exit_codes import ExitCode

_ENDING = ".seg.nrrd"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("predictions", type=Path, help="folder that nnUNetv2_predict wrote")
    parser.add_argument("output", type=Path, help="folder of the segmentations")
    parser.add_argument(
        "--dataset",
        type=Path,
        metavar="FILE",
        help="dataset.json that names the labels (default: that among the predictions)",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="folder of the images (CASE_0000): tells which vertebrae their edge cuts",
    )
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Write a .seg.nrrd and its result.json for each case; return 2 if one cannot be read."""
    from spinemamba.anatomy.label_schemes import numbering_of
    from spinemamba.training.layouts.nnunet import DATASET

    numbering = numbering_of(str(args.dataset or args.predictions / DATASET))
    paths = _predictions(args.predictions)
    failed = 0
    for path in paths:
        try:
            _import(args, path, numbering)
        except UserError as error:
            failed += 1
            sys.stderr.write(f"{path.name}: {error}\n")
    print_line(f"{len(paths) - failed} of {len(paths)} cases are in {args.output}")
    return ExitCode.USER_ERROR if failed else ExitCode.DONE


def _predictions(folder: Path) -> list[Path]:
    """Return the label images of a folder.

    Raises:
        UserError: If there are none. A trained network of nnU-Net is none: it predicts one label
            per voxel and no cores, by which this package separates vertebrae.
    """
    from spinemamba.training.layouts.pairing import case_files, files_below

    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}.", "Give the folder of the predictions.")
    found = [file.path for file in case_files(files_below(folder, deep=False), "", folder)]
    if found:
        return found
    if any(folder.rglob("checkpoint_*.pth")):
        raise UserError(
            f"{folder} holds a trained network of nnU-Net. A model of this package also needs the "
            "cores of vertebrae and offsets to them, which that network does not predict.",
            "Predict with nnUNetv2_predict and import the predictions, or train a comparable "
            "network with --kind dynunet, which can be packed.",
        )
    raise UserError(f"There are no predictions in {folder}.", "Run nnUNetv2_predict first.")


def _import(args: argparse.Namespace, path: Path, numbering: object) -> None:
    """Import one prediction.

    Raises:
        UserError: If it cannot be read, the image is missing, or an output exists.
    """
    from spinemamba.common.atomic_files import check_place
    from spinemamba.imaging.write import check_output, make_folder
    from spinemamba.jobs.review_import import import_labels, save_imported
    from spinemamba.protocol.result import RESULT_END

    stem, suffix = split_name(path)
    image = None if args.images is None else args.images / f"{stem}_0000{suffix}"
    labels, result = args.output / f"{stem}{_ENDING}", args.output / f"{stem}{RESULT_END}"
    make_folder(args.output)
    check_output(labels, overwrite=args.overwrite)
    check_place(result, overwrite=args.overwrite)
    done = import_labels(path, numbering, image, lambda text: sys.stderr.write(f"{stem}: {text}\n"))
    save_imported(done, labels, result, overwrite=args.overwrite)
    levels = ", ".join(item.name for item in done.result.instances)
    print_line(f"{stem}: {levels or 'no vertebra'}")
