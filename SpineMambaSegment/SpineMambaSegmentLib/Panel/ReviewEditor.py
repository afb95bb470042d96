"""Slicer's Segment Editor inside the panel, with rules that protect the neighbours."""

from __future__ import annotations

from typing import Any

import slicer

EDITOR_NODE = "SpineMambaSegmentEditor"
EFFECTS = ("Paint", "Erase", "Draw", "Scissors", "Islands", "Smoothing", "Margin")


def protectNeighbours(node: slicer.vtkMRMLSegmentEditorNode, overUnapproved: bool) -> None:
    """Set what painting may take.

    Args:
        node: Parameters of the editor.
        overUnapproved: Painting takes voxels of neighbours, too; the session gives those of
            approved ones back. Else no voxel of any other segment is ever touched.
    """
    rules = slicer.vtkMRMLSegmentationNode
    if overUnapproved:
        node.SetMaskMode(rules.EditAllowedEverywhere)
        node.SetOverwriteMode(node.OverwriteAllSegments)
    else:
        node.SetMaskMode(rules.EditAllowedOutsideAllSegments)
        node.SetOverwriteMode(node.OverwriteNone)


def editorNode(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSegmentEditorNode:
    """Return our parameters of the editor; others have theirs."""
    node = scene.GetSingletonNode(EDITOR_NODE, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(EDITOR_NODE)
        node.SetName(EDITOR_NODE)
        node = scene.AddNode(node)
    return node


class ReviewEditor:
    """The embedded editor; made when it is first shown, since that takes a moment.

    Args:
        frame: Where the editor goes.
        overBox: Check box "may take voxels of neighbours".
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
        """Edit one segment."""
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
        """Stop editing."""
        if self._widget is None:
            return
        self._widget.setActiveEffectByName("")
        self._widget.uninstallKeyboardShortcuts()
        self._widget.removeViewObservations()

    def select(self, segmentId: str) -> None:
        """Edit another segment."""
        if self._widget is not None:
            self._widget.setCurrentSegmentID(segmentId)

    def _make(self, scene: slicer.vtkMRMLScene) -> None:
        widget = slicer.qMRMLSegmentEditorWidget()
        widget.setMRMLScene(scene)
        widget.segmentationNodeSelectorVisible = False
        widget.sourceVolumeNodeSelectorVisible = False
        widget.switchToSegmentationsButtonVisible = False
        widget.setEffectNameOrder(EFFECTS)
        widget.unorderedEffectsVisible = False
        self._frame.layout().addWidget(widget)
        self._widget = widget

    def _applyRules(self) -> None:
        if self._parameters is not None:
            protectNeighbours(self._parameters, self._overBox.checked)
