"""Marks of segmentations that a run is going to write.

The scene holds the marks: every panel and script of the application sees them.
"""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError

_KIND = "vtkMRMLScriptedModuleNode"
_WRITES, _READS = "SpineMamba.Writes", "SpineMamba.Reads"

Mark = slicer.vtkMRMLScriptedModuleNode


def place(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLVolumeNode
) -> Mark:
    """Mark a segmentation, until `remove`. The mark is hidden and not saved.

    Args:
        segmentationNode: Will be written.
        volumeNode: The image of the run, for the message of `check`.
    """
    mark = slicer.vtkMRMLScriptedModuleNode()
    mark.SetName("SpineMambaRun")
    mark.SetHideFromEditors(True)
    mark.SetSaveWithScene(False)
    mark = segmentationNode.GetScene().AddNode(mark)
    mark.SetNodeReferenceID(_WRITES, segmentationNode.GetID())
    mark.SetNodeReferenceID(_READS, volumeNode.GetID())
    return mark


def remove(mark: Mark) -> None:
    """Remove a mark; do nothing if the scene was closed."""
    if mark.GetScene() is not None:
        mark.GetScene().RemoveNode(mark)


def check(segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
    """Check that no run is going to write a segmentation.

    Raises:
        UserError: If there is one, in any panel or script.
    """
    if segmentationNode is None or segmentationNode.GetScene() is None:
        return
    scene = segmentationNode.GetScene()
    for k in range(scene.GetNumberOfNodesByClass(_KIND)):
        mark = scene.GetNthNodeByClass(k, _KIND)
        if mark.GetNodeReference(_WRITES) is segmentationNode:
            volumeNode = mark.GetNodeReference(_READS)
            source = _("a deleted volume") if volumeNode is None else volumeNode.GetName()
            text = _("Another run of SpineMamba Segment, over {volume}, is going to write {name}.")
            raise UserError(
                text.format(volume=source, name=segmentationNode.GetName()),
                _("Wait for the end of that run, cancel it, or choose another segmentation."),
                Code.INPUT_BAD,
            )
