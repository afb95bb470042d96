"""Updates closed surfaces after changes of the voxels, only for the changed segments."""

from __future__ import annotations

from collections.abc import Mapping

import slicer
import vtk

from SpineMambaSegmentLib.Review import SharedLabelmap
from SpineMambaSegmentLib.Review.Mask import EMPTY, Mask, around
from SpineMambaSegmentLib.Scene.Segments import SURFACE, keepSurfaces, surfaceOf

Node = slicer.vtkMRMLSegmentationNode


def current(node: Node) -> dict[str, vtk.vtkPolyData]:
    """Return the surfaces of the segments; empty if the 3-D view is off."""
    segmentation = node.GetSegmentation()
    ids = segmentation.GetSegmentIDs()
    surfaces = {i: segmentation.GetSegment(i).GetRepresentation(SURFACE) for i in ids}
    return {segmentId: surface for segmentId, surface in surfaces.items() if surface is not None}


def update(node: Node, before: Mapping[str, vtk.vtkPolyData], masks: Mapping[str, Mask]) -> None:
    """Restore the surfaces after the label map has changed.

    Args:
        node: The segmentation.
        before: Result of `current` before the change; if empty, no surface is made.
        masks: New masks of the changed segments.
    """
    if not before:
        return
    unchanged = {i: surface for i, surface in before.items() if i not in masks}
    changed = {i: ofMask(node, i, mask) for i, mask in masks.items()}
    keepSurfaces(node, {**unchanged, **changed})


def ofMask(node: Node, segmentId: str, mask: Mask) -> vtk.vtkPolyData:
    """Return the closed surface of a mask, computed by Slicer with the node's parameters.

    It is computed on a copy cropped to the mask, because Slicer's computing time grows with the
    whole label map.
    """
    if mask == EMPTY:
        return vtk.vtkPolyData()
    layer = SharedLabelmap.imageOf(node, segmentId)
    box = around([mask.box], 1)
    image = SharedLabelmap.imageLike(layer, box)
    SharedLabelmap.voxelsOf(image)[:] = mask.inBox(box)
    small = slicer.vtkMRMLSegmentationNode()
    segmentation = small.GetSegmentation()
    segmentation.CopyConversionParameters(node.GetSegmentation())
    segment = slicer.vtkSegment()
    segment.AddRepresentation(SharedLabelmap.LABELMAP, image)
    segmentation.AddSegment(segment, segmentId)
    return surfaceOf(small, segmentId)
