"""Three boxes as labels, on any grid and under any parent transform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

SHAPE = (18, 22, 26)
BOXES = {
    19: (slice(12, 16), slice(3, 9), slice(5, 17)),
    20: (slice(3, 9), slice(6, 15), slice(8, 20)),
}
BOXES[28] = (slice(9, 12), slice(4, 12), slice(6, 19))
STEP_MM, STEPS = 25.0, 41
PARENTS = ("none", "linear", "non-linear")
"""Kinds of `ParentTransform`."""


def random_geometry(seed: int) -> np.ndarray:
    """Return an oblique IJK to RAS matrix; every other one is left-handed."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    if (np.linalg.det(turn) > 0) == (seed % 2 == 1):
        turn[:, 0] *= -1
    matrix = np.eye(4)
    matrix[:3, :3] = turn * rng.uniform(0.4, 3.5, 3)
    matrix[:3, 3] = rng.uniform(-120, 120, 3)
    return matrix


class ParentTransform:
    """A parent transform of a volume, and the same in NumPy.

    Attributes:
        node: The node; None for no transform.
    """

    def __init__(self, scene, kind: str, seed: int):
        rng = np.random.default_rng(100 + seed)
        self.matrix = random_geometry(200 + seed) if kind == "linear" else np.eye(4)
        self.bend_mm = rng.uniform(-15, 15, STEPS) * (kind == "non-linear")
        self.node = None
        if kind == "linear":
            self.node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
            matrix = vtk.vtkMatrix4x4()
            matrix.DeepCopy(self.matrix.ravel())
            self.node.SetMatrixTransformToParent(matrix)
        elif kind == "non-linear":
            self.node = self._grid(scene)

    def _grid(self, scene):
        """Return a grid transform, as Slicer makes for tilted gantries: A shifts along S."""
        image = vtk.vtkImageData()
        image.SetDimensions(2, 2, STEPS)
        image.SetSpacing(2000.0, 2000.0, STEP_MM)
        image.SetOrigin(-1000.0, -1000.0, -STEP_MM * (STEPS // 2))
        shifts = np.zeros((STEPS, 2, 2, 3))
        shifts[..., 1] = self.bend_mm[:, None, None]
        image.GetPointData().SetScalars(numpy_to_vtk(shifts.reshape(-1, 3), deep=True))
        transform = slicer.vtkOrientedGridTransform()
        transform.SetDisplacementGridData(image)
        transform.SetInterpolationModeToLinear()
        node = scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
        node.SetAndObserveTransformToParent(transform)
        return node

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the world coordinates of points (n, 3)."""
        moved = points @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        heights = STEP_MM * (np.arange(STEPS) - STEPS // 2)
        moved[:, 1] += np.interp(points[:, 2], heights, self.bend_mm)
        return moved


def labels_array() -> np.ndarray:
    """Return an image with three boxes, (k, j, i)."""
    labels = np.zeros(SHAPE, np.int16)
    for value, box in BOXES.items():
        labels[box] = value
    return labels


def write_as_labels(volume_path: Path, labels_path: Path) -> None:
    """Write the values of an image as labels on its grid, as the worker does."""
    image = sitk.ReadImage(str(volume_path))
    labels = sitk.GetImageFromArray(sitk.GetArrayFromImage(image).astype(np.uint8))
    labels.CopyInformation(image)
    sitk.WriteImage(labels, str(labels_path), useCompression=True)
