"""A .seg.nrrd written by spinemamba, read by Slicer's storage node."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
vtk = pytest.importorskip("vtk")

from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

from spinemamba.anatomy.labels import BY_NAME  # noqa: E402 - after the skip
from spinemamba.anatomy.terminology import segment_info  # noqa: E402
from spinemamba.imaging.seg_nrrd import (  # noqa: E402
    metadata_fields,
    segment_fields,
    write_labels,
    write_layers,
)
from spinemamba.imaging.volume import Geometry, Volume  # noqa: E402

LEVELS = ("T12", "T13", "L1", "Sacrum")


def test_slicer_reads_names_colours_codes_voxels_and_positions(scene, tmp_path):
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    array = np.zeros((12, 14, 16), np.uint8)
    for k, name in enumerate(LEVELS):
        array[2 * k : 2 * k + 2, 3 : 6 + k, 4:9] = BY_NAME[name].value
    geometry = Geometry(array.shape, (2.5, 0.7, 1.1), (-12.5, 3.25, 700.0), turn)
    infos = [segment_info(BY_NAME[n].value, {"SpineMamba.Model": "test"}) for n in LEVELS]
    path = tmp_path / "a.seg.nrrd"
    write_labels(Volume(array, geometry), path, infos)

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    assert storage.ReadData(node)
    segmentation = node.GetSegmentation()
    assert list(segmentation.GetSegmentIDs()) == [f"V{BY_NAME[n].value}" for n in LEVELS]
    for info in infos:
        segment = segmentation.GetSegment(info.segment_id)
        assert segment.GetName() == info.name
        assert segment.GetColor() == pytest.approx(np.array(info.color) / 255, abs=1e-5)
        assert segment.GetTerminology() == info.terminology
        text = vtk.reference("")
        assert segment.GetTag("SpineMamba.Model", text)
        assert str(text) == "test"
        _same_voxels(node, info, array, geometry)


def _same_voxels(node, info, array, geometry) -> None:
    labelmap = slicer.vtkOrientedImageData()
    assert node.GetBinaryLabelmapRepresentation(info.segment_id, labelmap)
    values = vtk_to_numpy(labelmap.GetPointData().GetScalars())
    extent = labelmap.GetExtent()
    shape = tuple(extent[2 * a + 1] - extent[2 * a] + 1 for a in (2, 1, 0))
    ours = np.argwhere(array == info.value)
    inside = values.reshape(shape) == info.value
    if not inside.any():
        inside = values.reshape(shape) > 0
    assert inside.sum() == len(ours)
    matrix = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    k, j, i = np.argwhere(inside)[0] + np.array([extent[4], extent[2], extent[0]])
    ras = np.array(matrix.MultiplyPoint((float(i), float(j), float(k), 1.0))[:3])
    expected_lps = geometry.to_lps_mm(ours[0])
    np.testing.assert_allclose(ras * [-1, -1, 1], expected_lps, atol=1e-4)


def test_slicer_reads_overlapping_segments_from_two_layers(scene, tmp_path):
    geometry = Geometry((8, 9, 10), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    lower, upper = (np.zeros(geometry.shape, np.uint8) for _ in range(2))
    lower[1:5, 2:6, 2:6] = 20
    upper[3:7, 2:6, 2:6] = 1
    boxes = [(slice(1, 5), slice(2, 6), slice(2, 6)), (slice(3, 7), slice(2, 6), slice(2, 6))]
    infos = [segment_info(20, {}), replace(segment_info(21, {}), value=1)]
    fields = [
        segment_fields(info, box, k) for k, (info, box) in enumerate(zip(infos, boxes, strict=True))
    ]
    general = metadata_fields(lower, [])
    layers = [Volume(array, geometry) for array in (lower, upper)]
    write_layers(layers, tmp_path / "a.seg.nrrd", general, fields)

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(tmp_path / "a.seg.nrrd"))
    assert storage.ReadData(node)
    for field, array in zip(fields, (lower, upper), strict=True):
        segment = node.GetSegmentation().GetSegment(field["ID"])
        assert segment.GetName() == field["Name"]
        labelmap = segment.GetRepresentation("Binary labelmap")
        voxels = vtk_to_numpy(labelmap.GetPointData().GetScalars())
        assert (voxels == segment.GetLabelValue()).sum() == (array > 0).sum()
