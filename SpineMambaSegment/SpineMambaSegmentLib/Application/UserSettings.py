"""Choices of the user that are remembered between sessions of Slicer, in Slicer's settings."""

from __future__ import annotations

from pathlib import Path

import qt

_GROUP = "SpineMambaSegment"
_LAST = "Last"
"""Folder of the last file dialog of any kind: where a dialog starts that was never used."""


class UserSettings:
    """Texts by key, and file dialogs that start in the folder of the last time.

    Args:
        settings: Slicer's settings.
    """

    def __init__(self, settings: qt.QSettings):
        self._settings = settings

    def text(self, key: str, default: str = "") -> str:
        """Return a remembered text."""
        value = self._settings.value(f"{_GROUP}/{key}")
        return default if value is None else str(value)

    def keep(self, key: str, text: str) -> None:
        """Remember a text."""
        self._settings.setValue(f"{_GROUP}/{key}", text)

    def folder(self, kind: str) -> str:
        """Return the folder in which a file dialog starts; empty if none was chosen yet."""
        for key in (kind, _LAST):
            folder = self.text(f"Folder/{key}")
            if folder and Path(folder).is_dir():
                return folder
        return ""

    def askFolder(self, title: str, kind: str) -> Path | None:
        """Ask for a folder; None if the user cancels.

        Args:
            title: Title of the dialog.
            kind: Dialogs of the same kind start in the same folder.
        """
        chosen = qt.QFileDialog.getExistingDirectory(None, title, self.folder(kind))
        return self._chosen(chosen, kind, isFolder=True)

    def askFile(self, title: str, kind: str, filters: str) -> Path | None:
        """Ask for an existing file; None if the user cancels."""
        chosen = qt.QFileDialog.getOpenFileName(None, title, self.folder(kind), filters)
        return self._chosen(chosen, kind)

    def askNewFile(self, title: str, kind: str, name: str, ending: str) -> Path | None:
        """Ask for a file to write; its name gets the ending. None if the user cancels."""
        start = str(Path(self.folder(kind)) / name)
        chosen = qt.QFileDialog.getSaveFileName(None, title, start, f"(*{ending})")
        if chosen and not chosen.endswith(ending):
            chosen += ending
        return self._chosen(chosen, kind)

    def _chosen(self, chosen: str, kind: str, *, isFolder: bool = False) -> Path | None:
        if not chosen:
            return None
        path = Path(chosen)
        folder = str(path if isFolder else path.parent)
        for key in (kind, _LAST):
            self.keep(f"Folder/{key}", folder)
        return path
