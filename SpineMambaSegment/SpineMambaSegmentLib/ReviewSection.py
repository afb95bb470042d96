"""The section Review: what was found, in a table; a click brings the views there."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SpineMambaSegmentLib import Provenance, Views
from SpineMambaSegmentLib.LabelArray import vertebraIds

COLUMNS = 4


class ReviewSection:
    """The table of vertebrae; made from the segments' tags, so that a loaded scene has it too.

    Args:
        ui: Widgets of the panel.
    """

    def __init__(self, ui: Any):
        self._ui = ui
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._ids: list[str] = []
        table = ui.reviewTable
        table.setColumnCount(COLUMNS)
        table.setHorizontalHeaderLabels([_("Vertebra"), _("Certainty"), _("mL"), _("Look at")])
        # What to look at is a sentence or two.
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.connect("cellClicked(int,int)", self._jump)
        table.connect("cellActivated(int,int)", self._jump)  # the key Return

    def show(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Fill the table with the vertebrae of a segmentation; None empties it."""
        self._node = node
        self._ids = [] if node is None else vertebraIds(node)
        self._ui.reviewTable.setRowCount(len(self._ids))
        for row, segmentId in enumerate(self._ids):
            self._fill(row, node.GetSegmentation().GetSegment(segmentId))
        # All but the last, which takes what is left.
        for column in range(COLUMNS - 1):
            self._ui.reviewTable.resizeColumnToContents(column)
        self._ui.summaryLabel.text = self._summary()

    def _fill(self, row: int, segment: slicer.vtkSegment) -> None:
        texts = (
            segment.GetName(),
            _percent(Provenance.tagOf(segment, "SpineMamba.Posterior")),
            Provenance.tagOf(segment, "SpineMamba.VolumeMl"),
            Provenance.tagOf(segment, "SpineMamba.Flags"),
        )
        color = qt.QColor.fromRgbF(*segment.GetColor())
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable)
            item.setToolTip(text)
            if column == 0:
                item.setData(qt.Qt.DecorationRole, color)
            self._ui.reviewTable.setItem(row, column, item)

    def _summary(self) -> str:
        if not self._ids:
            return _("Nothing was segmented yet.")
        result = Provenance.keptResult(self._node)
        text = _("{count} vertebrae.").format(count=len(self._ids))
        if result is None:
            return text
        warnings = list(result.warnings)
        if result.ambiguous and not warnings:
            warnings = [_("The numbering is ambiguous: it may be off by one level.")]
        return " ".join([text, *warnings])

    def _jump(self, row: int, column: int) -> None:
        inScene = self._node is not None and self._node.GetScene() is not None
        if inScene and self._node.GetSegmentation().GetSegment(self._ids[row]) is not None:
            Views.jumpTo(self._node, self._ids[row])


def _percent(posterior: str) -> str:
    return f"{100 * float(posterior):.0f} %" if posterior else ""
