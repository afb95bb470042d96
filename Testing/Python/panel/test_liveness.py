"""Slicer stays usable during a run: how long its event loop is away at most."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import qt
from scene_helpers import add_volume

from spinemamba.phantom import PhantomOptions, make_phantom

TICK_MS = 5
LONGEST_S = 0.1
LONGEST_IMPORT_S = 1.5


class Ticks:
    """The longest time between two ticks of a Qt timer, during a run and its import."""

    def __init__(self, is_importing: Callable[[], bool]):
        self._is_importing = is_importing
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
        importing = self._is_importing()
        # The step that starts or ends the import falls between two ticks, and counts as import.
        kind = "import" if importing or self._was_importing else "run"
        self.longest_s[kind] = max(self.longest_s[kind], now_s - self._last_s)
        self._last_s, self._was_importing = now_s, importing

    def stop(self) -> None:
        self._timer.stop()


def run_and_measure(panel, volume, pump, seconds: float = 60.0) -> dict[str, float]:
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.enter()
    pump(lambda: isinstance(panel.setupSection.facts, dict))
    segmentation = []

    def importing() -> bool:
        return bool(segmentation) and segmentation[0].run.isImporting

    ticks = Ticks(importing)
    panel.ui.segmentButton.click()
    segmentation.append(panel.logic._segmentation)
    pump(lambda: not panel.logic.isRunning(), seconds)
    pump(lambda: True)
    ticks.stop()
    logging.info("longest absence: %s", ticks.longest_s)
    assert "Finished" in panel.ui.statusLabel.text
    return ticks.longest_s


def test_the_panel_is_never_away_for_long_with_a_fake_worker_and_a_large_volume(
    panel, fake_worker, pump, monkeypatch
):
    monkeypatch.setenv("PAUSE_S", "0.01")
    rng = np.random.default_rng(0)
    array = rng.integers(-1000, 2000, (256, 256, 256), dtype=np.int16)
    longest_s = run_and_measure(panel, add_volume(array, np.diag([0.7, 0.7, 1.0, 1.0])), pump)
    assert longest_s["run"] <= LONGEST_S
    assert longest_s["import"] <= LONGEST_IMPORT_S


@pytest.mark.slow
def test_the_panel_is_never_away_for_long_with_the_real_worker(panel, real_worker: Path, pump):
    options = PhantomOptions(first="L2", last="L3", spacing_mm=(3.0, 3.0, 3.0), tight=True)
    image = make_phantom(2, options).image
    matrix = np.diag([-3.0, -3.0, 3.0, 1.0])
    matrix[:3, 3] = np.array(image.geometry.origin_lps_mm) * [-1, -1, 1]
    panel.ui.qualitySelector.setCurrentIndex(1)
    volume = add_volume(image.array, matrix)
    longest_s = run_and_measure(panel, volume, pump, seconds=180.0)
    assert panel.ui.outputSelector.currentNode().GetSegmentation().GetNumberOfSegments() >= 2
    assert list(real_worker.iterdir()) == []
    assert longest_s["run"] <= LONGEST_S
    assert longest_s["import"] <= LONGEST_IMPORT_S
