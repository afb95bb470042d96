"""Slicer's Segment Editor inside the panel, with masking that protects the neighbours."""

from __future__ import annotations

from typing import Any

import slicer

_EDITOR_NODE = "SpineMambaSegmentEditor"
_EFFECTS = ("Paint", "Erase", "Draw", "Scissors", "Islands", "Smoothing", "Margin")


def protectNeighbours(node: slicer.vtkMRMLSegmentEditorNode, overUnapproved: bool) -> None:
    """Set which voxels painting may overwrite.

    Args:
        node: Parameter node of the editor.
        overUnapproved: If True, painting may overwrite other segments; the session then restores
            approved vertebrae. If False, no voxel of another segment is changed.
    """
    rules = slicer.vtkMRMLSegmentationNode
    if overUnapproved:
        node.SetMaskMode(rules.EditAllowedEverywhere)
        node.SetOverwriteMode(node.OverwriteAllSegments)
    else:
        node.SetMaskMode(rules.EditAllowedOutsideAllSegments)
        node.SetOverwriteMode(node.OverwriteNone)


def editorNode(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSegmentEditorNode:
    """Return the editor's parameter node of this module, and create it if needed."""
    node = scene.GetSingletonNode(_EDITOR_NODE, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(_EDITOR_NODE)
        node.SetName(_EDITOR_NODE)
        node = scene.AddNode(node)
    return node


class ReviewEditor:
    """The embedded editor. It is created when first shown, because that is slow.

    Args:
        frame: Widget that receives the editor.
        overBox: Check box "Paint over unapproved neighbours".
    """

    def __init__(self, frame: Any, overBox: Any):
        self._frame, self._overBox = frame, overBox
        self._widget: Any = None
        self._parameters: slicer.vtkMRMLSegmentEditorNode | None = None
        overBox.connect("toggled(bool)", self._applyRules)

    def show(
        self,
        node: slicer.vtkMRMLSegmentationNode,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        segmentId: str,
    ) -> None:
        """Show the editor for one segment."""
        if self._widget is None:
            self._make(node.GetScene())
        parameters = self._parameters = editorNode(node.GetScene())
        self._widget.setMRMLSegmentEditorNode(parameters)
        self._widget.setSegmentationNode(node)
        self._widget.setSourceVolumeNode(volumeNode)
        self._widget.setCurrentSegmentID(segmentId)
        self._applyRules()
        self._widget.setupViewObservations()
        self._widget.installKeyboardShortcuts()

    def hide(self) -> None:
        """Deactivate effects and shortcuts of the editor."""
        if self._widget is None:
            return
        self._widget.setActiveEffectByName("")
        self._widget.uninstallKeyboardShortcuts()
        self._widget.removeViewObservations()

    def select(self, segmentId: str) -> None:
        """Switch the editor to another segment."""
        if self._widget is not None:
            self._widget.setCurrentSegmentID(segmentId)

    def _make(self, scene: slicer.vtkMRMLScene) -> None:
        widget = slicer.qMRMLSegmentEditorWidget()
        widget.setMRMLScene(scene)
        widget.segmentationNodeSelectorVisible = False
        widget.sourceVolumeNodeSelectorVisible = False
        widget.switchToSegmentationsButtonVisible = False
        widget.setEffectNameOrder(_EFFECTS)
        widget.unorderedEffectsVisible = False
        self._frame.layout().addWidget(widget)
        self._widget = widget

    def _applyRules(self) -> None:
        if self._parameters is not None:
            protectNeighbours(self._parameters, self._overBox.checked)
