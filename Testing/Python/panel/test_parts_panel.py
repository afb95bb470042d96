"""Vertebrae divided into parts from the panel: real worker, real scene."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
from check_helpers import add_segments, matrix_of, photograph
from scene_helpers import add_volume

from spinemamba.phantom import PhantomOptions, make_phantom


@pytest.fixture(scope="module")
def spine():
    """A CT of two lumbar vertebrae, and its truth."""
    view = {"spacing_mm": (2.0, 2.0, 2.0), "scale": 0.9, "tight": True}
    return make_phantom(5, PhantomOptions(first="L2", last="L3", **view))


@pytest.fixture
def ready(panel, spine, pump):
    """The panel with a segmented spine and the section open."""
    volume = add_volume(spine.image.array, matrix_of(spine), "CT")
    node = add_segments(volume, spine.labels.array.astype(np.uint8), "Spine")
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.outputSelector.setCurrentNode(node)
    panel.refresh()
    panel.ui.measureCollapsibleButton.collapsed = False
    pump(lambda: panel.ui.partsButton.isVisible())
    return panel


def test_a_disabled_parts_button_says_what_is_missing(panel):
    assert not panel.ui.partsButton.enabled
    assert panel.ui.partsButton.toolTip == "Nothing was segmented yet."


def test_parts_become_a_second_segmentation_and_the_first_stays(ready, real_worker, pump):
    node = ready.ui.outputSelector.currentNode()
    before = node.GetSegmentation().GetSegmentIDs()
    ready.ui.partsButton.click()
    pump(lambda: not ready.runs.isRunning(), 120.0)
    assert ready.ui.statusLabel.text.startswith("Divided: Spine parts has"), (
        ready.ui.statusLabel.text
    )
    assert node.GetSegmentation().GetSegmentIDs() == before
    parts = slicer.mrmlScene.GetFirstNodeByName("Spine parts")
    segmentation = parts.GetSegmentation()
    segments = [segmentation.GetSegment(i) for i in segmentation.GetSegmentIDs()]
    names = [segment.GetName() for segment in segments]
    assert {"L2 body", "L3 left pedicle", "L2-L3 disc", "spinal canal"} <= set(names)
    assert len(set(names)) == len(names) >= 27
    assert parts.GetTransformNodeID() == node.GetTransformNodeID()
    photograph(ready, "parts")
    assert list(real_worker.iterdir()) == []
