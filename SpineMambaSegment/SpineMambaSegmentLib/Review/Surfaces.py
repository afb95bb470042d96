"""Closed surfaces that follow changes of the voxels: only those that changed are new. No Qt."""

from __future__ import annotations

from collections.abc import Mapping

import slicer
import vtk

from SpineMambaSegmentLib.Review import SharedLabelmap
from SpineMambaSegmentLib.Review.Mask import NOTHING, Mask, around
from SpineMambaSegmentLib.Scene.Segments import SURFACE, keepSurfaces, surfaceOf

Node = slicer.vtkMRMLSegmentationNode


def held(node: Node) -> dict[str, vtk.vtkPolyData]:
    """Return the surfaces that segments have now; none if 3-D is off."""
    segmentation = node.GetSegmentation()
    ids = segmentation.GetSegmentIDs()
    found = {i: segmentation.GetSegment(i).GetRepresentation(SURFACE) for i in ids}
    return {segmentId: surface for segmentId, surface in found.items() if surface is not None}


def follow(node: Node, before: Mapping[str, vtk.vtkPolyData], masks: Mapping[str, Mask]) -> None:
    """Bring surfaces back after the label map has changed.

    Args:
        node: The segmentation.
        before: What `held` returned before the change; empty: 3-D stays off.
        masks: The segments whose voxels changed.
    """
    if not before:
        return
    kept = {i: surface for i, surface in before.items() if i not in masks}
    made = {i: ofMask(node, i, mask) for i, mask in masks.items()}
    keepSurfaces(node, {**kept, **made})


def ofMask(node: Node, segmentId: str, mask: Mask) -> vtk.vtkPolyData:
    """Return the closed surface of a mask, made as Slicer makes that of a segment.

    Of a copy that is as small as the mask: Slicer's own takes time in proportion to the whole
    label map.
    """
    if mask == NOTHING:
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
