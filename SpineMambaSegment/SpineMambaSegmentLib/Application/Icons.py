"""Icons of the module; their shapes differ, so that they work without colour."""

from __future__ import annotations

from pathlib import Path

import qt

_FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "Icons"
_STATUS_SIZE = 16
"""Width of a status icon in a label, in pixels."""


def icon(name: str) -> qt.QIcon:
    """Return one of the module's icons.

    Args:
        name: Name of the file without its suffix.
    """
    path = str(_FOLDER / f"{name}.svg")
    result = qt.QIcon(path)
    # Without this, Qt tints the icon with the selection colour in a selected row.
    result.addFile(path, qt.QSize(), qt.QIcon.Selected)
    return result


def showStatus(label: qt.QLabel, name: str, meaning: str) -> None:
    """Show an icon in a label, and its meaning as tooltip."""
    label.setPixmap(icon(name).pixmap(_STATUS_SIZE, _STATUS_SIZE))
    label.toolTip = meaning
