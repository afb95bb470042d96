"""A segmented phantom in the panel's scene, and helpers to inspect it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk


def matrix_of(spine) -> np.ndarray:
    matrix = np.diag([-2.0, -2.0, 3.0, 1.0])
    matrix[:3, 3] = np.array(spine.image.geometry.origin_lps_mm) * [-1, -1, 1]
    return matrix


def add_segments(volume, labels: np.ndarray, name: str):
    # Not before the host runs.
    from SpineMambaSegmentLib.Scene import Segments

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(labels.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(labels).ravel(), deep=True))
    placed = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(placed)
    image.SetImageToWorldMatrix(placed)
    Segments.addSegments(image, node, volume)
    return node


def photograph(panel, name: str) -> None:
    """Write the panel as it is to the folder in SPINEMAMBA_PICTURES, if there is one."""
    folder = os.environ.get("SPINEMAMBA_PICTURES")
    if folder:
        # One round of events for each layout within a layout.
        for _ in range(5):
            slicer.app.processEvents()
        panel.frame.grab().save(str(Path(folder) / f"{name}.png"))


def add_slice_view():
    view = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    view.SetDefaultOrientation("Axial")
    view.SetOrientation("Axial")
    return view


def is_at(view, node, segment_id: str) -> bool:
    """Return whether a view looks at the body of a vertebra: not far from the middle of it all."""
    centre = [view.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)]
    return np.linalg.norm(np.array(centre) - node.GetSegmentCenterRAS(segment_id)) < 30
