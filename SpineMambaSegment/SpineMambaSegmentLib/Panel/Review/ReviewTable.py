"""The table of vertebrae under review. Its contents come from `Review.Display`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from SpineMambaSegmentLib.Application.Icons import icon
from SpineMambaSegmentLib.Review.Display import Row, fullStamp, reviewText, statusText
from SpineMambaSegmentLib.Review.SegmentState import APPROVED, STATUS_TEXT

STATUS, NAME, PROBABILITY, VOLUME, REVIEWED = range(5)
COLUMNS = 5
_SWATCH = 32
"""Size of a colour swatch in pixels; drawn at half of it, so that it is sharp at 200 % scaling."""

_WINDOW_SHARE = 0.55
"""Largest height of the table as a share of the window's: 25 rows at 1080 pixels."""

_MIN_COLUMN_WIDTH = 22
"""Width in pixels of a column that holds an icon only."""


def _swatch(color: tuple[int, int, int]) -> qt.QIcon:
    """Return an icon filled with a segment's colour, not tinted in a selected row."""
    pixmap = qt.QPixmap(_SWATCH, _SWATCH)
    pixmap.fill(qt.QColor(*color))
    result = qt.QIcon(pixmap)
    result.addPixmap(pixmap, qt.QIcon.Selected)
    return result


class ReviewTable:
    """Rows, selection and the current vertebra.

    Args:
        table: The widget.
        onCurrent: Called with the segment ID when the user makes a vertebra current.
    """

    def __init__(self, table: Any, onCurrent: Callable[[str], None]):
        self._table, self._onCurrent = table, onCurrent
        self._rows: list[Row] = []
        self._filling = False
        self._icons = {status: icon(f"status-{text}") for status, text in STATUS_TEXT.items()}
        self._flag, self._pin = icon("flag"), icon("pin")
        table.setColumnCount(COLUMNS)
        table.setHorizontalHeaderLabels(["", _("Vertebra"), _("Prob."), _("mL"), _("Reviewed")])
        table.horizontalHeaderItem(STATUS).setToolTip(_("Review status"))
        table.horizontalHeaderItem(PROBABILITY).setToolTip(_("Probability of the level"))
        reviewed = _(
            "Reason to check the vertebra, or the first or last rib seen there; when it is "
            "approved, by whom and when"
        )
        table.horizontalHeaderItem(REVIEWED).setToolTip(reviewed)
        table.horizontalHeaderItem(REVIEWED).setTextAlignment(qt.Qt.AlignLeft | qt.Qt.AlignVCenter)
        table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        table.setWordWrap(False)
        table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.horizontalHeader().setMinimumSectionSize(_MIN_COLUMN_WIDTH)
        table.connect("cellClicked(int,int)", self._go)
        table.connect("cellActivated(int,int)", self._go)  # Return key
        table.connect("currentCellChanged(int,int,int,int)", self._onCell)
        # The details below the table may grow with the current vertebra, and the table shrinks.
        self._scrolling = qt.QTimer(table)
        self._scrolling.setSingleShot(True)
        self._scrolling.setInterval(0)
        self._scrolling.connect("timeout()", self._scroll)

    @property
    def rows(self) -> list[Row]:
        """Rows from top to bottom."""
        return self._rows

    def show(self, rows: list[Row]) -> None:
        """Fill the table; current vertebra and selection are restored if they still exist."""
        chosen, current = self.selected(), self.current()
        self._filling = True
        self._rows = rows
        self._table.setRowCount(len(rows))
        for index, row in enumerate(rows):
            self._fill(index, row)
        for column in range(COLUMNS - 1):
            self._table.resizeColumnToContents(column)
        self._select([i for i in chosen if i != current] + [i for i in (current,) if i])
        self._filling = False
        self._fitHeight()
        self._scrolling.start()

    def current(self) -> str:
        """Return the segment ID of the current vertebra, or an empty string."""
        index = self._table.currentRow()
        return self._rows[index].segmentId if 0 <= index < len(self._rows) else ""

    def selected(self) -> list[str]:
        """Return the segment IDs of the selected vertebrae, in the order of the table."""
        indices = {index.row() for index in self._table.selectionModel().selectedRows()}
        return [self._rows[index].segmentId for index in sorted(indices) if index < len(self._rows)]

    def goTo(self, segmentId: str) -> None:
        """Make a vertebra current and the only selected one, and call ``onCurrent``."""
        ids = [row.segmentId for row in self._rows]
        if segmentId in ids:
            self._filling = True
            self._table.clearSelection()
            self._table.setCurrentCell(ids.index(segmentId), NAME)
            self._filling = False
            self._onCurrent(segmentId)
            self._scrolling.start()

    def step(self, by: int) -> None:
        """Go to the next (1) or the previous (-1) vertebra in the table."""
        if not self._rows:
            return
        index = self._table.currentRow() + by if self.current() else 0
        self.goTo(self._rows[max(0, min(index, len(self._rows) - 1))].segmentId)

    def _fitHeight(self) -> None:
        """Make the table as high as its rows, if the window is high enough.

        Qt's layouts do not shrink a table beside labels that wrap: its height must be given.
        """
        table = self._table
        around = table.horizontalHeader().height + 2 * table.frameWidth
        highest = round(_WINDOW_SHARE * table.window().height)
        table.setFixedHeight(around + min(table.verticalHeader().length(), highest))

    def _scroll(self) -> None:
        """Bring the current row into view."""
        if (item := self._table.item(self._table.currentRow(), NAME)) is not None:
            self._table.scrollToItem(item)

    def _select(self, ids: list[str]) -> None:
        self._table.clearSelection()
        at = {row.segmentId: index for index, row in enumerate(self._rows)}
        select = qt.QItemSelectionModel.Select | qt.QItemSelectionModel.Rows
        for segmentId in (i for i in ids if i in at):
            index = self._table.model().index(at[segmentId], NAME)
            self._table.selectionModel().setCurrentIndex(index, select)

    def _go(self, row: int) -> None:
        if row < len(self._rows):
            self._onCurrent(self._rows[row].segmentId)

    def _onCell(self, row: int) -> None:
        # Clicks call ``onCurrent`` themselves; this handles the arrow keys.
        if not self._filling and 0 <= row < len(self._rows) and self._table.hasFocus():
            self._onCurrent(self._rows[row].segmentId)

    def _fill(self, index: int, row: Row) -> None:
        texts = {
            NAME: row.name,
            PROBABILITY: _probability(row),
            VOLUME: f"{row.volume_ml:.1f}",
            REVIEWED: reviewText(row),
        }
        for column in range(COLUMNS):
            item = qt.QTableWidgetItem(texts.get(column, ""))
            item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable)
            item.setToolTip(self._tip(row, column))
            if column in (PROBABILITY, VOLUME):
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            self._table.setItem(index, column, item)
        self._table.item(index, STATUS).setIcon(self._icons[row.status])
        self._table.item(index, NAME).setIcon(_swatch(row.color))
        if row.pinned:
            self._table.item(index, PROBABILITY).setIcon(self._pin)
        if row.reasons and row.status != APPROVED:
            self._table.item(index, REVIEWED).setIcon(self._flag)

    def _tip(self, row: Row, column: int) -> str:
        if column == PROBABILITY and row.pinned:
            return _("Fixed level: set by the user, kept by the level solver.")
        if column == PROBABILITY and row.posterior is None:
            return _("The level was set by the user.") if row.named else _("No run is known.")
        if column in (STATUS, REVIEWED):
            texts = [f"{statusText(row.status)}.", fullStamp(row), row.reasons]
            return " ".join(filter(None, texts[: 2 if column == STATUS else 3]))
        return row.name if row.ribs is None else row.ribs.text


def _probability(row: Row) -> str:
    if row.posterior is not None:
        return _("{percent:.0f} %").format(percent=100 * row.posterior)
    return _("by hand") if row.named else "\N{EN DASH}"
