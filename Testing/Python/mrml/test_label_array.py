"""Segments as numbers on the voxels of a volume: fast, and as the slow way says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from SpineMambaSegmentLib.Scene import Segments  # noqa: E402 - after the skip
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf  # noqa: E402
from SpineMambaSegmentLib.Scene.LabelArray import (  # noqa: E402
    labelArray,
    slowLabelArray,
    vertebraIds,
)
from SpineMambaSegmentLib.Scene.VolumeFile import writeVolume  # noqa: E402

SHAPE = (20, 12, 14)
OBLIQUE = np.array(
    [[-0.8, 0.3, 0.0, 7.0], [-0.3, -0.8, 0.0, 3.0], [0.0, 0.0, 1.5, -9.0], [0, 0, 0, 1.0]]
)


@pytest.fixture(params=["straight", "oblique", "left-handed"])
def segmented(request, scene, make_volume, tmp_path: Path):
    """A volume whose T12, L1 and L2 were segmented."""
    matrix = {
        "straight": np.diag([1.0, 1.0, 1.0, 1.0]),
        "oblique": OBLIQUE,
        "left-handed": np.diag([-1.0, 1.0, 1.0, 1.0]),
    }[request.param]
    labels = np.zeros(SHAPE, np.int16)
    for value, first in ((19, 14), (20, 8), (21, 2)):
        labels[first : first + 5, 3:9, 2:11] = value
    volume = make_volume(labels, matrix)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    writeVolume(volume, tmp_path / "labels.nrrd")
    Segments.readSegmentation(tmp_path / "labels.nrrd", node, volume)
    return volume, node, labels


def test_segments_are_numbered_in_the_order_that_is_asked_for(segmented):
    volume, node, labels = segmented
    assert vertebraIds(node) == ["V19", "V20", "V21"]
    found = labelArray(node, ["V21", "V19"], gridOf(volume))
    np.testing.assert_array_equal(found == 1, labels == 21)
    np.testing.assert_array_equal(found == 2, labels == 19)
    assert set(np.unique(found)) == {0, 1, 2}


def test_the_fast_way_says_what_the_slow_one_says(segmented):
    volume, node, _ = segmented
    grid = gridOf(volume)
    part = grid.cut((3, 9, 0, 7, 4, 15))
    finer = grid.ijkToRas.copy()
    finer[:3, :3] = finer[:3, :3] / 3
    ids = vertebraIds(node)
    for wanted in (grid, part, Grid(finer, (42, 36, 60)), grid.cut((-5, 20, -3, 4, 2, 40))):
        fast = labelArray(node, ids, wanted)
        assert fast.any()
        np.testing.assert_array_equal(fast, slowLabelArray(node, ids, wanted))


def test_a_segment_in_a_layer_of_its_own_is_found_too(segmented, make_volume):
    volume, node, labels = segmented
    node.GetSegmentation().SeparateSegmentLabelmap("V20")
    found = labelArray(node, vertebraIds(node), gridOf(volume))
    for number, value in enumerate((19, 20, 21), start=1):
        np.testing.assert_array_equal(found == number, labels == value)


def test_an_empty_segment_has_no_voxels(segmented):
    volume, node, _ = segmented
    node.GetSegmentation().AddEmptySegment("V22", "L3")
    found = labelArray(node, ["V22", "V20"], gridOf(volume))
    assert set(np.unique(found)) == {0, 2}
