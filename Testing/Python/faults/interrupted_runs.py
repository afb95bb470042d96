"""Run a command of ``spinemamba`` several times, each in a process of its own that is disturbed.

``python interrupted_runs.py COMMAND...`` imports what the commands need. Then it takes a call from
each line of its standard input, and answers with a line that says what came of it. A call is a
JSON object with ``words``, which follow ``spinemamba``, and maybe

- ``at`` and ``do``: when the process reaches a point for the n-th time (a list of its name and n),
  it does one of `DEEDS`;
- ``second``: words that another process runs to its end while this one waits at the point;
- ``folder``: what deeds are done to;
- ``umask``, ``env``, ``user`` (without the rights of root): how the process starts;
- ``points``: report every point that was reached;
- ``copy`` and ``keep``: what is copied to ``folder`` at first, and where that is copied to then.

A result has ``code``, ``out``, ``error``, ``reached`` (whether the deed was done) and ``points``.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import locale
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "SpineMambaSegment"))
sys.path.insert(0, str(REPOSITORY / "Testing" / "Python" / "helpers"))

from forks import fill, start, text_of  # noqa: E402 - as all below, needs the path

import spinemamba  # noqa: E402
from spinemamba.cli.main import main  # noqa: E402

Call = dict[str, Any]

STAGE = "stage"
"""Points of this name are called after the stage that is reported."""

EVERYWHERE = (("synced", "os", "fsync"), ("named", "spinemamba.common.atomic_files", "_rename"))
POINTS = {
    "segment": (
        ("read", "spinemamba.jobs.segment", "read_volume"),
        (STAGE, "spinemamba.cli.console", "ProgressBar.__call__"),
        ("labels", "spinemamba.jobs.segment", "write_labels"),
        ("result", "spinemamba.protocol.result", "Result.write"),
        ("picture", "spinemamba.report.run_picture", "write_run_picture"),
    ),
    "measure": (
        ("read", "spinemamba.jobs.measure", "read_vertebra_labels"),
        ("image", "spinemamba.jobs.measure", "read_volume"),
        ("measure", "spinemamba.cli.measure", "_print_progress"),
        ("table", "spinemamba.measure.tables", "write_csv"),
        ("record", "spinemamba.measure.tables", "write_json"),
        ("page", "spinemamba.jobs.measure", "write_case_page"),
    ),
    "export": (
        ("read", "spinemamba.cli.export", "read_label_file"),
        ("smooth", "spinemamba.export.exporter", "smooth"),
        ("finish", "spinemamba.export.exporter", "finish"),
        ("write", "spinemamba.export.exporter", "write_together"),
        ("series", "spinemamba.export.dicom_seg", "find_stack"),
        ("encode", "spinemamba.export.dicom_seg", "_encoded"),
        ("write seg", "spinemamba.export.dicom_seg", "write_together"),
    ),
    "train": (
        ("read", "spinemamba.training.data.gather", "_with_user_cases"),
        ("prepare", "spinemamba.training.data.gather", "gather_cases"),
        ("trainer", "spinemamba.cli.train", "_trainer"),
        ("sheet", "spinemamba.training.preview", "write_contact_sheet"),
        ("learn", "spinemamba.training.loop", "Trainer.learn"),
        ("save", "spinemamba.training.loop", "Trainer.save"),
        ("checkpoint", "spinemamba.training.loop", "save_checkpoint"),
    ),
}
"""Where runs can be disturbed: name, module and function."""


def lock(folder: Path) -> None:
    """Take the right to write from a folder, or from the one where it shall be made."""
    (folder if folder.is_dir() else folder.parent).chmod(0o555)


def change_surroundings(folder: Path) -> None:
    """Remove the folder for temporary files, and write a comma into numbers where C does so."""
    shutil.rmtree(tempfile.gettempdir())
    if "OTHER_LOCALE" in os.environ:
        locale.setlocale(locale.LC_ALL, os.environ["OTHER_LOCALE"])


DEEDS: dict[str, Callable[[Path], object]] = {
    "SIGKILL": lambda folder: os.kill(os.getpid(), signal.SIGKILL),
    "SIGTERM": lambda folder: os.kill(os.getpid(), signal.SIGTERM),
    "SIGINT": lambda folder: os.kill(os.getpid(), signal.SIGINT),
    "second": lambda folder: os.kill(os.getpid(), signal.SIGSTOP),
    "full": lambda folder: fill(folder.parent / "plug", 0),
    "read-only": lock,
    "lost TMPDIR and LC_NUMERIC": change_surroundings,
}


def disturb(command: str, call: Call, notes: BinaryIO) -> None:
    """Make this process do what a call asks for at its point."""
    reached: Counter[str] = Counter()
    at = tuple(call.get("at", ()))

    def watched(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **more: Any) -> Any:
            called = f"at {args[1]}" if name == STAGE else name
            reached[called] += 1
            point = (called, reached[called])
            if call.get("points"):
                os.write(notes.fileno(), json.dumps(point).encode() + b"\n")
            if point == at:
                os.write(notes.fileno(), b'"done"\n')
                DEEDS[call["do"]](Path(call["folder"]))
            return step(*args, **more)

        return run

    for name, module, attribute in (*POINTS[command], *EVERYWHERE):
        owner: Any = importlib.import_module(module)
        *path, last = attribute.split(".")
        for part in path:
            owner = getattr(owner, part)
        setattr(owner, last, watched(name, getattr(owner, last)))


def give_up_rights() -> None:
    """Take the rights of root from this process."""
    if os.getuid() == 0:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        if ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()):
            raise OSError("capset")


def stand_in_for_networks() -> None:
    """Replace the networks by functions that return the labels of a phantom at once."""
    from voxel_predictions_of_labels import evidence_of

    from spinemamba import segment
    from spinemamba.imaging.read import read_volume
    from spinemamba.inference import model
    from spinemamba.protocol.model_card import DEFAULT, find_model

    truth = evidence_of(read_volume(Path(os.environ["TRUTH"])))
    networks = model.load_model(find_model(DEFAULT))
    model.load_model = lambda *options: networks

    def coarse_stage(image: object, model: object, progress: Callable[[str, float], None]) -> None:
        progress("locate", 0.5)

    def fine_stage(image: object, *rest: Any) -> object:
        rest[-1]("segment", 0.5)
        return truth

    segment.coarse_stage, segment.fine_stage = coarse_stage, fine_stage


def always_the_same() -> None:
    """Make two runs identical, including their identifiers and times."""
    import uuid
    from datetime import datetime, timezone

    from spinemamba import segment
    from spinemamba.export import item

    class Then(datetime):
        @classmethod
        def now(cls, tz: timezone | None = None) -> datetime:
            return datetime(2020, 1, 2, tzinfo=tz)

    uuid.uuid4 = lambda: uuid.UUID(int=1)
    segment._timed = lambda stage, seconds: contextlib.nullcontext()
    item.datetime = Then


def draw_coarsely() -> None:
    """Let pictures take little time."""
    from matplotlib.figure import Figure

    from spinemamba.report import case_pictures

    save = Figure.savefig
    Figure.savefig = lambda figure, file, **options: save(figure, file, **options | {"dpi": 20})
    solid = case_pictures.render_labels
    case_pictures.render_labels = lambda labels, turn_deg: solid(labels, turn_deg, pixel_mm=4.0)


def wait_briefly() -> None:
    """Let an export that waits for another one give up soon."""
    from spinemamba.common.folder_lock import locked
    from spinemamba.export import exporter

    exporter.locked = partial(locked, longest_s=0.3)


def import_for(command: str) -> None:
    """Import the modules of a command before forking, and replace slow functions."""
    import matplotlib.font_manager  # noqa: F401

    if command == "segment":
        stand_in_for_networks()
    if command == "train":
        importlib.import_module("tiny_trainings")
    if command == "export":
        wait_briefly()
        with contextlib.suppress(ModuleNotFoundError):
            standard = importlib.import_module("highdicom._standard_utils")
            for table in ("get_iod_module_map", "get_module_attribute_map"):
                getattr(standard, table)()
    for _, module, _ in POINTS[command]:
        importlib.import_module(module)


def work(call: Call, notes: BinaryIO) -> int:
    """Run a command in this process; return the exit code."""
    os.environ.update(call.get("env", {}))
    tempfile.tempdir = None
    os.umask(call.get("umask", 0o022))
    if DEEDS.get(call.get("do")) == change_surroundings:
        tempfile.tempdir = tempfile.mkdtemp()
    if call.get("user"):
        give_up_rights()
    command, words = call["words"][0], call["words"]
    disturb(command, call, notes)
    if command == "train":
        import tiny_trainings

        return tiny_trainings.train({"words": words[1:]})
    return main(words)


def waited(child: int, second: Callable[[], dict[str, Any]]) -> tuple[int, dict[str, Any] | None]:
    """Return the exit code of a child, and what a second run did where the child stopped."""
    other = None
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status), other
        other = second()
        os.kill(child, signal.SIGCONT)


def result_of(call: Call) -> dict[str, Any]:
    """Run a command in a child; return what came of it."""
    if "copy" in call:
        shutil.copytree(call["copy"], call["folder"])
    with contextlib.ExitStack() as stack:
        out, error, notes = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        child = start(partial(work, call, notes), out, error)
        code, other = waited(child, lambda: result_of({"words": call["second"]}))
        said = [json.loads(line) for line in text_of(notes).splitlines()]
        texts = {"out": text_of(out), "error": text_of(error)}
    put_right(call)
    points = [point for point in said if point != "done"]
    done = {"code": code, "reached": "done" in said, "points": points, **texts}
    return done if other is None else done | {"second": other}


def put_right(call: Call) -> None:
    """Take away what a deed left, and keep what the run did."""
    if "folder" not in call:
        return
    folder = Path(call["folder"])
    (folder.parent / "plug").unlink(missing_ok=True)
    if call.get("do") == "read-only":
        for path in filter(Path.is_dir, (folder, folder.parent)):
            path.chmod(0o755)
    if "keep" in call and folder.is_dir():
        shutil.copytree(folder, call["keep"])


if __name__ == "__main__":
    assert Path(spinemamba.__file__).is_relative_to(REPOSITORY)
    for name in sys.argv[1:]:
        import_for(name)
    draw_coarsely()
    always_the_same()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(result_of(json.loads(line))) + "\n")
        sys.stdout.flush()
