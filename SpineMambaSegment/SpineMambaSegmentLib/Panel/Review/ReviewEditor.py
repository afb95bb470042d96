"""Slicer's Segment Editor inside the panel, with masking that protects the neighbours."""

from __future__ import annotations

from typing import Any

import slicer

_EDITOR_NODE = "SpineMambaSegmentEditor"
_OUR_KEYS = ("Z", "Y", "Ctrl+Z", "Ctrl+Y", "Ctrl+Shift+Z", "Esc")
"""Keys of the editor for undo, redo and giving up; the section Review has the same ones."""

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
        node.SetSaveWithScene(False)
        node = scene.AddNode(node)
    return node


class ReviewEditor:
    """The embedded editor. It is created when first shown, because that is slow.

    Strokes are undone by the review, which knows of approvals and names; the editor's own undo
    would restore whole segments with all their tags, and is off.

    Args:
        frame: Widget that receives the editor.
        overBox: Check box "Paint over unapproved neighbours".
    """

    def __init__(self, frame: Any, overBox: Any):
        self._frame, self._overBox = frame, overBox
        self._widget: Any = None
        self._isShown = False
        self._interaction: slicer.vtkMRMLInteractionNode | None = None
        self._modeBefore = 0
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
        if not self._isShown:
            self._interaction = node.GetScene().GetNodeByID("vtkMRMLInteractionNodeSingleton")
            if self._interaction is not None:
                self._modeBefore = self._interaction.GetCurrentInteractionMode()
        parameters = self._parameters = editorNode(node.GetScene())
        self._widget.setMRMLSegmentEditorNode(parameters)
        self._widget.setSegmentationNode(node)
        self._widget.setSourceVolumeNode(volumeNode)
        self._widget.setCurrentSegmentID(segmentId)
        self._applyRules()
        self._widget.setupViewObservations()
        self._installShortcuts()
        self._isShown = True

    def hide(self) -> None:
        """Deactivate effects and shortcuts of the editor, and let go of the segmentation."""
        if not self._isShown:
            return
        self._isShown = False
        self._widget.setActiveEffectByName("")
        self._widget.uninstallKeyboardShortcuts()
        self._widget.removeViewObservations()
        self._widget.setSegmentationNode(None)
        # An effect switches the mouse to View; a mode that was chosen since then stays.
        mouse = self._interaction
        if mouse is not None and mouse.GetCurrentInteractionMode() == mouse.ViewTransform:
            mouse.SetCurrentInteractionMode(self._modeBefore)
        self._interaction = None

    def deactivate(self) -> None:
        """Deactivate the active effect."""
        if self._isShown:
            self._widget.setActiveEffectByName("")

    def select(self, segmentId: str) -> None:
        """Switch the editor to another segment."""
        if self._isShown:
            self._widget.setCurrentSegmentID(segmentId)

    def _make(self, scene: slicer.vtkMRMLScene) -> None:
        widget = slicer.qMRMLSegmentEditorWidget()
        widget.setMRMLScene(scene)
        widget.segmentationNodeSelectorVisible = False
        widget.sourceVolumeNodeSelectorVisible = False
        widget.switchToSegmentationsButtonVisible = False
        widget.addRemoveSegmentButtonsVisible = False
        # The first of these only hides the buttons; without states, nothing is saved or restored.
        widget.undoEnabled = False
        widget.maximumNumberOfUndoStates = 0
        widget.setEffectNameOrder(_EFFECTS)
        widget.unorderedEffectsVisible = False
        self._frame.layout().addWidget(widget)
        self._widget = widget

    def _installShortcuts(self) -> None:
        """Install the editor's shortcuts, except for those that the section Review has.

        Qt runs none of two shortcuts with the same key. The frame is their parent, so that they
        work in the whole window, but only while the frame is visible.
        """
        self._widget.installKeyboardShortcuts(self._frame)
        for child in self._frame.children():
            if child.className() == "QShortcut" and child.key.toString() in _OUR_KEYS:
                child.setEnabled(False)

    def _applyRules(self) -> None:
        if self._parameters is not None:
            protectNeighbours(self._parameters, self._overBox.checked)
