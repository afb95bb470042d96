"""Run a command of ``spinemamba`` several times, each in a separate process that is disturbed.

``python disturbed_runs.py COMMAND...`` imports what the commands need. Then it takes a call from
each line of its standard input, and answers with one line: the result as JSON. A call is a
JSON object with ``words``, the arguments of ``spinemamba``, and optionally

- ``at`` and ``do``: when the process reaches a point for the n-th time (a list of its name and n),
  it does one of `DISTURBANCES`;
- ``second``: words that another process runs to its end while this one waits at the point;
- ``folder``: the folder that the disturbances change;
- ``umask``, ``env``, ``user`` (without the rights of root): how the process starts;
- ``points``: report every point that was reached;
- ``copy`` and ``keep``: source and destination of copies of ``folder``, before and after the run.

A result has ``code``, ``out``, ``error``, ``points`` and ``reached`` (whether the disturbance
happened).
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
from types import SimpleNamespace
from typing import Any, BinaryIO

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "SpineMambaSegment"))
sys.path.insert(0, str(REPOSITORY / "Testing" / "Python" / "helpers"))

from child_processes import fill_disk, start_child, text_of  # noqa: E402 - as all below, needs the path

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
        ("measure", "spinemamba.cli.results.measure", "_print_progress"),
        ("table", "spinemamba.jobs.measure", "write_csv"),
        ("record", "spinemamba.jobs.measure", "write_json"),
        ("page", "spinemamba.jobs.measure", "write_case_page"),
    ),
    "export": (
        ("read", "spinemamba.cli.results.export", "read_label_file"),
        ("smooth", "spinemamba.export.exporter", "smooth"),
        ("finish", "spinemamba.export.exporter", "finish"),
        ("write", "spinemamba.export.exporter", "write_together"),
        ("series", "spinemamba.export.dicom_seg", "find_stack"),
        ("encode", "spinemamba.export.dicom_seg", "encoded"),
        ("write seg", "spinemamba.export.dicom_seg", "write_together"),
    ),
    "train": (
        ("read", "spinemamba.training.data.gather", "_with_user_cases"),
        ("prepare", "spinemamba.training.data.gather", "gather_cases"),
        ("trainer", "spinemamba.cli.train", "_trainer"),
        ("sheet", "spinemamba.training.monitoring", "write_contact_sheet"),
        ("learn", "spinemamba.training.loop", "Trainer.learn"),
        ("save", "spinemamba.training.loop", "Trainer.save"),
        ("checkpoint", "spinemamba.training.steps", "save_checkpoint"),
    ),
}
"""Where runs can be disturbed: name, module and function."""


def lock(folder: Path) -> None:
    """Make a folder read-only, or its parent if it does not exist."""
    (folder if folder.is_dir() else folder.parent).chmod(0o555)


def change_surroundings(folder: Path) -> None:
    """Remove the temporary folder, and set a locale with a decimal comma."""
    shutil.rmtree(tempfile.gettempdir())
    if "OTHER_LOCALE" in os.environ:
        locale.setlocale(locale.LC_ALL, os.environ["OTHER_LOCALE"])


DISTURBANCES: dict[str, Callable[[Path], object]] = {
    "SIGKILL": lambda folder: os.kill(os.getpid(), signal.SIGKILL),
    "SIGTERM": lambda folder: os.kill(os.getpid(), signal.SIGTERM),
    "SIGINT": lambda folder: os.kill(os.getpid(), signal.SIGINT),
    "second": lambda folder: os.kill(os.getpid(), signal.SIGSTOP),
    "full": lambda folder: fill_disk(folder.parent / "plug", 0),
    "read-only": lock,
    "lost TMPDIR and LC_NUMERIC": change_surroundings,
}


def disturb(command: str, call: Call, notes: BinaryIO) -> None:
    """Patch the functions at the points of a command, to disturb this process at one of them."""
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
                DISTURBANCES[call["do"]](Path(call["folder"]))
            return step(*args, **more)

        return run

    for name, module, attribute in (*POINTS[command], *EVERYWHERE):
        owner: Any = importlib.import_module(module)
        *path, last = attribute.split(".")
        for part in path:
            owner = getattr(owner, part)
        setattr(owner, last, watched(name, getattr(owner, last)))


def give_up_rights() -> None:
    """Drop the capabilities of root."""
    if os.getuid() == 0:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        if ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()):
            raise OSError("capset")


def replace_networks() -> None:
    """Replace the networks by functions that return the labels of a phantom at once."""
    from perfect_predictions import perfect_predictions

    from spinemamba import segment
    from spinemamba.imaging.read import read_volume
    from spinemamba.inference import model
    from spinemamba.protocol.model_card import DEFAULT, find_model

    truth = perfect_predictions(read_volume(Path(os.environ["TRUTH"])))
    networks = model.load_model(find_model(DEFAULT))
    model.load_model = lambda *options: networks

    def coarse_stage(image: object, model: object, progress: Callable[[str, float], None]) -> None:
        progress("locate", 0.5)

    def fine_stage(image: object, coarse: object, model: object, *rest: Any) -> object:
        rest[0]("segment", 0.5)
        return truth

    segment.coarse_stage, segment.fine_stage = coarse_stage, fine_stage


def fix_ids_and_times() -> None:
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
    segment.time = SimpleNamespace(monotonic=lambda: 0.0)
    item.datetime = Then


def draw_coarsely() -> None:
    """Draw pictures at a low resolution, which is faster."""
    from matplotlib.figure import Figure

    from spinemamba.report import case_pictures

    save = Figure.savefig
    Figure.savefig = lambda figure, file, **options: save(figure, file, **options | {"dpi": 20})
    solid = case_pictures.render_labels
    case_pictures.render_labels = lambda labels, turn_deg: solid(labels, turn_deg, pixel_mm=4.0)


def wait_briefly() -> None:
    """Shorten the time that an export waits for another."""
    from spinemamba.common.locks import wait_for_lock
    from spinemamba.export import exporter

    exporter.wait_for_lock = partial(wait_for_lock, longest_s=0.3)


def import_for(command: str) -> None:
    """Import the modules of a command before forking, and replace slow functions."""
    import matplotlib.font_manager  # noqa: F401

    if command == "segment":
        replace_networks()
    if command == "train":
        importlib.import_module("disturbed_trainings")
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
    if DISTURBANCES.get(call.get("do")) == change_surroundings:
        tempfile.tempdir = tempfile.mkdtemp()
    if call.get("user"):
        give_up_rights()
    command, words = call["words"][0], call["words"]
    disturb(command, call, notes)
    if command == "train":
        import disturbed_trainings

        return disturbed_trainings.train({"words": words[1:]})
    return main(words)


def waited(child: int, second: Callable[[], dict[str, Any]]) -> tuple[int, dict[str, Any] | None]:
    """Return the exit code of a child, and the result of a second run while the child stopped."""
    other = None
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status), other
        other = second()
        os.kill(child, signal.SIGCONT)


def result_of(call: Call) -> dict[str, Any]:
    """Run a command in a child process; return its result."""
    if "copy" in call:
        shutil.copytree(call["copy"], call["folder"])
    with contextlib.ExitStack() as stack:
        out, error, notes = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        child = start_child(partial(work, call, notes), out, error)
        code, other = waited(child, lambda: result_of({"words": call["second"]}))
        said = [json.loads(line) for line in text_of(notes).splitlines()]
        texts = {"out": text_of(out), "error": text_of(error)}
    undo_disturbance(call)
    points = [point for point in said if point != "done"]
    done = {"code": code, "reached": "done" in said, "points": points, **texts}
    return done if other is None else done | {"second": other}


def undo_disturbance(call: Call) -> None:
    """Undo a disturbance of the disk or the folder, and copy the folder of the run."""
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
    fix_ids_and_times()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(result_of(json.loads(line))) + "\n")
        sys.stdout.flush()
