"""Review and log as files, chosen by the user."""

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
    """Writes and reads the files of the review that is shown.

    Args:
        section: Shows it, and says what did not work.
    """

    def __init__(self, host: ReviewHost):
        self._host = host

    def saveCsv(self, path: Path) -> None:
        """Write the log as a table, or say why not."""
        self._save(path, lambda: ReviewFile.writeText(Log.csvText(self._node()), path))

    def saveReview(self, path: Path) -> None:
        """Write the file that goes with a saved segmentation, or say why not."""
        self._save(path, lambda: ReviewFile.write(self._node(), path))

    def openReview(self, path: Path) -> None:
        """Bring what such a file says to the segmentation, or say why not."""
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
        """Let the user choose where the log goes."""
        self._choose(CSV, self.saveCsv)

    def chooseSave(self) -> None:
        """Let the user choose where the review goes."""
        self._choose(ReviewFile.SUFFIX, self.saveReview)

    def chooseOpen(self) -> None:
        """Let the user choose a review that was saved."""
        chosen = qt.QFileDialog.getOpenFileName(None, _("Open a review"), "", "(*.json)")
        if chosen:
            self.openReview(Path(chosen))

    def _choose(self, suffix: str, save: Callable[[Path], None]) -> None:
        ending = f".{suffix.rpartition('.')[2]}"
        chosen = qt.QFileDialog.getSaveFileName(None, _("Save"), f"spine{suffix}", f"(*{ending})")
        if chosen:
            save(Path(chosen if chosen.endswith(ending) else chosen + ending))
