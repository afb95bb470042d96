"""Saving and opening of review and log, with file dialogs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Panel.ReviewHost import ReviewHost
from SpineMambaSegmentLib.Review import Log, ReviewFile

CSV = "_log.csv"


class ReviewFileDialogs:
    """Writes and reads the files of the current review.

    Args:
        host: Session to save or reload, and status line.
    """

    def __init__(self, host: ReviewHost):
        self._host = host

    def saveCsv(self, path: Path) -> None:
        """Write the log as a CSV table; errors are shown."""
        self._save(path, lambda: ReviewFile.writeText(Log.csvText(self._node()), path))

    def saveReview(self, path: Path) -> None:
        """Write the review file that belongs to a saved segmentation; errors are shown."""
        self._save(path, lambda: ReviewFile.write(self._node(), path))

    def openReview(self, path: Path) -> None:
        """Restore a review file into the segmentation; errors are shown."""
        with Errors.shown(_("The review could not be opened."), self._host.say):
            ReviewFile.read(self._node(), path)
            self._host.reload()
            self._host.say(_("Opened {file}.").format(file=path.name))

    def _save(self, path: Path, write: Callable[[], None]) -> None:
        with Errors.shown(_("The review could not be saved."), self._host.say):
            write()
            self._host.say(_("Saved {file}.").format(file=path.name))

    def _node(self) -> Any:
        return self._host.session.node

    def chooseCsv(self) -> None:
        """Ask for the file of the log, and write it."""
        self._choose(CSV, self.saveCsv)

    def chooseSave(self) -> None:
        """Ask for the file of the review, and write it."""
        self._choose(ReviewFile.SUFFIX, self.saveReview)

    def chooseOpen(self) -> None:
        """Ask for a saved review, and open it."""
        chosen = qt.QFileDialog.getOpenFileName(None, _("Open a review"), "", "(*.json)")
        if chosen:
            self.openReview(Path(chosen))

    def _choose(self, suffix: str, save: Callable[[Path], None]) -> None:
        ending = f".{suffix.rpartition('.')[2]}"
        chosen = qt.QFileDialog.getSaveFileName(None, _("Save"), f"spine{suffix}", f"(*{ending})")
        if chosen:
            save(Path(chosen if chosen.endswith(ending) else chosen + ending))
