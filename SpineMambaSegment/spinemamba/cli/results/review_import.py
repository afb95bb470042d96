"""``spinemamba review-import LABELS OUT.seg.nrrd``: labels of any software for the review."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spinemamba.anatomy.label_schemes import numbering_of
from spinemamba.cli.arguments import add_numbering, add_overwrite, split_name
from spinemamba.cli.console import VERTEBRA_HEADS, print_line, result_rows, table
from spinemamba.common.atomic_files import check_place
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.write import check_output
from spinemamba.jobs.outputs import refuse_overwriting
from spinemamba.jobs.review_import import import_labels, save_imported
from spinemamba.protocol.result import RESULT_END

_ENDING = ".seg.nrrd"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="LABELS",
        help="label map, segmentation, DICOM SEG, or folder with one mask per structure",
    )
    parser.add_argument(
        "output", type=Path, metavar="OUT", help=".seg.nrrd to write; its result.json goes beside"
    )
    parser.add_argument(
        "--image",
        type=Path,
        help="segmented image: tells which vertebrae its edge cuts and which hold metal",
    )
    add_numbering(parser)
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Read and check the labels, write segmentation and result, and print a table."""
    if not args.output.name.lower().endswith(_ENDING):
        raise UserError(
            f"{args.output.name} cannot store names and the state of a review.",
            f"Choose a name that ends in {_ENDING}.",
            Code.OUTPUT_BAD,
        )
    result_path = args.output.with_name(f"{split_name(args.output)[0]}{RESULT_END}")
    outputs = [args.output, result_path]
    refuse_overwriting(outputs, filter(None, (args.source, args.image)))
    check_output(args.output, overwrite=args.overwrite)
    check_place(result_path, overwrite=args.overwrite)
    done = import_labels(
        args.source,
        numbering_of(args.numbering),
        args.image,
        lambda text: sys.stderr.write(f"Warning: {text}\n"),
    )
    for note in done.spine.notes:
        sys.stderr.write(f"{note}\n")
    save_imported(done, args.output, result_path, overwrite=args.overwrite)
    # Without the probabilities: the levels are those of the labels.
    kept = [k for k, head in enumerate(VERTEBRA_HEADS) if head != "certain"]
    rows = [[row[k] for k in kept] for row in result_rows(done.result)]
    print_line(table([VERTEBRA_HEADS[k] for k in kept], rows))
    for path in outputs:
        print_line(f"Wrote {path}")
    return 0
