"""``spinemamba dicom LABELS --source SERIES --out DIR``: results for an archive."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from spinemamba.anatomy.label_schemes import numbering_of
from spinemamba.cli.arguments import add_numbering, add_overwrite, level_ranges, split_name
from spinemamba.cli.console import print_line
from spinemamba.common.atomic_files import all_or_none, check_place
from spinemamba.common.errors import UserError
from spinemamba.export.item import Vertebra
from spinemamba.export.names import DICOM_ENDS, safe_case
from spinemamba.export.run_files import find_files, vertebrae_of
from spinemamba.export.selection import selected
from spinemamba.imaging.write import make_folder
from spinemamba.labelmaps.read import read_label_file

_DEFAULT = ("seg", "rtstruct", "sr")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "labels", type=Path, help="label image of the series, such as segment wrote"
    )
    parser.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        required=True,
        help="the DICOM series that was segmented",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="folder to write")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=tuple(DICOM_ENDS),
        default=list(_DEFAULT),
        help="seg: segments; rtstruct: contours; sr: measurements, which refer to the segments; "
        "pdf: the report, which needs Chromium, Chrome or Edge (default: all but pdf)",
    )
    parser.add_argument(
        "--levels",
        nargs="+",
        type=level_ranges,
        metavar="LEVEL",
        help="segments and contours of these only, such as L1 L2 or T10-L2",
    )
    parser.add_argument("--case", help="beginning of the file names (default: name of the labels)")
    add_overwrite(parser)
    add_numbering(parser)


def run(args: argparse.Namespace) -> int:
    """Write the instances, all or none."""
    case = safe_case(args.case or split_name(args.labels)[0])
    make_folder(args.out)
    kinds = [kind for kind in DICOM_ENDS if kind in args.kinds]
    if "sr" in kinds and "seg" not in kinds:
        raise UserError("The measurements refer to segments.", "Add seg to --kinds.")
    paths = {kind: args.out / f"{case}_{DICOM_ENDS[kind]}" for kind in kinds}
    for path in paths.values():
        check_place(path, overwrite=args.overwrite)
    content = read_label_file(args.labels, numbering_of(args.numbering))
    vertebrae = selected(vertebrae_of(content, find_files(args.labels)), args.levels)
    with all_or_none(list(paths.values()), overwrite=args.overwrite) as partial:
        _write({kind: partial[path] for kind, path in paths.items()}, vertebrae, args)
    for path in paths.values():
        print_line(f"Wrote {path}")
    return 0


def _write(paths: dict[str, Path], vertebrae: Sequence[Vertebra], args: argparse.Namespace) -> None:
    """Write the instances of all kinds into partial files."""
    from spinemamba.export.dicom_contours import write_contours
    from spinemamba.export.dicom_pdf import write_encapsulated_pdf
    from spinemamba.export.dicom_seg import write_dicom_seg
    from spinemamba.export.dicom_sr import write_measurement_report

    if "seg" in paths:
        write_dicom_seg(vertebrae, args.source, paths["seg"], overwrite=True, warn=_warn)
    if "rtstruct" in paths:
        write_contours(vertebrae, args.source, paths["rtstruct"])
    if "sr" not in paths and "pdf" not in paths:
        return
    from spinemamba.jobs.measure import Sources, measure_files, write_case_page
    from spinemamba.labelmaps.read import result_beside
    from spinemamba.report.print_pdf import print_pdf

    numbering = numbering_of(args.numbering)
    sources = Sources(args.labels, args.source, run=result_beside(args.labels), numbering=numbering)
    done = measure_files(sources, lambda name, fraction: None)
    if "sr" in paths:
        write_measurement_report(done.measured, args.source, paths["seg"], paths["sr"])
    if "pdf" in paths:
        with TemporaryDirectory(prefix="spinemamba-") as folder:
            page = Path(folder) / "report.html"
            write_case_page(done, page)
            write_encapsulated_pdf(print_pdf(page), args.source, paths["pdf"])


def _warn(message: str) -> None:
    sys.stderr.write(f"Warning: {message}\n")
