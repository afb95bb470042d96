"""``spinemamba measure LABELS --image CT --out DIR``: heights, angles, slips, density, canal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spinemamba.cli.console import say, table
from spinemamba.cli.names import add_numbering, split_name
from spinemamba.errors import UserError
from spinemamba.job import MODALITIES
from spinemamba.measure.quantities import of_kind
from spinemamba.measure.record import Item, Measurements
from spinemamba.numbering import numbering_of
from spinemamba.output import check_place

SUFFIXES = ("measurements.csv", "measurements.json", "report.html")
SHOWN = ("anterior_height_mm", "middle_height_mm", "posterior_height_mm", "height_loss_percent")
SHOWN += ("genant_grade", "trabecular_hu", "canal_depth_mm", "volume_ml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("labels", type=Path, help="label image, such as segment wrote")
    parser.add_argument(
        "--image",
        type=Path,
        help="what was segmented; gives densities, and the report its pictures",
    )
    parser.add_argument("--result", type=Path, help="result.json of the run, for the report")
    parser.add_argument("--modality", choices=MODALITIES, default="auto", help="of the image")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write CSV, JSON and the report into this folder"
    )
    parser.add_argument(
        "--name", help="title of the report, and how the files begin (the name of the label image)"
    )
    add_numbering(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, print, write."""
    from spinemamba.measure.files import write_csv, write_json
    from spinemamba.measure.page import write_page
    from spinemamba.measure.run import study

    paths = _outputs(args) if args.out else []
    meant = numbering_of(args.numbering)
    done = study(args.labels, args.image, args.result, args.modality, _tell, numbering=meant)
    for text in (*tables(done.measured), *done.measured.notes):
        say(text)
    if paths:
        write_csv(done.measured, paths[0])
        write_json(done.measured, paths[1])
        write_page(done.measured, (done.image, done.labels), done.result, paths[2], args.name or "")
    for path in paths:
        say(f"Wrote {path}")
    return 0


def tables(measured: Measurements) -> list[str]:
    """Return the vertebrae, the discs, and the angles with curves, as text."""
    out = []
    for kind, keys in (("vertebra", SHOWN), ("disc", None)):
        items = measured.of(kind)
        shown = [q for q in of_kind(kind) if keys is None or q.key in keys]
        heads = [f"{q.head} {q.unit}".strip() for q in shown]
        rows = [[item.name, *(item.text(q.key, q.digits) for q in shown)] for item in items]
        if rows:
            out.append(table((kind, *heads), rows) + "\n")
    rows = [_angle_row(item) for item in (*measured.of("angle"), *measured.of("curve"))]
    out.append(table(("angle", "view", "degrees", "between", "finding"), rows) + "\n")
    return out


def _angle_row(item: Item) -> list[str]:
    key = "angle_deg" if item.kind == "angle" else "cobb_deg"
    apex = f", apex {item.words['apex']}" if "apex" in item.words else ""
    finding = item.words.get("what", "") + apex or item.reasons.get(key, "")
    return [item.name, item.view, item.text(key, 1), item.words["between"], finding]


def _outputs(args: argparse.Namespace) -> list[Path]:
    """Return where CSV, JSON and report go; makes the folder.

    Raises:
        UserError: If the folder cannot be written, or the name is no file name.
    """
    name = args.name or split_name(args.labels)[0]
    if name != Path(name).name:
        raise UserError(f"'{name}' is not the beginning of a file name.", "Leave out slashes.")
    args.out.mkdir(parents=True, exist_ok=True)
    paths = [args.out / f"{name}_{suffix}" for suffix in SUFFIXES]
    for path in paths:
        check_place(path)
    return paths


def _tell(name: str, fraction: float) -> None:
    sys.stderr.write(f"{100 * fraction:3.0f}%  measuring {name}\n")
    sys.stderr.flush()
