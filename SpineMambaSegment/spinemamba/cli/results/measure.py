"""``spinemamba measure LABELS --image CT --out DIR``: measure vertebrae, discs and curves."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.anatomy.label_schemes import numbering_of
from spinemamba.cli.arguments import add_numbering, add_overwrite, split_name
from spinemamba.cli.console import print_line, table
from spinemamba.common.atomic_files import all_or_none, check_place
from spinemamba.common.errors import UserError
from spinemamba.jobs.outputs import refuse_overwriting
from spinemamba.measure.calibration import read_calibration
from spinemamba.protocol.job import MODALITIES
from spinemamba.protocol.measurements import Item, Measurements, Vector
from spinemamba.protocol.quantities import of_kind

if TYPE_CHECKING:
    from spinemamba.jobs.measure import Sources

_SUFFIXES = ("measurements.csv", "measurements.json", "report.html")
_PDF = "report.pdf"
_SHOWN = ("anterior_height_mm", "middle_height_mm", "posterior_height_mm", "height_loss_percent")
_SHOWN += ("genant_grade", "trabecular_hu", "canal_depth_mm", "volume_ml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("labels", type=Path, help="label image, such as segment wrote")
    parser.add_argument(
        "--image",
        type=Path,
        help="segmented image; needed for densities and for pictures in the report",
    )
    parser.add_argument(
        "--result",
        type=Path,
        help="result.json of the run, with the posteriors of the levels (default: the one beside "
        "the labels)",
    )
    parser.add_argument("--modality", choices=MODALITIES, default="auto", help="of the image")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write CSV, JSON and the report into this folder"
    )
    parser.add_argument(
        "--name",
        help="title of the report and prefix of the files (default: name of the label image)",
    )
    parser.add_argument(
        "--pdf",
        action="store_true",
        help="with --out, also write the report as PDF; needs Chromium, Chrome or Edge",
    )
    _add_facts(parser)
    add_overwrite(parser)
    add_numbering(parser)


def _add_facts(parser: argparse.ArgumentParser) -> None:
    """Add what the labels do not contain: calibration and hips."""
    parser.add_argument(
        "--calibration",
        metavar="SLOPE,OFFSET",
        help="line from HU to mg/mL of your scanner and protocol, such as 0.8,5, or a JSON file; "
        "adds densities in mg/mL",
    )
    hips = parser.add_mutually_exclusive_group()
    hips.add_argument(
        "--hips",
        type=_two_points,
        metavar="X,Y,Z,X,Y,Z",
        help="centres of both femoral heads in LPS mm, for pelvic incidence and tilt; write "
        "--hips=-85,... if the first number is negative",
    )
    hips.add_argument(
        "--structures",
        type=Path,
        help="label image with both femurs and hip bones in TotalSegmentator's numbers, which "
        "gives the centres",
    )


def run(args: argparse.Namespace) -> int:
    """Measure, write the files, and print tables."""
    from spinemamba.jobs.measure import (  # loads matplotlib
        Sources,
        measure_files,
        write_case_page,
        write_csv,
        write_json,
    )
    from spinemamba.labelmaps.read import result_beside
    from spinemamba.report.print_pdf import print_pdf

    run = args.result or result_beside(args.labels)
    named, numbering = bool(args.result), numbering_of(args.numbering)
    sources = Sources(
        args.labels,
        args.image,
        args.modality,
        run,
        named=named,
        numbering=numbering,
        calibration=read_calibration(args.calibration) if args.calibration else None,
        hips_lps_mm=tuple(args.hips or ()),
        structures=args.structures,
    )
    outputs = _outputs(args, sources) if args.out else []
    done = measure_files(sources, _print_progress)
    # Written before printing, which may fail.
    if outputs:
        csv, json, page = outputs[:3]
        with all_or_none(outputs, overwrite=args.overwrite) as partial:
            write_csv(done.measured, partial[csv])
            write_json(done.measured, partial[json])
            write_case_page(done, partial[page], args.name or "")
            for path in outputs[3:]:
                partial[path].write_bytes(print_pdf(partial[page]))
    for text in (*done.measured.alerts, *_tables(done.measured), *done.measured.notes):
        print_line(text)
    for path in outputs:
        print_line(f"Wrote {path}")
    return 0


def _two_points(text: str) -> tuple[Vector, Vector]:
    """Return two points given as "x,y,z,x,y,z".

    Raises:
        argparse.ArgumentTypeError: If they are not.
    """
    try:
        numbers = tuple(map(float, text.split(",")))
    except ValueError:
        numbers = ()
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"'{text}' is not six numbers such as 85,-12,-410,...")
    return numbers[:3], numbers[3:]


def _tables(measured: Measurements) -> list[str]:
    """Return text tables of the vertebrae, of the discs, and of the angles and curves."""
    out = []
    for kind, keys in (("vertebra", _SHOWN), ("disc", None)):
        items = measured.of(kind)
        columns = [q for q in of_kind(kind) if keys is None or q.key in keys]
        heads = [q.head if q.head.endswith(q.unit) else f"{q.head} {q.unit}" for q in columns]
        rows = [[item.name, *(item.text_pm(q.key, q.digits) for q in columns)] for item in items]
        if rows:
            out.append(table((kind, *heads), rows) + "\n")
    rows = [_angle_row(item) for item in (*measured.of("angle"), *measured.of("curve"))]
    out.append(table(("angle", "view", "degrees", "between", "finding"), rows) + "\n")
    return out


def _angle_row(item: Item) -> list[str]:
    key = "angle_deg" if item.kind == "angle" else "cobb_deg"
    apex = f", apex {item.words['apex']}" if "apex" in item.words else ""
    finding = item.words.get("what", "") + apex or item.reasons.get(key, "")
    return [item.name, item.view, item.text_pm(key, 1), item.words["between"], finding]


def _outputs(args: argparse.Namespace, sources: Sources) -> list[Path]:
    """Return the paths of CSV, JSON and report.

    Raises:
        UserError: If the folder cannot be written, the name is not valid in a file name, or an
            output is also an input.
    """
    name = args.name or split_name(args.labels)[0]
    if name != Path(name).name:
        raise UserError(f"'{name}' is not valid in a file name.", "Leave out slashes.")
    suffixes = (*_SUFFIXES, _PDF) if args.pdf else _SUFFIXES
    paths = [args.out / f"{name}_{suffix}" for suffix in suffixes]
    refuse_overwriting(
        paths, filter(None, (sources.labels, sources.image, sources.run, args.structures))
    )
    for path in paths:
        check_place(path, overwrite=args.overwrite)
    return paths


def _print_progress(name: str, fraction: float) -> None:
    sys.stderr.write(f"{100 * fraction:3.0f}%  measuring {name}\n")
    sys.stderr.flush()
