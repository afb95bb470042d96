"""``spinemamba parts LABELS OUT``: divide vertebrae into parts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.anatomy.label_schemes import numbering_of
from spinemamba.anatomy.parts import PARTS, UNDIVIDED, Part
from spinemamba.cli.arguments import add_numbering, add_overwrite, split_name
from spinemamba.cli.console import print_line, table
from spinemamba.common.atomic_files import check_place
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.write import check_output, make_folder

if TYPE_CHECKING:
    from spinemamba.parts.spine import SpineParts

_DICOM_SUFFIX = ".dcm"
_ABSENT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("labels", type=Path, help="label image, such as segment wrote")
    parser.add_argument("output", type=Path, help=".seg.nrrd (names, colours), .nii.gz, .nrrd")
    parser.add_argument(
        "--result",
        type=Path,
        help="result.json of the run (default: the one beside the labels)",
    )
    parser.add_argument(
        "--stl", type=Path, metavar="DIR", help="also write a surface of each part into this folder"
    )
    parser.add_argument(
        "--dicom-seg", type=Path, metavar="FILE", help="also write a DICOM SEG; needs --source"
    )
    parser.add_argument(
        "--source", type=Path, metavar="DIR", help="the DICOM series that was segmented"
    )
    add_overwrite(parser)
    add_numbering(parser)


def run(args: argparse.Namespace) -> int:
    """Divide, write the files, and print volumes and what is missing."""
    _check(args)
    from spinemamba.jobs.measure import Sources
    from spinemamba.jobs.outputs import refuse_overwriting
    from spinemamba.jobs.parts import divide_file, missing_by_reason, write_parts
    from spinemamba.labelmaps.read import result_beside

    refuse_overwriting([args.output], [args.labels])
    run = args.result or result_beside(args.labels)
    numbering = numbering_of(args.numbering)
    sources = Sources(args.labels, run=run, named=bool(args.result), numbering=numbering)
    done = divide_file(sources, _print_progress)
    # The most likely to be refused comes first.
    if args.dicom_seg is not None:
        _write_dicom_seg(done.parts, args)
    if args.stl is not None:
        _write_surfaces(done.parts, args)
    write_parts(done.parts, args.output)
    print_line(_volumes(done.parts))
    for reason, names in missing_by_reason(done.parts).items():
        print_line(f"Not given: {'; '.join(names)}: {reason}.")
    for note in done.notes:
        print_line(note)
    for path in filter(None, (args.output, args.stl, args.dicom_seg)):
        print_line(f"Wrote {path}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Check the outputs before the work starts.

    Raises:
        UserError: If an output cannot be written, or the series of a DICOM SEG is missing.
    """
    check_output(args.output, overwrite=args.overwrite)
    if args.dicom_seg is None:
        return
    if args.source is None:
        raise UserError("A DICOM SEG needs the series it refers to.", "Add --source DIR.")
    if args.dicom_seg.suffix.lower() != _DICOM_SUFFIX:
        raise UserError(
            f"{args.dicom_seg.name} does not have the suffix of a DICOM file.",
            f"Choose a name that ends in {_DICOM_SUFFIX}.",
            Code.OUTPUT_BAD,
        )
    check_place(args.dicom_seg, overwrite=args.overwrite)


def _write_surfaces(parts: SpineParts, args: argparse.Namespace) -> None:
    from spinemamba.export.meshing.options import MeshOptions
    from spinemamba.export.part_surfaces import PartSurfaces, write_part_surfaces

    make_folder(args.stl)
    case = split_name(args.output)[0]
    surfaces = PartSurfaces(parts.labels, parts.segments(), args.stl, case, args.overwrite)
    for share in write_part_surfaces(surfaces, MeshOptions()):
        _print_progress("surfaces", share)


def _write_dicom_seg(parts: SpineParts, args: argparse.Namespace) -> None:
    from spinemamba.export.dicom_seg_parts import write_parts_seg

    write_parts_seg(
        parts.labels,
        parts.segments(),
        args.source,
        args.dicom_seg,
        overwrite=args.overwrite,
        warn=lambda message: sys.stderr.write(f"Warning: {message}\n"),
    )


def _volumes(parts: SpineParts) -> str:
    """Return a table of the volumes of all parts in mL."""
    import numpy as np

    present = np.unique(np.concatenate([np.unique(done.parts.array) for done in parts.vertebrae]))
    shown = [part for part in PARTS if part.value in present]
    heads = ["level", *(_head(part) for part in shown)]
    rows = []
    for done in parts.vertebrae:
        voxel_ml = done.parts.geometry.voxel_ml
        volumes = [float(done.mask(part).sum()) * voxel_ml for part in shown]
        cells = [f"{volume:.2f}" if volume else _ABSENT for volume in volumes]
        rows.append([done.vertebra.name, *cells])
    return f"Volumes in mL (L left, R right)\n{table(heads, rows)}\n"


def _head(part: Part) -> str:
    """Return a short head for a column."""
    if part is UNDIVIDED:
        return "undivided"
    words = part.name.removeprefix(f"{part.side} ").removesuffix(" process")
    short = {"superior": "sup", "inferior": "inf", "articular": "art", "transverse": "transv"}
    text = " ".join(short.get(word, word) for word in words.split())
    return f"{text} {part.side[0].upper()}" if part.side else text


def _print_progress(name: str, fraction: float) -> None:
    sys.stderr.write(f"{100 * fraction:3.0f}%  {name}\n")
    sys.stderr.flush()
