"""Arguments in, exit code out."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from spinemamba import __version__
from spinemamba.errors import Cancelled, UserError
from spinemamba.files import check_spelling
from spinemamba.headless import draw_into_files
from spinemamba.memory import let_idle_threads_sleep

COMMANDS = {
    "segment": "give every vertebra of a CT or MR volume its label",
    "demo": "segment a synthetic CT and compare with its truth",
    "evaluate": "compare a segmentation with a reference",
    "measure": "measure heights, angles, slips, density and canal of a labelled spine",
    "relabel": "name the vertebrae of a finished run again, with levels that you are sure of",
    "export": "write vertebrae as surfaces for planning and printing, and as DICOM SEG",
    "box": "find one vertebra anew, or one that was missed, and leave the others as they are",
    "train": "train one of the two networks",
    "pack": "turn two trainings into a model",
    "phantom": "make a synthetic CT or MR of a spine with exact labels",
    "stress": "test the level solver on made-up spines with known names",
    "networks": "list the named sizes of the network, and what each costs",
    "bench": "measure scans and networks on this computer",
    "probe": "say what this computer can do, as JSON",
}
DONE, BUG, USER, CANCELLED = 0, 1, 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 our bug, 2 wrong use, 3 cancelled."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    let_idle_threads_sleep()
    draw_into_files()
    # Schedulers end a job with SIGTERM, which would leave half-written files: treat it as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for argument in arguments:
            check_spelling(Path(argument))
        args = _parser(arguments).parse_args(arguments)
        return args.run(args)
    # This is how argparse ends after --help and after wrong arguments, which it has explained.
    except SystemExit as stop:
        return int(stop.code or DONE)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return USER
    except (KeyboardInterrupt, Cancelled):
        sys.stderr.write("Cancelled. No half-written file is left.\n")
        return CANCELLED
    # The last line of defence: a user gets a sentence, the log the traceback.
    except Exception:
        sys.stderr.write(f"Something went wrong inside SpineMamba. Report it with {_log()}\n")
        return BUG


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    """Return the parser; only the wanted command is imported, because some take seconds."""
    parser = argparse.ArgumentParser(
        prog="spinemamba",
        description="One named, coloured and coded segment per vertebra. Not for clinical use.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    wanted = next((a for a in arguments if not a.startswith("-")), None)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        if name == wanted:
            module = importlib.import_module(f"spinemamba.cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def _log() -> Path:
    """Write the traceback of the present exception into a file of its own."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="spinemamba-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        traceback.print_exc(file=log)
    return Path(log.name)
