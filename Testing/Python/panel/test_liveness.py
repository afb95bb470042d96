"""Slicer stays responsive during a run: longest block of the event loop."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
from run_helpers import Ticks
from scene_helpers import add_volume

from spinemamba.phantom import PhantomOptions, make_phantom

LONGEST_S = 0.1
LONGEST_IMPORT_S = 1.5


def run_and_measure(panel, volume, pump, seconds: float = 60.0) -> dict[str, float]:
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.enter()
    pump(lambda: isinstance(panel.setupSection.facts, dict))
    ticks = Ticks(panel.runs)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning(), seconds)
    pump(lambda: True)
    ticks.stop()
    logging.info("longest absence: %s", ticks.longest_s)
    assert "Finished" in panel.ui.statusLabel.text
    return ticks.longest_s


def test_the_panel_stays_responsive_with_a_fake_worker_and_a_large_volume(
    panel, fake_worker, pump, monkeypatch
):
    monkeypatch.setenv("PAUSE_S", "0.01")
    rng = np.random.default_rng(0)
    array = rng.integers(-1000, 2000, (256, 256, 256), dtype=np.int16)
    longest_s = run_and_measure(panel, add_volume(array, np.diag([0.7, 0.7, 1.0, 1.0])), pump)
    assert longest_s["run"] <= LONGEST_S
    assert longest_s["import"] <= LONGEST_IMPORT_S


@pytest.mark.slow
def test_the_panel_stays_responsive_with_the_real_worker(panel, real_worker: Path, pump):
    view = {"spacing_mm": (3.0, 3.0, 3.0), "scale": 0.8, "margin_mm": 9.0, "tight": True}
    image = make_phantom(2, PhantomOptions(first="L2", last="L3", **view)).image
    matrix = np.diag([-3.0, -3.0, 3.0, 1.0])
    matrix[:3, 3] = np.array(image.geometry.origin_lps_mm) * [-1, -1, 1]
    panel.ui.qualitySelector.setCurrentIndex(1)
    volume = add_volume(image.array, matrix)
    longest_s = run_and_measure(panel, volume, pump, seconds=180.0)
    assert panel.ui.outputSelector.currentNode().GetSegmentation().GetNumberOfSegments() >= 2
    assert list(real_worker.iterdir()) == []
    assert longest_s["run"] <= LONGEST_S
    assert longest_s["import"] <= LONGEST_IMPORT_S
