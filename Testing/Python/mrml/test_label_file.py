"""Label files of the worker are read in short steps, and cropped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

slicer = pytest.importorskip("slicer")

from spinemamba.common.errors import UserError  # noqa: E402 - after the skip
from SpineMambaSegmentLib.Scene import LabelFile  # noqa: E402
from SpineMambaSegmentLib.Scene.Files import writeVolume  # noqa: E402
from SpineMambaSegmentLib.Scene.Grid import gridOf  # noqa: E402
from SpineMambaSegmentLib.Scene.LabelArray import onGrid  # noqa: E402
from SpineMambaSegmentLib.Scene.Segments import readImage, readLabels, segmentsInSteps  # noqa: E402

MATRICES = {
    "right-handed": np.array([[0, 0, 2.0, 5], [0.5, 0, 0, -3], [0, 0.5, 0, 7], [0, 0, 0, 1]]),
    "left-handed": np.array([[0.5, 0, 0, 5], [0, 0.5, 0, -3], [0, 0, -2.0, 7], [0, 0, 0, 1]]),
}


def labels() -> np.ndarray:
    """T12 and L1 as boxes."""
    found = np.zeros((30, 12, 10), np.int16)
    found[4:9, 2:7, 3:8] = 20
    found[15:21, 3:9, 2:6] = 19
    return found


def written(folder: Path, kind: str, volume) -> Path:
    """Return a file with the labels of a volume, raw or compressed."""
    path = folder / "labels.nrrd"
    writeVolume(volume, path)
    if kind == "gzip":
        image = sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkUInt8)
        sitk.WriteImage(image, str(path), useCompression=True)
    return path


@pytest.mark.parametrize("kind", ["raw", "gzip"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_labels_are_read_as_slicers_reader_does(make_volume, tmp_path, matrix, kind, monkeypatch):
    volume = make_volume(labels(), MATRICES[matrix])
    path, grid = written(tmp_path, kind, volume), gridOf(volume)
    monkeypatch.setattr(LabelFile, "_STEP_BYTES", 12 * 10 * 2 * 7)
    steps = LabelFile.labelsInSteps(path, grid)
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
            break
        count += 1
    assert count == (5 if kind == "raw" else 3)
    assert found.GetScalarTypeAsString() == "unsigned char"
    assert found.GetNumberOfPoints() == 17 * 7 * 6
    theirs = grid_of(readImage(path, grid))
    np.testing.assert_array_equal(onGrid(found, theirs), onGrid(readImage(path, grid), theirs))
    assert set(np.unique(onGrid(found, theirs))) == {0, 19, 20}


def grid_of(image):
    """Return the grid of an image that starts at 0."""
    from SpineMambaSegmentLib.Review.SharedLabelmap import gridOfImage

    return gridOfImage(image)


def test_a_file_without_labels_is_one_voxel_of_background(make_volume, tmp_path):
    volume = make_volume(labels() * 0, np.eye(4))
    found = readLabels(written(tmp_path, "gzip", volume), gridOf(volume))
    assert found.GetNumberOfPoints() == 1
    assert found.GetPointData().GetScalars().GetTuple1(0) == 0


@pytest.mark.parametrize("kind", ["raw", "gzip"])
def test_a_damaged_file_is_refused(make_volume, tmp_path, kind):
    volume = make_volume(labels(), np.eye(4))
    path = written(tmp_path, kind, volume)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UserError, match=r"labels\.nrrd could not be read"):
        readLabels(path, gridOf(volume))


def test_a_vertebra_approved_during_the_import_is_kept(scene, make_volume, tmp_path):
    volume = make_volume(labels(), np.eye(4))
    path = written(tmp_path, "raw", volume)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    for _ in segmentsInSteps(readLabels(path, gridOf(volume)), node, volume):
        pass
    first, second = (node.GetSegmentation().GetSegment(i) for i in ("V19", "V20"))
    logic.SetSegmentStatus(first, logic.Completed)
    steps = segmentsInSteps(readLabels(path, gridOf(volume)), node, volume)
    next(steps)
    logic.SetSegmentStatus(second, logic.Completed)
    for _ in steps:
        pass
    assert node.GetSegmentation().GetSegment("V19") is first
    assert node.GetSegmentation().GetSegment("V20") is second
    assert node.GetSegmentation().GetNumberOfSegments() == 2
