"""Imports of packages before they are needed."""

from __future__ import annotations

import contextlib
import threading

import qt

from spinemamba.common.errors import UserError
from SpineMambaSegmentLib.Scene.LazyImport import tool

_INTERVAL_MS = 50
_TURN_S = 0.005


class Preload:
    """Imports modules in a thread; errors are shown at their first use.

    The first import of scipy takes half a second, for which Slicer would be blocked. Slicer's main
    thread holds Python's GIL while it waits for events, so a timer gives the thread its turns.

    Args:
        names: Modules, of `LazyImport.NAMES`.
    """

    def __init__(self, *names: str):
        self._names = names
        self._thread: threading.Thread | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.connect("timeout()", self._giveTurn)

    def start(self) -> None:
        """Import the modules in the background; do nothing if this was already called."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._import, daemon=True)
            self._thread.start()
            self._timer.start()

    def stop(self) -> None:
        """Wait for the thread, so that a reload does not remove modules that it is importing."""
        self._timer.stop()
        if self._thread is not None:
            self._thread.join()

    def _giveTurn(self) -> None:
        self._thread.join(_TURN_S)
        if not self._thread.is_alive():
            self._timer.stop()

    def _import(self) -> None:
        for name in self._names:
            with contextlib.suppress(UserError):
                tool(name)
