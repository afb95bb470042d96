"""Arguments that several commands share: options, and types that check numbers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spinemamba.anatomy.label_schemes import AUTO, OPTION
from spinemamba.common.errors import UserError
from spinemamba.protocol.image_formats import IMAGE_KINDS, LABEL_FORMATS
from spinemamba.protocol.job import NTH_GPU

if TYPE_CHECKING:
    from spinemamba.protocol.remote.site import Site


def split_name(path: Path) -> tuple[str, str]:
    """Return the stem and the suffix of a file name; ``.seg.nrrd`` counts as one suffix.

    Other dots belong to the stem, because patient numbers contain them.
    """
    lower = path.name.lower()
    ending = next((e for e in (*LABEL_FORMATS, *IMAGE_KINDS) if lower.endswith(e)), path.suffix)
    stem = path.name[: len(path.name) - len(ending)]
    return stem, path.name[len(stem) :]


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``; without it, existing outputs are refused before the work starts."""
    parser.add_argument(
        "--overwrite", action="store_true", help="replace outputs that exist already"
    )


def add_former_option(
    parser: argparse.ArgumentParser, former: str, current: str, **settings: Any
) -> None:
    """Accept an option of version 0.1 under its former name, which the help does not list.

    Args:
        parser: The parser of the command; it has the current option.
        former: Former name, with its dashes.
        current: Current name, with its dashes.
        settings: Arguments of the option as for `add_argument`, without a default.
    """
    target = current.lstrip("-").replace("-", "_")
    hidden = {"dest": target, "default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    parser.add_argument(former, **settings, **hidden)


def add_pins(parser: argparse.ArgumentParser) -> None:
    """Add ``--pin`` for levels fixed by the user; `levels.pins.parse_pin` reads its values."""
    parser.add_argument(
        "--pin",
        action="append",
        default=[],
        metavar="LEVEL",
        help="L5@x,y,z: the vertebra at this place (LPS, mm) is L5; L5#7: the one in row 7 of the "
        "table; may be repeated",
    )


def add_shape_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--keep-pieces`` and ``--fine-slices``."""
    parser.add_argument(
        "--keep-pieces",
        action="store_true",
        help="keep small loose pieces, and bone of neighbours whose body the image does not show",
    )
    parser.add_argument(
        "--fine-slices",
        action="store_true",
        help="write labels on slices of at most 1.5 mm, for smooth surfaces of thick-slice scans",
    )


def add_levels_from(parser: argparse.ArgumentParser) -> None:
    """Add ``--levels-from``; `labelmaps.other_scan.read_other_scan` reads its value."""
    parser.add_argument(
        "--levels-from",
        type=Path,
        metavar="OTHER",
        help="take the levels from another scan of the same patient: result.json or labels of it, "
        "or the folder with both",
    )


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add the server that does the work; `server_of` reads its values."""
    group = parser.add_argument_group("work on another computer")
    group.add_argument(
        "--server", metavar="URL", help="address of a spinemamba serve, such as https://host:8642"
    )
    group.add_argument(
        "--server-token-file",
        type=Path,
        metavar="FILE",
        help="file whose first line is the token of this server",
    )
    group.add_argument("--ca-file", type=Path, metavar="FILE", help="certificates to trust (PEM)")


def server_of(args: argparse.Namespace, warn: Callable[[str], None]) -> Site | None:
    """Return the server of `add_server`; None without one.

    Raises:
        UserError: If address or token cannot be used, or the server is missing.
    """
    from spinemamba.protocol.remote.credentials import bearer
    from spinemamba.protocol.remote.site import Site

    token, ca_file = args.server_token_file, args.ca_file
    if args.server is None:
        if token is not None or ca_file is not None:
            raise UserError("The token or the certificates have no server.", "Add --server URL.")
        return None
    return Site(args.server, "" if token is None else bearer(token, warn), ca_file)


def add_numbering(parser: argparse.ArgumentParser) -> None:
    """Add ``--labels``; `label_schemes.numbering_of` reads its value."""
    parser.add_argument(
        "--labels",
        dest="numbering",
        default=AUTO,
        metavar=OPTION,
        help="meaning of the values of a label image; a file is nnU-Net's dataset.json or maps "
        "names to numbers. Default: use segment names, otherwise recognise the scheme by anatomy",
    )


def level_ranges(text: str) -> list[tuple[str, str]]:
    """Return the first and last level of each range in a text such as ``T12,L1-L5``.

    Raises:
        ArgumentTypeError: If a part is neither a level nor a range from cranial to caudal.
    """
    from spinemamba.export import selection  # loads numpy

    try:
        return selection.level_ranges(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Return an argument type: integers from ``least`` to ``most``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"'{text}' is not a whole number from {least} to {most}"
            )
        return value

    return read


def positive_number(most: float, unit: str = "") -> Callable[[str], float]:
    """Return an argument type: numbers above zero and at most ``most``; NaN is refused."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not 0 < value <= most:
            raise argparse.ArgumentTypeError(
                f"'{text}' is not a number{unit} above 0, at most {most:g}"
            )
        return value

    return read


seed = whole_number(0, 2**62)
"""Argument type of a random seed."""

threads = whole_number(0, 1024)
"""Argument type of a number of threads; 0 leaves the choice to torch."""


def spacing_mm(text: str) -> float:
    """Return the voxel size of a phantom in mm.

    Raises:
        ArgumentTypeError: If it is not a number, or outside 0.4 to 8 mm: smaller voxels do not
            fit into memory, larger ones show no vertebra.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.4 <= value <= 8:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of mm from 0.4 to 8")
    return value


def add_execution_arguments(parser: argparse.ArgumentParser) -> None:
    """Add where a training runs: device, precision, batches, workers and the time of one call."""
    add_place_arguments(parser)
    _add_division(parser)


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """Add device and precision of a training, and the time of one call."""
    parser.add_argument(
        "--device",
        type=device,
        default="auto",
        metavar="DEVICE",
        help="'auto' (a GPU if there is one), 'cpu', 'cuda', or one GPU such as 'cuda:1' "
        "(%(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="of the convolutions; scans and losses are always in float32 (%(default)s)",
    )
    parser.add_argument(
        "--time-limit",
        type=positive_number(1e7),
        metavar="MINUTES",
        help="end this call before, with a checkpoint; the schedule continues with the next call",
    )


def _add_division(parser: argparse.ArgumentParser) -> None:
    """Add how the work is divided."""
    parser.add_argument(
        "--batch-size",
        type=whole_number(1, 1024),
        help="patches per batch of each process (default 1)",
    )
    parser.add_argument(
        "--accumulate",
        type=whole_number(1, 1024),
        metavar="BATCHES",
        help="batches per step, for larger steps than fit into memory (default 1)",
    )
    parser.add_argument(
        "--workers",
        type=whole_number(0, 256),
        help="processes that draw patches (default: 0 on the CPU, up to 8 for a GPU)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the network first (torch.compile)"
    )


def device(text: str) -> str:
    """Return the name of a device: auto, cpu, cuda, or a GPU such as cuda:1."""
    if text in ("auto", "cpu", "cuda") or re.fullmatch(NTH_GPU, text):
        return text
    raise argparse.ArgumentTypeError(f"'{text}' is not auto, cpu, cuda, or a GPU such as cuda:1")
