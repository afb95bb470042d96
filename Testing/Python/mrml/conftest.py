"""Slicer's scene without Slicer: the slicer-core package."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from untranslated_slicer import use_untranslated_texts

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")
vtk = pytest.importorskip("vtk")

use_untranslated_texts()


@pytest.fixture
def scene() -> Iterator[slicer.vtkMRMLScene]:
    """An empty scene; the test fails if VTK reports an error meanwhile."""
    scene = slicer.vtkMRMLScene()
    # The logic registers the converters between label maps and surfaces.
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    errors: list[str] = []
    window = vtk.vtkStringOutputWindow()
    before = vtk.vtkOutputWindow.GetInstance()
    vtk.vtkOutputWindow.SetInstance(window)
    yield scene
    errors += [line for line in window.GetOutput().splitlines() if "ERROR" in line]
    vtk.vtkOutputWindow.SetInstance(before)
    scene.Clear(1)
    assert errors == []


@pytest.fixture
def make_volume(scene: slicer.vtkMRMLScene) -> Callable[..., slicer.vtkMRMLVolumeNode]:
    """Return a function that adds a volume with given voxels and IJK to RAS matrix."""

    def make(
        array_kji: np.ndarray, ijk_to_ras: np.ndarray, class_name: str = "vtkMRMLScalarVolumeNode"
    ) -> slicer.vtkMRMLVolumeNode:
        node = scene.AddNewNodeByClass(class_name, "CT")
        image = vtk.vtkImageData()
        image.SetDimensions(array_kji.shape[2], array_kji.shape[1], array_kji.shape[0])
        flat = np.ascontiguousarray(array_kji).reshape(-1)
        scalars = vtk.util.numpy_support.numpy_to_vtk(flat, deep=True)
        image.GetPointData().SetScalars(scalars)
        node.SetAndObserveImageData(image)
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy(np.asarray(ijk_to_ras, float).ravel())
        node.SetIJKToRASMatrix(matrix)
        return node

    return make
