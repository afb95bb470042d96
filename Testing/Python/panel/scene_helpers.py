"""What tests put into the host's scene."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk


def add_volume(
    array_kji: np.ndarray, ijk_to_ras: np.ndarray, name: str = "Doe John"
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a volume to the host's scene."""
    image = vtk.vtkImageData()
    image.SetDimensions(array_kji.shape[::-1])
    flat = np.ascontiguousarray(array_kji).reshape(-1)
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetAndObserveImageData(image)
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(ijk_to_ras, float).ravel())
    node.SetIJKToRASMatrix(matrix)
    return node
