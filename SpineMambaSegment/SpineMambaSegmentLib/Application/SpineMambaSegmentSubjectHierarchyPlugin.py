"""*Segment Spine* in the context menu of a volume in Slicer's module Data.

Slicer loads this file by its path; class and file must have the same name.
"""

from __future__ import annotations

from typing import Any

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _
from SubjectHierarchyPlugins import AbstractScriptedSubjectHierarchyPlugin

_MODULE = "SpineMambaSegment"
_VOLUME = "vtkMRMLScalarVolumeNode"


class SpineMambaSegmentSubjectHierarchyPlugin(AbstractScriptedSubjectHierarchyPlugin):
    """An entry that opens the module with a volume, and starts.

    It owns no items: Slicer's own plugins decide how volumes are displayed.

    Args:
        scriptedPlugin: Slicer's side of the plugin; owns the action.
    """

    filePath = __file__

    def __init__(self, scriptedPlugin: Any):
        scriptedPlugin.name = _MODULE
        self.action = qt.QAction(_("Segment Spine"), scriptedPlugin)
        self.action.objectName = "SpineMambaSegmentAction"
        self.action.connect("triggered()", self.segment)
        AbstractScriptedSubjectHierarchyPlugin.__init__(self, scriptedPlugin)

    def canAddNodeToSubjectHierarchy(self, node: Any, parentItemID: int) -> float:
        """Return 0: this plugin owns no items."""
        return 0.0

    def canOwnSubjectHierarchyItem(self, itemID: int) -> float:
        """Return 0: this plugin owns no items."""
        return 0.0

    def roleForPlugin(self) -> str:
        """Return Slicer's word for a plugin without items."""
        return "N/A"

    def itemContextMenuActions(self) -> list[Any]:
        """Return the entries of the context menu."""
        return [self.action]

    def showContextMenuActionsForItem(self, itemID: int) -> None:
        """Show the entry for volumes, but not for label maps and colour images.

        Slicer hides all entries before it asks.
        """
        if _volumeOf(itemID) is not None:
            self.action.visible = True

    def segment(self) -> None:
        """Open the module with the current volume, and start."""
        handler = slicer.qSlicerSubjectHierarchyPluginHandler.instance()
        volumeNode = _volumeOf(handler.currentItem())
        if volumeNode is not None:
            slicer.util.selectModule(_MODULE)
            slicer.util.getModuleWidget(_MODULE).segmentVolume(volumeNode)


def _volumeOf(itemID: int) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Return the volume of an item; None if it is not a volume that can be segmented."""
    if not itemID:
        return None
    handler = slicer.qSlicerSubjectHierarchyPluginHandler.instance()
    node = handler.subjectHierarchyNode().GetItemDataNode(itemID)
    # Label maps are scalar volumes by inheritance.
    return node if node is not None and node.GetClassName() == _VOLUME else None
