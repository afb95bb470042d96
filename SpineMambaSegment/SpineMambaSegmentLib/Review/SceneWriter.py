"""Writes states of segments to the scene; used by actions, undo and redo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import slicer

from SpineMambaSegmentLib.Review import SharedLabelmap, Surfaces
from SpineMambaSegmentLib.Review.Mask import EMPTY
from SpineMambaSegmentLib.Review.SegmentState import SegmentState, writeState
from SpineMambaSegmentLib.Review.Spine import Spine


def write(
    node: slicer.vtkMRMLSegmentationNode,
    spine: Spine,
    after: Mapping[str, SegmentState | None],
    order: Sequence[str],
) -> None:
    """Write new states of segments; None removes a segment.

    Args:
        node: The segmentation.
        spine: Its current state.
        after: New states by segment ID.
        order: IDs of all segments after the change, in Slicer's order.
    """
    segmentation = node.GetSegmentation()
    before = node.StartModify()
    try:
        surfaces = Surfaces.current(node)
        masks = {i: s.mask for i, s in spine.states.items()}
        changed = {
            i: EMPTY if state is None else state.mask
            for i, state in after.items()
            if (state is None and i in masks) or (state is not None and state.mask != masks.get(i))
        }
        for segmentId, state in after.items():
            if state is not None and segmentation.GetSegment(segmentId) is None:
                segmentation.AddEmptySegment(segmentId)
        ids = [i for i in {**spine.states, **after} if segmentation.GetSegment(i) is not None]
        if changed:
            SharedLabelmap.writeMasks(node, masks, changed, ids)
        for segmentId, state in after.items():
            if state is None:
                segmentation.RemoveSegment(segmentId)
            else:
                writeState(segmentation.GetSegment(segmentId), state)
        for index, segmentId in enumerate(order):
            if segmentation.GetSegmentIndex(segmentId) != index:
                segmentation.SetSegmentIndex(segmentId, index)
        if changed:
            present = {i: mask for i, mask in changed.items() if after[i] is not None}
            Surfaces.update(node, surfaces, present)
    finally:
        node.EndModify(before)
