"""Names of files that go beside other files, and arguments that several commands take."""

from __future__ import annotations

import argparse
from pathlib import Path

from spinemamba.anatomy.label_schemes import AUTO, OPTION
from spinemamba.imaging.formats.image_file import FORMATS
from spinemamba.imaging.write import LABEL_FORMATS


def split_name(path: Path) -> tuple[str, str]:
    """Return a file's name without and with only its ending, such as ``.seg.nrrd``.

    Dots elsewhere belong to the name: patients' numbers have them.
    """
    lower = path.name.lower()
    ending = next((e for e in (*LABEL_FORMATS, *FORMATS) if lower.endswith(e)), path.suffix)
    stem = path.name[: len(path.name) - len(ending)]
    return stem, path.name[len(stem) :]


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``, without which outputs that are there are refused before the work."""
    parser.add_argument(
        "--overwrite", action="store_true", help="replace outputs that exist already"
    )


def add_pins(parser: argparse.ArgumentParser) -> None:
    """Add ``--pin``, for levels that the user is sure of; `pins.parse_pin` reads them."""
    parser.add_argument(
        "--pin",
        action="append",
        default=[],
        metavar="LEVEL",
        help="L5@x,y,z: the vertebra at this place (LPS, mm) is L5; L5#7: the one in row 7 of the "
        "table; may be repeated",
    )


def add_numbering(parser: argparse.ArgumentParser) -> None:
    """Add ``--labels``; `numbering.numbering_of` reads it."""
    parser.add_argument(
        "--labels",
        dest="numbering",
        default=AUTO,
        metavar=OPTION,
        help="what the numbers of a label image mean; a file is nnU-Net's dataset.json or maps "
        "names to numbers. Default: names of segments count, numbers are judged by anatomy",
    )
