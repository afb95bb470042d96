"""Run commands of ``spinemamba`` that are killed when they are about to change the file system.

``python killed_commands.py`` imports what the commands need once. Then it takes a call from each
line of its standard input, a JSON object with

- ``words``: the arguments of ``spinemamba``;
- ``at`` and ``signal``: number of the change before which the process gets the signal, from 0.

It runs each call in a child process, and answers with a line: a JSON object with ``code`` (negative
after a signal), ``text`` (what was printed) and ``changes`` (kind and path of each change).
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_MODULES = (
    "spinemamba.cli.main",
    "spinemamba.cli.results.apply_review",
    "spinemamba.cli.results.relabel",
    "spinemamba.cohort.overview",
    "spinemamba.jobs.cohort_case",
    "spinemamba.report.case_preview",
    "spinemamba.report.run_picture",
    "spinemamba.report.thumbnail",
)
_CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")


class KilledCommands:
    """The process that runs the commands; a context manager."""

    def __enter__(self) -> KilledCommands:
        package = Path(sys.modules["spinemamba"].__file__).parents[1]
        path = os.pathsep.join([str(package), str(Path(__file__).parent)])
        env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=pipe, stdout=pipe, text=True, env=env
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()
        self._process.wait(60)

    def run(self, *words: object, at: int = -1, signal: int = 0) -> dict[str, Any]:
        """Run a command; kill it before the change ``at``, if that is not negative."""
        call = {"words": [str(word) for word in words], "at": at, "signal": int(signal)}
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _change(event: str, args: tuple[Any, ...]) -> list[str]:
    """Return kind and path of a change; empty for another event."""
    if event in _CHANGES:
        return [event, os.fspath(args[1 if event == "os.rename" else 0])]
    if event == "open" and isinstance(args[0], str) and args[2] & (os.O_WRONLY | os.O_RDWR):
        return [event, args[0]]
    return []


def _run(call: dict[str, Any], log: Path) -> None:
    """Run a call in this process, and end it."""
    output = os.open(log / "text", os.O_CREAT | os.O_WRONLY)
    notes = os.open(log / "changes", os.O_CREAT | os.O_WRONLY)
    os.dup2(output, 1)
    os.dup2(output, 2)
    count = 0

    def watch(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        change = _change(event, args)
        if not change or change[1] == os.devnull:
            return
        number, count = count, count + 1
        if number == call["at"]:
            os.kill(os.getpid(), call["signal"])
        os.write(notes, json.dumps(change).encode() + b"\n")

    sys.addaudithook(watch)
    from spinemamba.cli.main import main

    code = main(call["words"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _serve() -> None:
    for name in _MODULES:
        importlib.import_module(name)
    # Pictures of few pixels are drawn sooner.
    for name in ("spinemamba.report.run_picture", "spinemamba.cohort.contact_sheet"):
        sys.modules[name]._DPI = 20
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder)
            pid = os.fork()
            if pid == 0:
                try:
                    _run(json.loads(line), log)
                finally:
                    os._exit(99)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            changes = [json.loads(text) for text in (log / "changes").read_text().splitlines()]
            text = (log / "text").read_text(encoding="utf-8")
            answer = {"code": code, "text": text, "changes": changes}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
