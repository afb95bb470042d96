"""``spinemamba export RESULT --stl DIR --dicom-seg FILE``: write surfaces and DICOM SEG."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from spinemamba.anatomy.label_schemes import numbering_of
from spinemamba.anatomy.terminology import mentions_level
from spinemamba.cli.arguments import (
    add_former_option,
    add_numbering,
    level_ranges,
    split_name,
)
from spinemamba.cli.console import is_terminal, print_line, table
from spinemamba.common.atomic_files import check_place
from spinemamba.common.errors import Cancelled, Code, UserError
from spinemamba.common.exit_codes import ExitCode
from spinemamba.export.exporter import Export, Target
from spinemamba.export.item import Vertebra
from spinemamba.export.meshing.options import CRUMBS_MM3, FORMATS, SMOOTHING, SPACES, MeshOptions
from spinemamba.export.run_files import RunFiles, find_files, source_of, vertebrae_of
from spinemamba.export.selection import selected
from spinemamba.imaging.write import make_folder
from spinemamba.labelmaps.read import LabelFile, read_label_file
from spinemamba.protocol.manifest import CSV, JSON, VertebraEntry

_HEADS = ("level", "reviewed", "mL", "mesh mL", "p95 mm", "max mm", "triangles", "findings")
_DICOM_SUFFIX = ".dcm"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "result", type=Path, help="label image of a run or of a review, or its ..._result.json"
    )
    parser.add_argument(
        "--stl", type=Path, metavar="DIR", help="write a surface of each vertebra into this folder"
    )
    parser.add_argument(
        "--dicom-seg", type=Path, metavar="FILE", help="write a DICOM SEG; needs --source"
    )
    parser.add_argument(
        "--source", type=Path, metavar="DIR", help="the DICOM series that was segmented"
    )
    parser.add_argument("--case", help="beginning of the file names (default: name of the input)")
    add_surface_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace files of the same case")
    add_numbering(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask about unreviewed vertebrae")


def add_surface_options(parser: argparse.ArgumentParser) -> None:
    """Add the levels, the reviewer and the options of `MeshOptions`."""
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=FORMATS[1:],
        default=[],
        help="further formats of the surfaces, besides STL",
    )
    add_former_option(parser, "--also", "--formats", nargs="+", choices=FORMATS[1:])
    parser.add_argument(
        "--levels",
        nargs="+",
        type=level_ranges,
        metavar="LEVEL",
        help="export only these, such as L1 L2 or T10-L2",
    )
    parser.add_argument(
        "--reviewed-by",
        metavar="NAME",
        help="record in the manifest that this person has checked the exported vertebrae",
    )
    parser.add_argument(
        "--keep-crumbs",
        action="store_true",
        help=f"keep loose pieces below {CRUMBS_MM3:.0f} mm3, which are left out otherwise",
    )
    _add_filters(parser)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    """Add what changes the surfaces themselves."""
    parser.add_argument(
        "--smoothing",
        type=_share,
        default=SMOOTHING,
        help="0 (steps of the voxels) to 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--decimate", type=_share, default=0.0, help="share of the triangles to remove, 0 to 0.99"
    )
    parser.add_argument(
        "--joint-smoothing", action="store_true", help="smooth touching vertebrae together"
    )
    add_former_option(parser, "--joint", "--joint-smoothing", action="store_true")
    parser.add_argument(
        "--coordinate-system", choices=SPACES, default="LPS", help="of the surfaces (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Export, and print what was written."""
    if args.stl is None and args.dicom_seg is None:
        raise UserError("No output is given.", "Add --stl DIR or --dicom-seg FILE.")
    if args.dicom_seg is not None:
        _check_dicom_seg(args)
    files = find_files(args.result)
    content = read_label_file(files.labels, numbering_of(args.numbering))
    for note in content.notes:
        sys.stderr.write(f"{note}\n")
    vertebrae = selected(vertebrae_of(content, files), args.levels)
    if args.reviewed_by is not None:
        vertebrae = _reviewed(vertebrae, args.reviewed_by)
    if args.dicom_seg is not None:
        _write_dicom_seg(vertebrae, args)
    written = args.stl is None or _write_surfaces((files, content), vertebrae, args)
    unread = args.levels is None and any(mentions_level(name) for name, _ in content.left_out)
    return ExitCode.DONE if written and not unread else ExitCode.USER_ERROR


def _check_dicom_seg(args: argparse.Namespace) -> None:
    """Check the arguments of a DICOM SEG before the work starts.

    Raises:
        UserError: If the series or the file suffix is missing, or as `atomic_files.check_place`.
    """
    if args.source is None:
        raise UserError("A DICOM SEG needs the series it refers to.", "Add --source DIR.")
    if args.dicom_seg.suffix.lower() != _DICOM_SUFFIX:
        raise UserError(
            f"{args.dicom_seg.name} does not have the suffix of a DICOM file.",
            f"Choose a name that ends in {_DICOM_SUFFIX}.",
            Code.OUTPUT_BAD,
        )
    check_place(args.dicom_seg, overwrite=args.overwrite)


def _write_dicom_seg(vertebrae: Sequence[Vertebra], args: argparse.Namespace) -> None:
    from spinemamba.export.dicom_seg import write_dicom_seg

    levels = write_dicom_seg(
        vertebrae,
        args.source,
        args.dicom_seg,
        overwrite=args.overwrite,
        warn=lambda message: sys.stderr.write(f"Warning: {message}\n"),
    )
    print_line(f"Wrote {args.dicom_seg} with {', '.join(levels)}")


def _write_surfaces(
    read: tuple[RunFiles, LabelFile], vertebrae: Sequence[Vertebra], args: argparse.Namespace
) -> bool:
    """Write surfaces and print a table; return whether every vertebra was exported."""
    files, content = read
    accepted = _accept([v.level for v in vertebrae if not v.reviewed], args.yes)
    make_folder(args.stl)
    case = _case(files) if args.case is None else args.case
    others = content.left_out if args.levels is None else ()
    source = source_of(content, case)
    target = Target(args.stl, case, args.overwrite, accepted, others, source)
    export = Export(vertebrae, target, _options(args))
    written = _export_visibly(export)
    print_line(table(_HEADS, [_row(entry) for entry in written]))
    for level, reason in export.left_out:
        sys.stderr.write(f"{level} was left out: {reason}\n")
    print_line(f"Wrote {len(written)} vertebrae, {JSON} and {CSV} into {args.stl}")
    return not export.left_out


def _share(text: str) -> float:
    """Return a number from 0 to 1.

    Raises:
        ArgumentTypeError: If the text is anything else.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1")
    return value


def _options(args: argparse.Namespace) -> MeshOptions:
    try:
        return MeshOptions(
            formats=("stl", *dict.fromkeys(args.formats)),
            smoothing=args.smoothing,
            decimation=args.decimate,
            joint=args.joint_smoothing,
            space=args.coordinate_system,
            crumbs_mm3=0.0 if args.keep_crumbs else CRUMBS_MM3,
        )
    except ValueError as error:
        raise UserError(f"This cannot be exported: {error}.", "Choose other options.") from error


def _case(files: RunFiles) -> str:
    """Return the file name of the labels without its suffix."""
    return split_name(files.labels)[0]


def _reviewed(vertebrae: Sequence[Vertebra], name: str) -> list[Vertebra]:
    """Return vertebrae marked as reviewed by a person.

    Raises:
        UserError: If the name is blank.
    """
    if not (name := name.strip()):
        raise UserError("The name of the reviewer is empty.", "Give a name or initials.")
    return [replace(vertebra, reviewed=True, reviewed_by=name) for vertebra in vertebrae]


def _accept(unreviewed: Sequence[str], yes: bool) -> bool | None:
    """Ask for confirmation to export unreviewed vertebrae.

    Returns:
        True if the user confirmed; None if all are reviewed, or stdin is no terminal, as in a
        script: the manifest then records that they are unreviewed.

    Raises:
        Cancelled: If the user declined.
    """
    if not unreviewed:
        return None
    sys.stderr.write(f"Not reviewed: {', '.join(unreviewed)}. The manifest records this.\n")
    if yes:
        return True
    if not is_terminal(sys.stdin):
        return None
    sys.stderr.write("Export them? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Cancelled
    return True


def _export_visibly(export: Export) -> list[VertebraEntry]:
    """Export with a progress bar on a terminal; if interrupted, print what was written."""
    written: list[VertebraEntry] = []
    shape = "{desc:<12} {percentage:3.0f}% |{bar}| {elapsed} < {remaining}"
    interactive = is_terminal(sys.stderr)
    try:
        with tqdm(total=1.0, bar_format=shape, file=sys.stderr, disable=not interactive) as bar:
            for step in export.steps():
                bar.set_description_str(step.level, refresh=False)
                bar.update(step.fraction - bar.n)
                if step.written is not None:
                    written.append(step.written)
    except BaseException:
        sys.stderr.write(
            f"Stopped. {len(written)} vertebrae were written completely; see the manifest.\n"
        )
        raise
    return written


def _row(entry: VertebraEntry) -> list[str]:
    return [
        entry.level,
        "yes" if entry.reviewed else "no",
        f"{entry.label_volume_ml:.2f}",
        f"{entry.mesh_volume_ml:.2f}",
        f"{entry.deviation_p95_mm:.2f}",
        f"{entry.deviation_max_mm:.2f}",
        str(entry.triangles),
        " ".join(entry.findings),
    ]
