"""``spinemamba stl INPUT OUT``: from an image to surfaces of the vertebrae."""

from __future__ import annotations

import argparse
from pathlib import Path

from spinemamba.anatomy.label_schemes import AUTO
from spinemamba.cli.arguments import split_name
from spinemamba.cli.console import VERTEBRA_HEADS, print_line, result_rows, table
from spinemamba.cli.results import export
from spinemamba.cli.segment import run_with_progress_bar
from spinemamba.export.names import CASE, safe_case
from spinemamba.imaging.write import make_folder
from spinemamba.protocol.job import DEVICES, SegmentJob
from spinemamba.protocol.model_card import DEFAULT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("input", type=Path, help="DICOM folder, or NRRD, NIfTI or MetaImage file")
    parser.add_argument("output", type=Path, metavar="OUT", help="folder; made if it is missing")
    parser.add_argument(
        "--case",
        help="beginning of the file names (default: name of the image file; of a DICOM folder "
        f"{CASE}, because folders are often named after patients)",
    )
    parser.add_argument("--model", default=DEFAULT, help="bundled model or folder (%(default)s)")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    export.add_surface_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace files of the same case")
    parser.add_argument("--yes", action="store_true", help="do not ask about unreviewed vertebrae")


def run(args: argparse.Namespace) -> int:
    """Segment, then export surfaces with the labels, the result and its picture beside them."""
    name = args.case or (CASE if args.input.is_dir() else split_name(args.input)[0])
    case = safe_case(name)
    make_folder(args.output)
    job = SegmentJob(
        args.input,
        args.output / f"{case}.seg.nrrd",
        args.output / f"{case}_result.json",
        args.output / f"{case}_report.png",
        model=args.model,
        device=args.device,
        overwrite=args.overwrite,
    )
    files = run_with_progress_bar(job)
    print_line(table(VERTEBRA_HEADS, result_rows(files.result_data)))
    print_line(f"Look at {files.picture} before you use a surface.")
    export_args = {
        "result": files.labels,
        "stl": args.output,
        "formats": args.formats,
        "dicom_seg": None,
        "source": None,
        "case": name,
        "numbering": AUTO,
    }
    return export.run(argparse.Namespace(**{**vars(args), **export_args}))
