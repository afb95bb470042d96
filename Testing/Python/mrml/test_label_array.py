"""Segments as numbers on the voxels of a volume, checked against a slow implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import vtk
from vtk.util.numpy_support import vtk_to_numpy

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from SpineMambaSegmentLib.Scene import Segments  # noqa: E402 - after the skip
from SpineMambaSegmentLib.Scene.Files import writeVolume  # noqa: E402
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf, matrixArray  # noqa: E402
from SpineMambaSegmentLib.Scene.LabelArray import labelArray  # noqa: E402
from SpineMambaSegmentLib.Scene.Ownership import vertebraIds  # noqa: E402

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


def slow_label_array(node, ids: list[str], grid: Grid) -> np.ndarray:
    """Return the same as `labelArray`, by looking up the nearest voxel of each position."""
    out = np.zeros(grid.size[::-1], np.uint8)
    kji = np.moveaxis(np.indices(out.shape), 0, -1)
    positions = kji[..., ::-1] @ grid.ijkToRas[:3, :3].T + grid.ijkToRas[:3, 3]
    for number, segment_id in enumerate(ids, start=1):
        image, matrix = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
        if not node.GetBinaryLabelmapRepresentation(segment_id, image):
            continue
        image.GetImageToWorldMatrix(matrix)
        first, last = np.array(image.GetExtent()).reshape(3, 2).T
        at = np.rint(Grid(matrixArray(matrix), grid.size).toIjk(positions)).astype(int)
        inside = ((at >= first) & (at <= last)).all(axis=-1)
        i, j, k = (at[inside] - first).T
        voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape((last - first + 1)[::-1])
        out[inside] = np.where(voxels[k, j, i] != 0, number, out[inside])
    return out


def test_segments_are_numbered_in_the_order_of_the_ids(segmented):
    volume, node, labels = segmented
    assert vertebraIds(node) == ["V19", "V20", "V21"]
    found = labelArray(node, ["V21", "V19"], gridOf(volume))
    np.testing.assert_array_equal(found == 1, labels == 21)
    np.testing.assert_array_equal(found == 2, labels == 19)
    assert set(np.unique(found)) == {0, 1, 2}


def test_the_fast_implementation_equals_the_slow_one(segmented):
    volume, node, _ = segmented
    grid = gridOf(volume)
    part = grid.cut((3, 9, 0, 7, 4, 15))
    finer = grid.ijkToRas.copy()
    finer[:3, :3] = finer[:3, :3] / 3
    ids = vertebraIds(node)
    for target in (grid, part, Grid(finer, (42, 36, 60)), grid.cut((-5, 20, -3, 4, 2, 40))):
        fast = labelArray(node, ids, target)
        assert fast.any()
        np.testing.assert_array_equal(fast, slow_label_array(node, ids, target))


def test_a_segment_in_a_separate_layer_is_included(segmented, make_volume):
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
