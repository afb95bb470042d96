"""Qt only: a timer that passes the events of one run to the panel."""

from __future__ import annotations

from collections.abc import Callable

import qt

from spinemamba import events
from SpineMambaSegmentLib.Run import Run

INTERVAL_MS = 100


class Segmentation:
    """Passes the events of a run on, from Qt's main thread, until it ends or is cancelled.

    Each run has its own object: an event that arrives after ``cancel`` goes nowhere.

    Args:
        run: A run that has started.
        onEvent: Called with each event; when it gets the last one, the run is no longer running.
    """

    def __init__(self, run: Run, onEvent: Callable[[events.Event], None]):
        self.run = run
        self._onEvent = onEvent
        self._timer = qt.QTimer()
        self._timer.setInterval(INTERVAL_MS)
        self._timer.connect("timeout()", self._poll)
        self._timer.start()

    def isRunning(self) -> bool:
        """Return whether the run goes on."""
        return self._timer is not None

    def cancel(self) -> None:
        """Stop the run and delete its files; no further event comes."""
        if self.isRunning():
            self._stop()
            self.run.cancel()

    def _poll(self) -> None:
        for event in self.run.newEvents():
            if not self.isRunning():  # cancelled by the receiver of the event before
                return
            if isinstance(event, events.Finished | events.Failed):
                self._stop()
            self._onEvent(event)

    def _stop(self) -> None:
        self._timer.stop()
        self._timer.deleteLater()
        self._timer = None
