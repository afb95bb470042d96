"""Writes states of segments to the scene, and updates the surfaces of changed segments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import slicer
import vtk

from SpineMambaSegmentLib.Review import SharedLabelmap
from SpineMambaSegmentLib.Review.Mask import EMPTY, Mask, around
from SpineMambaSegmentLib.Review.SegmentState import SegmentState, writeState
from SpineMambaSegmentLib.Review.Spine import Spine
from SpineMambaSegmentLib.Scene.Segments import SURFACE, keepSurfaces, surfaceOf

_Node = slicer.vtkMRMLSegmentationNode


def write(
    node: _Node,
    spine: Spine,
    after: Mapping[str, SegmentState | None],
    order: Sequence[str],
    removed: dict[str, slicer.vtkSegment],
) -> None:
    """Write new states of segments; None removes a segment.

    Args:
        node: The segmentation.
        spine: Its current state.
        after: New states by segment ID.
        order: IDs of all segments after the change, in Slicer's order.
        removed: Metadata of removed segments by ID, for the undo; updated. A segment of another
            source may have tags that this module does not know.
    """
    segmentation = node.GetSegmentation()
    before = node.StartModify()
    try:
        surfaces = _surfacesOf(node)
        masks = _masksBefore(node, spine, after)
        changed = {
            i: EMPTY if state is None else state.mask
            for i, state in after.items()
            if (state is None and i in masks) or (state is not None and state.mask != masks.get(i))
        }
        for segmentId, state in after.items():
            if state is not None and segmentation.GetSegment(segmentId) is None:
                _add(segmentation, segmentId, removed.get(segmentId))
        ids = [i for i in {**spine.states, **after} if segmentation.GetSegment(i) is not None]
        if changed:
            SharedLabelmap.writeMasks(node, masks, changed, ids)
        for segmentId, state in after.items():
            if state is None:
                removed[segmentId] = slicer.vtkSegment()
                removed[segmentId].DeepCopyMetadata(segmentation.GetSegment(segmentId))
                segmentation.RemoveSegment(segmentId)
            else:
                writeState(segmentation.GetSegment(segmentId), state)
        for index, segmentId in enumerate(order):
            if segmentation.GetSegmentIndex(segmentId) != index:
                segmentation.SetSegmentIndex(segmentId, index)
        if changed:
            present = {i: mask for i, mask in changed.items() if after[i] is not None}
            _updateSurfaces(node, surfaces, present)
    finally:
        node.EndModify(before)


def _masksBefore(node: _Node, spine: Spine, ids: Iterable[str]) -> dict[str, Mask]:
    """Return the masks of the vertebrae and of other existing segments that will be written.

    Undo brings back segments that were taken out of the review, and may have changed since.
    """
    masks, segmentation = {i: s.mask for i, s in spine.states.items()}, node.GetSegmentation()
    outside = [i for i in ids if i not in masks and segmentation.GetSegment(i) is not None]
    return masks | SharedLabelmap.readMasks(node, outside)


def _add(
    segmentation: slicer.vtkSegmentation, segmentId: str, metadata: slicer.vtkSegment | None
) -> None:
    """Add an empty segment, with the metadata that it had before it was removed."""
    segmentation.AddEmptySegment(segmentId)
    if metadata is not None:
        segment = segmentation.GetSegment(segmentId)
        value = segment.GetLabelValue()
        segment.DeepCopyMetadata(metadata)
        segment.SetLabelValue(value)


def _surfacesOf(node: _Node) -> dict[str, vtk.vtkPolyData]:
    """Return the surfaces of the segments; empty if the 3-D view is off."""
    segmentation = node.GetSegmentation()
    ids = segmentation.GetSegmentIDs()
    surfaces = {i: segmentation.GetSegment(i).GetRepresentation(SURFACE) for i in ids}
    return {segmentId: surface for segmentId, surface in surfaces.items() if surface is not None}


def _updateSurfaces(
    node: _Node, before: Mapping[str, vtk.vtkPolyData], masks: Mapping[str, Mask]
) -> None:
    """Restore the surfaces after the label map has changed.

    Args:
        node: The segmentation.
        before: Result of `_surfacesOf` before the change; if empty, no surface is made.
        masks: New masks of the changed segments.
    """
    if not before:
        return
    unchanged = {i: surface for i, surface in before.items() if i not in masks}
    changed = {i: _surfaceOfMask(node, i, mask) for i, mask in masks.items()}
    keepSurfaces(node, {**unchanged, **changed})


def _surfaceOfMask(node: _Node, segmentId: str, mask: Mask) -> vtk.vtkPolyData:
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
