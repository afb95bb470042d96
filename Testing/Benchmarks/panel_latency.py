"""Measure how long the panel blocks Slicer's event loop with a large CT.

``python Testing/Benchmarks/run.py panel_latency`` opens the panel on the test host, segments a
volume of 512 x 512 x 400 voxels with a stand-in for the worker that finds 24 vertebrae, and then
edits one of them. It prints the longest time between two ticks of a timer for every stage.

Slicer's main thread holds Python's lock (the GIL) also while it waits for events, which PySide6
does not. Here Qt's event loop is therefore called without releasing the lock. Linux only.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

SHAPE = (400, 512, 512)
SPACING_MM = (1.5, 0.8, 0.8)
LIMITS_S = {"write": 0.1, "work": 0.1, "import": 0.3, "edit": 0.3}
"""Longest acceptable time between two ticks, by stage."""

EXEC = "_ZN16QCoreApplication4execEv"
TICK_MS = 50
"""As the timer that follows a run: every tick may give the lock to another thread."""

QUIET_S = 6.0
"""After an edit, ticks are watched for this time."""

ROOT = Path(__file__).resolve().parents[2]


def _now_s() -> tuple[float, float]:
    """Return the time, and the processor time of the main thread, which other programs spare."""
    return time.monotonic(), time.thread_time()


class Loop:
    """Qt's event loop without releases of the GIL, and the times between ticks of a timer."""

    def __init__(self, stage: Callable[[], str]):
        import qt
        from PySide6 import QtCore

        library = Path(QtCore.__file__).parent / "Qt" / "lib" / "libQt6Core.so.6"
        self._exec, self._quit = ctypes.PyDLL(str(library))[EXEC], QtCore.QCoreApplication.quit
        self._stage = stage
        self._until: Callable[[], bool] = lambda: True
        self._last_s, self._last_stage = _now_s(), ""
        self.gaps_s: dict[str, list[tuple[float, float]]] = {}
        self._timer = qt.QTimer()
        self._timer.setTimerType(qt.Qt.PreciseTimer)
        self._timer.setInterval(TICK_MS)
        self._timer.connect("timeout()", self._tick)

    def run(self, until: Callable[[], bool], seconds: float) -> None:
        """Run until a condition holds, at most for a time."""
        end_s = time.monotonic() + seconds
        self._until = lambda: until() or time.monotonic() > end_s
        self._last_s = _now_s()
        self._timer.start()
        self._exec()
        self._timer.stop()

    def _tick(self) -> None:
        now_s, stage = _now_s(), self._stage()
        # The step that ends a stage lies between two ticks, and counts for the stage it ends.
        gap_s = now_s[0] - self._last_s[0], now_s[1] - self._last_s[1]
        self.gaps_s.setdefault(self._last_stage or stage, []).append(gap_s)
        self._last_s, self._last_stage = now_s, stage
        if self._until():
            self._quit()


def work(words: list[str]) -> int:
    """Be the worker, or the check of packages, that the panel starts."""
    import fake_worker
    import SimpleITK as sitk
    import untranslated_slicer

    from spinemamba.anatomy.labels import NETWORK_LEVELS
    from spinemamba.common.atomic_files import whole_or_nothing
    from spinemamba.common.progress import STAGES
    from spinemamba.worker import main as worker

    if "probe" in words:
        sys.stdout.write(json.dumps(fake_worker.FACTS))
        return 0
    fake_worker.NAMES = NETWORK_LEVELS[1:]
    untranslated_slicer.use_untranslated_texts()

    def run(job: Any, progress: Callable[[str, float], None], warn: Callable[[str], None]) -> None:
        for stage in STAGES:
            for quarter in range(5):
                progress(stage, quarter / 4)
                time.sleep(0.02)
        image = sitk.ReadImage(str(job.input))
        labels = importlib.import_module("review_latency").labels_of_blocks()
        out = sitk.GetImageFromArray(labels)
        out.CopyInformation(image)
        with whole_or_nothing(job.outputs[0]) as first, whole_or_nothing(job.outputs[1]) as second:
            sitk.WriteImage(out, str(first), useCompression=True)
            fake_worker.result_of(labels, image).write(second)

    return worker(words[2:], run=run, grace_s=0.3)


def open_panel(folder: Path) -> Any:
    """Return the panel on the test host; its worker is `work`."""
    import application

    script = folder / "PythonSlicer"
    command = f'exec "{sys.executable}" "{ROOT / "Testing/Benchmarks/run.py"}" panel_latency work'
    script.write_text(f'#!/bin/sh\n{command} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    application.start(folder)
    module = application.import_module(ROOT / "SpineMambaSegment" / "SpineMambaSegment.py")
    widget, frame = application.make_panel(module)
    frame.resize(430, 900)
    frame.show()
    return SimpleNamespace(widget=widget, frame=frame, panel=widget.panel)


def add_volume() -> Any:
    """Add a CT with noise to the scene."""
    from scene_helpers import add_volume as add

    array = np.random.default_rng(0).integers(-1000, 1500, SHAPE, dtype=np.int16)
    return add(array, np.diag([*SPACING_MM[::-1], 1.0]), "CT")


def stage_of(panel: Any) -> str:
    """Return what the panel is doing."""
    run = panel.runs.run
    if run is None or not panel.runs.isRunning():
        return "idle"
    if run.isImporting:
        return "import"
    return "write" if run._worker is None else "work"


def edits(panel: Any) -> dict[str, Callable[[], object]]:
    """Return edits of the vertebra in the middle, as the panel, a brush and a script make them."""
    import slicer
    from vtk.util.numpy_support import vtk_to_numpy

    from SpineMambaSegmentLib.Review.LevelActions import ShiftLevels
    from SpineMambaSegmentLib.Review.ShapeActions import Delete

    review, node = panel.reviewSection, panel.inputSection.segmentationNode()
    middle = review.table.rows[12].segmentId

    def paint() -> None:
        segment = node.GetSegmentation().GetSegment(middle)
        image = segment.GetRepresentation("Binary labelmap")
        voxels = vtk_to_numpy(image.GetPointData().GetScalars())
        voxels[np.flatnonzero(voxels == segment.GetLabelValue())[:50]] = 0
        image.GetPointData().GetScalars().Modified()
        image.Modified()
        node.GetSegmentation().InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified)

    return {
        "brush": paint,
        "shift levels": lambda: review.do(ShiftLevels(-1)),
        "undo": review.undo,
        "delete": lambda: review.do(Delete((middle,))),
    }


def measured(folder: Path, unfolded: bool) -> dict[str, tuple[float, float, str]]:
    """Return by stage the longest time between two ticks, its processor time, and its limit."""
    opened = open_panel(folder)
    panel = opened.panel
    panel.enter()
    loop = Loop(lambda: stage_of(panel))
    loop.run(lambda: isinstance(panel.setupSection.facts, dict), 30.0)
    panel.ui.inputSelector.setCurrentNode(add_volume())
    straightened = panel.checkSection.straightened.button
    straightened.collapsed = not unfolded
    loop.gaps_s.clear()
    panel.segment()
    loop.run(lambda: not panel.runs.isRunning(), 120.0)
    sys.stdout.write(panel.ui.statusLabel.text + "\n")
    if not panel.reviewSection.table.rows:
        raise SystemExit(panel.runs.log())
    wrote_s = sum(wall_s for wall_s, _ in loop.gaps_s.get("write", ()))
    sys.stdout.write(f"writing the volume: {wrote_s:.2f} s\n")
    straightened.collapsed = not unfolded
    loop.run(lambda: False, QUIET_S)
    found = {stage: (*max(gaps), stage) for stage, gaps in loop.gaps_s.items() if stage != "idle"}
    found["after the run"] = (*max(loop.gaps_s["idle"]), "edit")
    for name, edit in edits(panel).items():
        loop.gaps_s.clear()
        start_s = _now_s()
        edit()
        now_s = _now_s()
        loop.run(lambda: False, QUIET_S)
        gaps = [(now_s[0] - start_s[0], now_s[1] - start_s[1]), *loop.gaps_s["idle"]]
        found[f"edit: {name}"] = (*max(gaps), "edit")
    opened.widget.cleanup()
    return found


def main(words: list[str]) -> int:
    """Measure all stages; return 1 if one exceeds its limit."""
    if words[:1] == ["work"]:
        return work(words[1:])
    parser = argparse.ArgumentParser("panel_latency", description=__doc__)
    parser.add_argument("--folded", action="store_true", help="leave the straightened spine folded")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), not arguments.folded)
    for name, (gap_s, cpu_s, stage) in found.items():
        text = f"{name}: longest gap {gap_s:.3f} s, of these {cpu_s:.3f} s at work; "
        sys.stdout.write(f"{text}{gap_s / LIMITS_S[stage]:.2f} of the limit\n")
    return int(any(gap_s > LIMITS_S[stage] for gap_s, _, stage in found.values()))
