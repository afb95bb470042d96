"""``spinemamba follow-up BEFORE AFTER OUT``: compare two results of a patient."""

from __future__ import annotations

import argparse
from pathlib import Path

from spinemamba.anatomy.label_schemes import numbering_of
from spinemamba.cli.arguments import add_numbering, add_overwrite
from spinemamba.cli.console import print_line, table
from spinemamba.common.atomic_files import check_place
from spinemamba.common.errors import UserError
from spinemamba.imaging.write import make_folder
from spinemamba.measure.calibration import read_calibration
from spinemamba.measure.follow_up.record import FollowUp
from spinemamba.protocol.quantities import BY_KEY

_ENDS = ("follow_up.json", "follow_up.csv", "follow_up.html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("before", type=Path, help="label image of the first scan")
    parser.add_argument("after", type=Path, help="label image of the second scan")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    parser.add_argument("--before-image", type=Path, help="first scan, for densities")
    parser.add_argument("--after-image", type=Path, help="second scan, for densities")
    parser.add_argument(
        "--calibration",
        metavar="SLOPE,OFFSET",
        help="line from HU to mg/mL for both scans, as in measure",
    )
    parser.add_argument(
        "--name", default="", help="title of the page and prefix of the files (default: none)"
    )
    add_overwrite(parser)
    add_numbering(parser)


def run(args: argparse.Namespace) -> int:
    """Compare, write the files, and print the changes beyond their uncertainty."""
    from spinemamba.jobs.follow_up import compare_results, write_follow_up  # loads matplotlib
    from spinemamba.jobs.measure import Sources
    from spinemamba.labelmaps.read import result_beside

    if args.name != Path(args.name).name:
        raise UserError(f"'{args.name}' is not valid in a file name.", "Leave out slashes.")
    make_folder(args.out)
    prefix = f"{args.name}_" if args.name else ""
    paths = tuple(args.out / f"{prefix}{end}" for end in _ENDS)
    for path in paths:
        check_place(path, overwrite=args.overwrite)
    numbering = numbering_of(args.numbering)
    calibration = read_calibration(args.calibration) if args.calibration else None
    before, after = (
        Sources(
            labels,
            image,
            run=result_beside(labels),
            numbering=numbering,
            calibration=calibration,
        )
        for labels, image in ((args.before, args.before_image), (args.after, args.after_image))
    )
    compared = compare_results(before, after, lambda name, fraction: None)
    write_follow_up(compared, paths, args.name)
    for text in (*compared.follow_up.alerts, *_lines(compared.follow_up)):
        print_line(text)
    for path in paths:
        print_line(f"Wrote {path}")
    return 0


def _lines(follow_up: FollowUp) -> list[str]:
    """Return a table of the changes beyond their uncertainty, or a sentence without any."""
    rows = []
    for change in follow_up.changes:
        if change.beyond:
            quantity = BY_KEY[change.quantity]
            before, after, difference, width = (
                f"{value:.{quantity.digits}f}"
                for value in (change.before, change.after, change.change, change.uncertainty)
            )
            cells = [change.name, quantity.head, before, after, difference, width, change.unit]
            rows.append(cells)
    if not rows:
        return [f"None of {len(follow_up.changes)} numbers changed beyond its uncertainty."]
    heads = ("where", "quantity", "then", "now", "change", "uncertainty", "unit")
    return [table(heads, rows), f"{len(rows)} of {len(follow_up.changes)} numbers changed."]
