"""The panel with a run at a given stage, and helpers for processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import qt

from spinemamba.protocol import events

TICK_MS = 5


class Watched:
    """The panel with a run that has reached a stage."""

    def __init__(self, panel, volume, pump, folder: Path):
        self.panel, self.ui, self.pump, self.folder = panel, panel.ui, pump, folder
        self.pids: list[int] = []
        self.stages: list[str] = []
        show = panel.runSection.show

        def spy(event):
            if isinstance(event, events.Hello):
                self.pids.append(event.pid)
            if isinstance(event, events.Progress):
                self.stages.append(event.stage)
            show(event)

        panel.runSection.show = spy
        self.ui.inputSelector.setCurrentNode(volume)

    def start(self, stage: str) -> None:
        """Press Segment Spine and wait for a stage."""
        self.stages.clear()
        self.ui.segmentButton.click()
        folders = set()

        def reached() -> bool:
            folders.update(self.folder.iterdir())
            return stage in self.stages

        self.pump(reached)
        assert folders  # else that nothing is left would say nothing

    def wait(self) -> None:
        self.pump(lambda: not self.panel.runs.isRunning())

    def assert_nothing_left(self) -> None:
        assert self.pids
        assert not [pid for pid in self.pids if is_there(pid)]
        assert list(self.folder.iterdir()) == []


def put_python_slicer(monkeypatch: pytest.MonkeyPatch, folder: Path, command: str) -> None:
    """Put a script PythonSlicer on the path, which the panel starts as Slicer's Python."""
    script = folder / "PythonSlicer"
    folder.mkdir()
    script.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def is_there(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


class Ticks:
    """The longest time between two ticks of a Qt timer, during a run and its import."""

    def __init__(self, runs):
        self._runs = runs
        self._last_s = time.monotonic()
        self._was_importing = False
        self.longest_s = {"run": 0.0, "import": 0.0}
        self._timer = qt.QTimer()
        self._timer.setTimerType(qt.Qt.PreciseTimer)
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now_s = time.monotonic()
        importing = self._runs.run is not None and self._runs.run.isImporting
        # The step that starts or ends the import falls between two ticks, and counts as import.
        kind = "import" if importing or self._was_importing else "run"
        self.longest_s[kind] = max(self.longest_s[kind], now_s - self._last_s)
        self._last_s, self._was_importing = now_s, importing

    def skip(self) -> None:
        """Leave out what the test itself did just now."""
        self._last_s = time.monotonic()

    def stop(self) -> None:
        """End; what came after the last tick counts, too."""
        self._timer.stop()
        self._tick()
