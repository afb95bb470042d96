"""Pedicles and screws in the panel: real worker, real lines, tested while they move."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
from analytic_pedicles import draw_vertebra, random_vertebra
from check_helpers import add_segments, photograph
from scene_helpers import add_volume

from SpineMambaSegmentLib.Scene import PlanNodes

WIDTH = 420


class Truth:
    """A labelled vertebra with a CT-like image."""

    def __init__(self):
        self.labels = draw_vertebra(random_vertebra(1), (1.2, 1.0, 1.0), np.eye(3))
        noise = np.random.default_rng(0).normal(0, 15, self.labels.array.shape)
        values = np.where(self.labels.array > 0, 400, 20) + noise
        self.image = self.labels.with_array(values.astype(np.int16))

    def matrix(self) -> np.ndarray:
        """Return the matrix from indices to RAS."""
        geometry = self.labels.geometry
        matrix = np.diag([*(np.array(geometry.spacing_mm[::-1]) * [-1, -1, 1]), 1.0])
        matrix[:3, 3] = np.array(geometry.origin_lps_mm) * [-1, -1, 1]
        return matrix


@pytest.fixture(scope="module")
def spine() -> Truth:
    return Truth()


@pytest.fixture
def ready(panel, spine, pump):
    """The panel with a labelled vertebra and the section open."""
    volume = add_volume(spine.image.array, spine.matrix(), "CT")
    node = add_segments(volume, spine.labels.array.astype(np.uint8), "Spine")
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.outputSelector.setCurrentNode(node)
    panel.refresh()
    panel.ui.measureCollapsibleButton.collapsed = False
    panel.frame.resize(WIDTH, 1900)
    pump(lambda: panel.checkSection.plan.button.isVisible())
    return panel


def cells(table, row: int) -> list[str]:
    return [table.item(row, column).text() for column in range(table.columnCount)]


def test_the_plan_button_says_what_is_missing(panel):
    button = panel.checkSection.plan.button
    assert not button.enabled
    assert button.toolTip == "Nothing was segmented yet."


def test_a_moved_line_is_tested_at_once(ready, real_worker, pump):
    section = ready.checkSection.plan
    section.button.click()
    pump(lambda: not ready.runs.isRunning(), 120.0)
    assert ready.ui.statusLabel.text.startswith("Planned:"), ready.ui.statusLabel.text
    table = section.table
    assert [table.item(row, 0).text() for row in range(table.rowCount)] == ["L3 left", "L3 right"]
    assert cells(table, 0)[3].startswith("grade A")
    assert list(real_worker.iterdir()) == []
    lines = PlanNodes.linesOf(ready.ui.outputSelector.currentNode())
    assert [line.GetName() for line in lines] == ["L3 left", "L3 right"]
    photograph(ready, "plan")
    before, other = cells(table, 0), cells(table, 1)
    for index in range(2):
        place = [0.0, 0.0, 0.0]
        lines[0].GetNthControlPointPosition(index, place)
        # The left of the patient is at negative R: towards the midline is to the right.
        lines[0].SetNthControlPointPosition(index, place[0] + 6.0, place[1], place[2])
    after = cells(table, 0)
    assert "medial wall" in after[3]
    assert "in the canal" in after[3]
    assert after[:2] == before[:2]
    assert cells(table, 1) == other
    lines[0].SetNthControlPointPosition(0, 300.0, 0.0, 0.0)
    lines[0].SetNthControlPointPosition(1, 320.0, 0.0, 0.0)
    assert "no planned vertebra" in cells(table, 0)[3]


def test_planning_again_replaces_the_lines(ready, real_worker, pump):
    section = ready.checkSection.plan
    for _ in range(2):
        section.button.click()
        pump(lambda: not ready.runs.isRunning(), 120.0)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsLineNode") == 2
