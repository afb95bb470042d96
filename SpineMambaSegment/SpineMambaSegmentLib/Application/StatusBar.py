"""Progress of a run in Slicer's status bar, while another module is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

_NOTICE_MS = 30_000
"""How long the end of a run is displayed."""


class StatusBar:
    """Messages for a user who works in another module; nothing while the panel is visible.

    Args:
        show: Shows a message for a number of milliseconds; 0 shows it until the next one.
        isPanelVisible: Returns True if the user can see the panel.
    """

    def __init__(self, show: Callable[[str, int], Any], isPanelVisible: Callable[[], bool]):
        self._show, self._isPanelVisible = show, isPanelVisible
        self._isShowing = False

    def progress(self, fraction: float, text: str) -> None:
        """Show how far a run is, in [0, 1], and its stage."""
        message = _("SpineMamba Segment: {percent:.0f} %, {text}")
        self._say(message.format(percent=100 * fraction, text=text), 0)

    def end(self, text: str) -> None:
        """Show how a run has ended."""
        self._say(_("SpineMamba Segment: {text}").format(text=text), _NOTICE_MS)

    def clear(self) -> None:
        """Remove the last message, because the panel has the same."""
        if self._isShowing:
            self._show("", 0)
        self._isShowing = False

    def _say(self, text: str, duration_ms: int) -> None:
        if self._isPanelVisible():
            self.clear()
            return
        self._show(text, duration_ms)
        self._isShowing = True
