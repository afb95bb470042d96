"""``spinemamba phantom OUT``: a synthetic scan with exact labels."""

from __future__ import annotations

import argparse
from pathlib import Path

from spinemamba.cli.arguments import add_overwrite, seed, spacing_mm, split_name
from spinemamba.cli.console import print_line
from spinemamba.common.atomic_files import all_or_none
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.write import check_output, write_image
from spinemamba.phantom import PhantomOptions, make_phantom


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("output", type=Path, help="image to write; labels are written beside it")
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--first", default="C1", help="highest level (%(default)s)")
    parser.add_argument("--last", default="Sacrum", help="lowest level (%(default)s)")
    parser.add_argument("--thoracic", type=int, choices=(11, 12, 13), default=12)
    parser.add_argument("--lumbar", type=int, choices=(4, 5, 6), default=5)
    parser.add_argument("--spacing", type=spacing_mm, default=1.5, help="voxel size in mm")
    parser.add_argument("--modality", choices=("ct", "mr"), default="ct")
    parser.add_argument(
        "--truncate", action="store_true", help="end the image inside the first and last vertebra"
    )
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Make a phantom and write image and labels."""
    stem, ending = split_name(args.output)
    if ending.lower() == ".seg.nrrd":
        raise UserError(
            f"{args.output.name} is the name of a segmentation, and a phantom is an image.",
            "Let the name end in .nii.gz, .nrrd or .mha.",
            Code.OUTPUT_BAD,
        )
    labels = args.output.with_name(f"{stem}_labels{ending}")
    for path in (args.output, labels):
        check_output(path, overwrite=args.overwrite)
    try:
        options = PhantomOptions(
            first=args.first,
            last=args.last,
            thoracic=args.thoracic,
            lumbar=args.lumbar,
            spacing_mm=(args.spacing,) * 3,
            modality=args.modality,
            cut=args.truncate,
        )
    except ValueError as error:
        raise UserError(f"No such phantom: {error}.", "Check levels and spacing.") from error
    phantom = make_phantom(args.seed, options)
    with all_or_none([args.output, labels], overwrite=args.overwrite) as partial:
        write_image(phantom.image, partial[args.output])
        write_image(phantom.labels, partial[labels])
    print_line(f"Wrote {args.output}\nWrote {labels}")
    return 0
