"""The table of vertebrae under review. Qt only: what it says comes from `ReviewRows`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from SpineMambaSegmentLib.Review.Rows import Row
from SpineMambaSegmentLib.Review.SegmentState import STATUS_TEXT
from SpineMambaSegmentLib.Review.Texts import fullStamp, statusText, whoAndWhen

ICONS = Path(__file__).resolve().parents[2] / "Resources" / "Icons"
STATUS, NAME, CERTAINTY, VOLUME, FLAG, REVIEWED = range(6)
COLUMNS = 6
SWATCH = 32
"""Pixels of a swatch, which is drawn at half of that: sharp at 200 %, too."""

SMALLEST = 22
"""Pixels of a column that has an icon only."""


def icon(name: str) -> qt.QIcon:
    """Return one of our icons; their shapes differ, so that colours need not be told apart."""
    path = str(ICONS / f"{name}.svg")
    found = qt.QIcon(path)
    # Else the style paints it over with the colour of the selection.
    found.addFile(path, qt.QSize(), qt.QIcon.Selected)
    return found


def swatch(color: tuple[int, int, int]) -> qt.QIcon:
    """Return the colour of a segment, the same in a selected row."""
    pixmap = qt.QPixmap(SWATCH, SWATCH)
    pixmap.fill(qt.QColor(*color))
    found = qt.QIcon(pixmap)
    found.addPixmap(pixmap, qt.QIcon.Selected)
    return found


class ReviewTable:
    """Rows, selection and the current vertebra.

    Args:
        table: The widget.
        onCurrent: Called when a person goes to a vertebra.
    """

    def __init__(self, table: Any, onCurrent: Callable[[str], None]):
        self._table, self._onCurrent = table, onCurrent
        self._rows: list[Row] = []
        self._filling = False
        self._icons = {status: icon(f"status-{text}") for status, text in STATUS_TEXT.items()}
        self._flag, self._pin = icon("flag"), icon("pin")
        table.setColumnCount(COLUMNS)
        table.setHorizontalHeaderLabels(
            ["", _("Vertebra"), _("Certain"), _("mL"), "", _("Reviewed")]
        )
        table.horizontalHeaderItem(FLAG).setIcon(self._flag)
        table.horizontalHeaderItem(FLAG).setToolTip(_("Why it needs a look"))
        table.horizontalHeaderItem(STATUS).setToolTip(_("How far the review is"))
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.horizontalHeader().setMinimumSectionSize(SMALLEST)
        table.connect("cellClicked(int,int)", self._go)
        table.connect("cellActivated(int,int)", self._go)  # the key Return
        table.connect("currentCellChanged(int,int,int,int)", self._onCell)

    @property
    def rows(self) -> list[Row]:
        """What is shown, from top to bottom."""
        return self._rows

    def show(self, rows: list[Row]) -> None:
        """Fill the table; the current vertebra and the selection stay if they are still there."""
        chosen, current = self.selected(), self.current()
        self._filling = True
        self._rows = rows
        self._table.setRowCount(len(rows))
        for place, row in enumerate(rows):
            self._fill(place, row)
        for column in range(COLUMNS - 1):
            self._table.resizeColumnToContents(column)
        self._select([i for i in chosen if i != current] + [i for i in (current,) if i])
        self._filling = False

    def current(self) -> str:
        """Return the ID of the current vertebra; empty if there is none."""
        place = self._table.currentRow()
        return self._rows[place].segmentId if 0 <= place < len(self._rows) else ""

    def selected(self) -> list[str]:
        """Return the IDs of the selected vertebrae, as the table shows them."""
        places = {index.row() for index in self._table.selectionModel().selectedRows()}
        return [self._rows[place].segmentId for place in sorted(places) if place < len(self._rows)]

    def goTo(self, segmentId: str) -> None:
        """Make a vertebra the current and only selected one, and tell."""
        ids = [row.segmentId for row in self._rows]
        if segmentId in ids:
            self._filling = True
            self._table.clearSelection()
            self._table.setCurrentCell(ids.index(segmentId), NAME)
            self._filling = False
            self._onCurrent(segmentId)

    def step(self, by: int) -> None:
        """Go to the next (1) or the previous (-1) vertebra in the table."""
        if not self._rows:
            return
        place = self._table.currentRow() + by if self.current() else 0
        self.goTo(self._rows[max(0, min(place, len(self._rows) - 1))].segmentId)

    def _select(self, ids: list[str]) -> None:
        self._table.clearSelection()
        at = {row.segmentId: place for place, row in enumerate(self._rows)}
        select = qt.QItemSelectionModel.Select | qt.QItemSelectionModel.Rows
        for segmentId in (i for i in ids if i in at):
            index = self._table.model().index(at[segmentId], NAME)
            self._table.selectionModel().setCurrentIndex(index, select)

    def _go(self, row: int) -> None:
        if row < len(self._rows):
            self._onCurrent(self._rows[row].segmentId)

    def _onCell(self, row: int) -> None:
        # A click tells by itself; this is for the arrow keys.
        if not self._filling and 0 <= row < len(self._rows) and self._table.hasFocus():
            self._onCurrent(self._rows[row].segmentId)

    def _fill(self, place: int, row: Row) -> None:
        texts = {
            NAME: row.name,
            CERTAINTY: _("by hand") if row.posterior is None else f"{100 * row.posterior:.0f} %",
            VOLUME: f"{row.volume_ml:.1f}",
            REVIEWED: whoAndWhen(row),
        }
        for column in range(COLUMNS):
            item = qt.QTableWidgetItem(texts.get(column, ""))
            item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable)
            item.setToolTip(self._tip(row, column))
            if column in (CERTAINTY, VOLUME):
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            self._table.setItem(place, column, item)
        self._table.item(place, STATUS).setIcon(self._icons[row.status])
        self._table.item(place, NAME).setIcon(swatch(row.color))
        if row.pinned:
            self._table.item(place, CERTAINTY).setIcon(self._pin)
        if row.reasons:
            self._table.item(place, FLAG).setIcon(self._flag)

    def _tip(self, row: Row, column: int) -> str:
        if column == FLAG:
            return row.reasons
        if column == CERTAINTY and row.pinned:
            return _("Pinned: a person is sure of this level.")
        if column in (STATUS, REVIEWED):
            return " ".join(filter(None, [statusText(row.status), fullStamp(row)]))
        return row.name
