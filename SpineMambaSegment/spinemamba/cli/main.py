"""Entry point of the command line: parse arguments, run a command, return its exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from spinemamba import __version__
from spinemamba.cli.console import Stream, print_error, safe_streams
from spinemamba.common.atomic_files import FULL
from spinemamba.common.error_reports import as_user_error, stack_of
from spinemamba.common.errors import Cancelled, Code, UserError
from spinemamba.common.exit_codes import ExitCode
from spinemamba.common.headless import use_agg_backend
from spinemamba.common.process_tuning import use_passive_waiting

COMMANDS = {
    "segment": "label every vertebra of a CT or MR volume",
    "cohort": "segment many images, with resume, retries and tables",
    "triage": "make the triage page of a cohort again",
    "apply-review": "apply the decisions that readers made in the triage page of a cohort",
    "demo": "segment a synthetic CT and compare with its exact labels",
    "evaluate": "compare a segmentation with a reference",
    "measure": "measure heights, angles, slips, density and canal of a labelled spine",
    "parts": "divide vertebrae into body, pedicles, laminae and processes; discs and canal",
    "plan": "measure pedicles, suggest screw corridors, test screws, make drill-guide patches",
    "relabel": "name the vertebrae of a finished run again, with some levels fixed",
    "review-import": "make labels of any software ready for the review in 3D Slicer",
    "export": "write vertebrae as surfaces for planning and printing, and as DICOM SEG",
    "follow-up": "compare two results of a patient: what changed beyond its uncertainty",
    "dicom": "write segments, contours, measurements and report for a DICOM archive",
    "stl": "segment an image and write surfaces of its vertebrae for printing",
    "resegment": "segment one vertebra again, or one that was missed; the others do not change",
    "check-data": "check a labelled data set before a training, and list its cases",
    "recipe": "print all settings of a training as TOML",
    "prepare": "convert labelled cases for training, once and in several processes",
    "train": "train one of the two networks",
    "train-levels": "train the network that reads the vertebrae as a sequence",
    "export-monai": "write a network of a model as a MONAI bundle",
    "export-nnunet": "write a labelled data set in nnU-Net's raw layout, with the same splits",
    "import-nnunet": "turn predictions of nnU-Net into segmentations of this package",
    "serve": "run jobs of other computers, for example of all workstations of a hospital",
    "server-token": "make, list and revoke the tokens of the clients of a server",
    "pack": "turn trainings into a model",
    "phantom": "make a synthetic CT or MR of a spine with exact labels",
    "simulate-levels": "test the level solver on simulated spines with known levels",
    "watch-dicomweb": "segment series of an archive (PACS) and store DICOM SEG, by DICOMweb",
    "networks": "list the named sizes of the network with parameters and multiply-adds",
    "bench": "measure scans and networks on this computer",
    "probe": "print devices and versions of this computer as JSON",
}
_FOLDERS = {
    "results": (
        "apply-review",
        "dicom",
        "evaluate",
        "export",
        "follow-up",
        "measure",
        "parts",
        "plan",
        "relabel",
        "resegment",
        "review-import",
        "stl",
        "triage",
    ),
    "serving": ("serve", "server-token", "watch-dicomweb"),
    "training": (
        "check-data",
        "export-monai",
        "export-nnunet",
        "import-nnunet",
        "prepare",
        "recipe",
    ),
}
"""Commands that stand in a folder of their own."""

_FORMER_NAMES = {"box": "resegment", "stress": "simulate-levels"}
"""Names of commands in version 0.1. They work, but the help does not list them."""

_OUTPUTS = ("output", "out", "json", "plot", "stl", "dicom_seg")
"""Arguments that name output files; without them, the result is the printed text."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code, one of `ExitCode`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    use_passive_waiting()
    use_agg_backend()
    _handle_signals_as_ctrl_c()
    with safe_streams() as out:
        try:
            _check_not_empty(arguments)
            arguments = _with_current_name(arguments)
            args = _parser(arguments).parse_args(arguments)
            code = args.run(args)
            _check_printed(out, args)
            return code
        # Argparse exits this way after --help, and after wrong arguments with its own message.
        except SystemExit as stop:
            return int(stop.code or ExitCode.DONE)
        except UserError as error:
            print_error(str(error))
            return ExitCode.USER_ERROR
        except (KeyboardInterrupt, Cancelled):
            print_error("Cancelled. No half-written file is left.")
            return ExitCode.CANCELLED
        # Last resort: the user gets a message, the log the stack.
        except Exception as error:
            if (user_error := as_user_error(error)) is not None:
                print_error(str(user_error))
                return ExitCode.USER_ERROR
            print_error(f"Something went wrong inside SpineMamba. {_how_to_report(error)}")
            return ExitCode.BUG


def _handle_signals_as_ctrl_c() -> None:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP, so that partial files are removed.

    Schedulers send SIGTERM, and a terminal that is closed sends SIGHUP.
    """
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Under nohup, SIGHUP is ignored and must stay so.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def _check_printed(out: Stream, args: argparse.Namespace) -> None:
    """Check that the printed result arrived, if it is the only result of the command.

    A reader that closed the pipe (``| head``) is no error.

    Raises:
        UserError: If stdout could not be written, and the command writes no files (DISK_FULL,
            OUTPUT_BAD).
    """
    out.flush()
    error = out.failure
    if not isinstance(error, OSError) or isinstance(error, BrokenPipeError):
        return
    if not any(getattr(args, name, None) for name in _OUTPUTS):
        reason = error.strerror or type(error).__name__
        full = error.errno in FULL
        raise UserError(
            f"The result cannot be printed: {reason}.",
            "Free some disk space." if full else "Redirect the output to another file.",
            Code.DISK_FULL if full else Code.OUTPUT_BAD,
        )


def _check_not_empty(arguments: Sequence[str]) -> None:
    """Refuse empty arguments: an empty path means the working directory.

    Raises:
        UserError: If an argument is empty.
    """
    if "" in arguments:
        raise UserError(
            f"Argument {arguments.index('') + 1} is empty.",
            "Check whether a shell variable in the command is unset.",
        )


def _with_current_name(arguments: list[str]) -> list[str]:
    """Replace a former name of a command by the current one."""
    if arguments and arguments[0] in _FORMER_NAMES:
        return [_FORMER_NAMES[arguments[0]], *arguments[1:]]
    return arguments


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    """Return the parser; only the requested command is imported, because some take seconds."""
    parser = argparse.ArgumentParser(
        prog="spinemamba",
        description="Label every vertebra in CT and MR volumes. Not for clinical use.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    requested = next((a for a in arguments if not a.startswith("-")), None)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == requested:
            module = command_module(name)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def command_module(name: str) -> ModuleType:
    """Import and return the module of a command."""
    folders = [folder for folder, names in _FOLDERS.items() if name in names]
    path = ".".join(["spinemamba", "cli", *folders, name.replace("-", "_")])
    return importlib.import_module(path)


def _how_to_report(error: BaseException) -> str:
    """Write the stack of an exception to a temporary log; return a remedy for the message.

    Only the user can read the log, because paths in it may name a patient.
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
