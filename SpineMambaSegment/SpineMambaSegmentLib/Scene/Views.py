"""Views after a run."""

from __future__ import annotations

from typing import Any

import slicer


def showSegments(
    segmentationNode: slicer.vtkMRMLSegmentationNode, ids: list[str], layoutManager: Any
) -> None:
    """Centre slice and 3-D views on the middle one of several segments.

    The centre of all segments is not used: it may lie outside a curved spine.

    Args:
        segmentationNode: Segmentation of the segments.
        ids: Segment IDs from head to tail.
        layoutManager: Slicer's layout manager; None without a main window.
    """
    if not ids:
        return
    segmentationNode.GetDisplayNode().SetVisibility(True)
    jumpTo(segmentationNode, ids[len(ids) // 2])
    if layoutManager is None:
        return
    for k in range(layoutManager.threeDViewCount):
        layoutManager.threeDWidget(k).threeDView().resetFocalPoint()


def jumpTo(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> None:
    """Centre all slice views on a segment."""
    center = segmentationNode.GetSegmentCenterRAS(segmentId)
    if center is None:
        return
    node = slicer.vtkMRMLSliceNode
    scene = segmentationNode.GetScene()
    node.JumpAllSlices(scene, *center, node.CenteredJumpSlice)
