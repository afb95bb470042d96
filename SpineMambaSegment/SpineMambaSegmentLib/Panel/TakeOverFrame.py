"""The offer to take over vertebrae of another source, at the top of the section Review."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from spinemamba.anatomy.labels import LABELS
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Review import TakeOver
from SpineMambaSegmentLib.Review.TakeOver import Candidate

_SEGMENT, _LEVEL, _REASON = range(3)
_TABLE_HEIGHT = 180
_MOST_LISTED = 3


class TakeOverFrame:
    """A sentence, a table of segments and levels, and one button.

    The table is shown only where something is unclear, or if the user opens it.

    Attributes:
        isOffered: Whether the offer is shown.
        selectors: Selector of the level of each segment, by segment ID.

    Args:
        layout: Receives the frame at its top.
        say: Shows a message in the status line.
        onTaken: Called after segments were taken over.
    """

    def __init__(
        self, layout: qt.QVBoxLayout, say: Callable[[str], None], onTaken: Callable[[], None]
    ):
        self._say, self._onTaken = say, onTaken
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
        self._reviewer, self.isOffered = "", False
        self._candidates: list[Candidate] = []
        self.selectors: dict[str, qt.QComboBox] = {}
        self.widget = qt.QWidget()
        inside = qt.QVBoxLayout(self.widget)
        inside.setContentsMargins(0, 0, 0, 0)
        self.label = qt.QLabel()
        self.label.setWordWrap(True)
        self.table = _table()
        self.button = qt.QPushButton(_("Take over"))
        self.button.setToolTip(
            _("Review these segments in place; their names, colors and voxels stay as they are")
        )
        self.tableBox = qt.QCheckBox(_("Choose levels"))
        self.tableBox.setToolTip(_("Show the level of every segment, and change it"))
        row = qt.QHBoxLayout()
        row.addWidget(self.button)
        row.addWidget(self.tableBox)
        inside.addWidget(self.label)
        inside.addWidget(self.table)
        inside.addLayout(row)
        layout.insertWidget(0, self.widget)
        self.button.connect("clicked(bool)", self.takeOver)
        self.tableBox.connect("toggled(bool)", self.table.setVisible)
        self.table.setVisible(False)
        self.widget.setVisible(False)

    def show(
        self,
        node: slicer.vtkMRMLSegmentationNode | None,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        reviewer: str,
    ) -> None:
        """Offer the segments of a segmentation; None hides the offer."""
        found = [] if node is None else TakeOver.candidates(node)
        isOther = node is not self._node
        self._node, self._volumeNode, self._reviewer = node, volumeNode, reviewer
        vertebrae = [one for one in found if one.level]
        # Segments without names of levels are offered only if there is nothing else to review.
        self.isOffered = bool(vertebrae) or bool(found and not TakeOver.vertebraIds(node))
        self.widget.setVisible(self.isOffered)
        if isOther:
            self.tableBox.setChecked(False)
        if found != self._candidates or isOther:
            self._candidates = found
            self._fill({one.segmentId: one.level for one in found})
        if vertebrae:
            text = _(
                "Not from a run of this program: {names}. Take over these segments to review, "
                "correct and export them."
            )
            self.label.text = text.format(names=_listed([one.name for one in vertebrae]))
        elif self.isOffered:
            self.label.text = _("No segment here has the name or the code of a vertebra.")

    def takeOver(self) -> None:
        """Take over the vertebrae, or show the table first if something is unclear."""
        if self._node is None:
            return
        isUnclear = any(one.reason for one in self._candidates)
        levels = self.levels()
        if not self.tableBox.checked and (isUnclear or not levels):
            self._openTable(levels)
            return
        with Errors.shown(_("The vertebrae could not be taken over."), self._say):
            notes = TakeOver.takeOver(self._node, levels, self._volumeNode, self._reviewer)
            names = [one.name for one in self._candidates if one.segmentId in levels]
            self.tableBox.setChecked(False)
            self._onTaken()
            text = _("Taken over: {names}.").format(names=_listed(names))
            self._say(" ".join([text, *notes]))

    def levels(self) -> dict[str, str]:
        """Return the chosen levels by segment ID, without other structures."""
        names = {i: box.currentIndex for i, box in self.selectors.items()}
        return {i: LABELS[index - 1].name for i, index in names.items() if index > 0}

    def _openTable(self, levels: dict[str, str]) -> None:
        if not levels:
            with Errors.shown(_("The numbers could not be read as levels."), self._say):
                self._fill(TakeOver.levelsByNumber(self._node))
        self.tableBox.setChecked(True)
        self._say(_("Check the levels in the table, then press Take over again."))

    def _fill(self, levels: dict[str, str]) -> None:
        # Rows that need attention come first.
        order = sorted(
            self._candidates,
            key=lambda one: (not one.reason, not levels.get(one.segmentId)),
        )
        self.selectors = {}
        self.table.setRowCount(len(order))
        names = [label.name for label in LABELS]
        for row, one in enumerate(order):
            box = qt.QComboBox()
            box.addItems([_("not a vertebra"), *names])
            level = levels.get(one.segmentId, "")
            box.setCurrentIndex(1 + names.index(level) if level else 0)
            self.selectors[one.segmentId] = box
            self.table.setItem(row, _SEGMENT, _cell(one.name))
            self.table.setCellWidget(row, _LEVEL, box)
            self.table.setItem(row, _REASON, _cell(one.reason))
        self.table.resizeColumnsToContents()


def _table() -> qt.QTableWidget:
    table = qt.QTableWidget()
    table.setColumnCount(_REASON + 1)
    table.setHorizontalHeaderLabels([_("Segment"), _("Level"), _("To check")])
    table.verticalHeader().hide()
    table.horizontalHeader().setStretchLastSection(True)
    table.setMinimumHeight(_TABLE_HEIGHT)
    return table


def _cell(text: str) -> qt.QTableWidgetItem:
    item = qt.QTableWidgetItem(text)
    item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable)
    item.setToolTip(text)
    return item


def _listed(names: list[str]) -> str:
    """Return a few names, or the first, the last and the number of many."""
    if len(names) <= _MOST_LISTED:
        return ", ".join(names)
    text = _("{first} to {last} ({count})")
    return text.format(first=names[0], last=names[-1], count=len(names))
