"""A small spine of blocks, as labels and as Slicer holds them."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from spinemamba.anatomy.labels import BY_NAME

NAMES = ("T11", "T12", "L1", "L2", "L3", "L4", "L5", "Sacrum")
STEP = 8
SHAPE = (STEP * len(NAMES) + 8, 20, 16)


def spine_labels(names: tuple[str, ...] = NAMES) -> np.ndarray:
    """Return blocks from head (high k) to tail, each with a thin process behind that touches."""
    labels = np.zeros(SHAPE, np.uint8)
    for n, name in enumerate(names):
        top = SHAPE[0] - 4 - STEP * n
        labels[top - 6 : top, 8:16, 4:12] = BY_NAME[name].value
        labels[top - STEP : top, 3:8, 7:9] = BY_NAME[name].value
    return labels


def oriented(labels: np.ndarray, ijk_to_ras: np.ndarray):
    """Return labels as Slicer holds them."""
    image, matrix = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    image.SetDimensions(labels.shape[::-1])
    scalars = numpy_to_vtk(np.ascontiguousarray(labels).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    matrix.DeepCopy(np.asarray(ijk_to_ras, float).ravel())
    image.SetImageToWorldMatrix(matrix)
    return image
