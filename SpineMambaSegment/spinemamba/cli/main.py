"""Arguments in, exit code out."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from spinemamba import __version__
from spinemamba.cli.console import Stream, safe_streams, tell
from spinemamba.common.atomic_files import FULL
from spinemamba.common.error_reports import as_user_error, stack_of
from spinemamba.common.errors import Cancelled, Code, UserError
from spinemamba.common.headless import draw_into_files
from spinemamba.common.process_tuning import let_idle_threads_sleep

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
OUTPUTS = ("output", "out", "json", "plot", "stl", "dicom_seg")
"""Arguments that name what a command writes; without them, its answer is what it prints."""

DONE, BUG, USER, CANCELLED = 0, 1, 2, 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 our bug, 2 wrong use, 3 cancelled."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    let_idle_threads_sleep()
    draw_into_files()
    _stop_as_on_ctrl_c()
    with safe_streams() as out:
        try:
            _check_filled(arguments)
            args = _parser(arguments).parse_args(arguments)
            code = args.run(args)
            _check_answer(out, args)
            return code
        # This is how argparse ends after --help and after wrong arguments, which it has explained.
        except SystemExit as stop:
            return int(stop.code or DONE)
        except UserError as error:
            tell(str(error))
            return USER
        except (KeyboardInterrupt, Cancelled):
            tell("Cancelled. No half-written file is left.")
            return CANCELLED
        # The last line of defence: a user gets a sentence, the log the stack.
        except Exception as error:
            if (told := as_user_error(error)) is not None:
                tell(str(told))
                return USER
            tell(f"Something went wrong inside SpineMamba. {_how_to_report(error)}")
            return BUG


def _stop_as_on_ctrl_c() -> None:
    """Let signals that end a process clean up first, as Ctrl-C does.

    Schedulers send SIGTERM, terminals that are closed SIGHUP; both would leave half-written files.
    """
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # A process that shall outlive its terminal (nohup) ignores SIGHUP.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _check_answer(out: Stream, args: argparse.Namespace) -> None:
    """Refuse to call a command done whose whole answer could not be printed.

    A reader that went (``| head``) has what it wanted, and files that were written are there.

    Raises:
        UserError: If stdout could not be written, and the command writes no files (DISK_FULL,
            OUTPUT_BAD).
    """
    out.flush()
    error = out.failure
    if not isinstance(error, OSError) or isinstance(error, BrokenPipeError):
        return
    if not any(getattr(args, name, None) for name in OUTPUTS):
        reason = error.strerror or type(error).__name__
        full = error.errno in FULL
        raise UserError(
            f"What was found cannot be printed: {reason}.",
            "Free some disk space." if full else "Send it somewhere else.",
            Code.DISK_FULL if full else Code.OUTPUT_BAD,
        )


def _check_filled(arguments: Sequence[str]) -> None:
    """Refuse empty arguments: as a path they would stand for the working directory.

    Raises:
        UserError: If there is one.
    """
    if "" in arguments:
        raise UserError(
            f"Argument {arguments.index('') + 1} is empty.",
            "A variable that the shell put in may have no value.",
        )


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


def _how_to_report(error: BaseException) -> str:
    """Write the stack of an exception into a file of its own; return what to do with it.

    The file is for its owner alone, because paths in it may name a patient.
    """
    path = None
    try:
        handle, name = tempfile.mkstemp(prefix="spinemamba-", suffix=".log", text=True)
        path = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"spinemamba {__version__}, Python {sys.version}\n{stack_of(error)}")
    except OSError:
        if path is not None:
            path.unlink(missing_ok=True)
        return "Report it with the command; no log could be written."
    return f"Report it with {path}"
