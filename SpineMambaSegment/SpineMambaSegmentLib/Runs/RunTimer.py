"""Timer that passes the events of one run to the panel."""

from __future__ import annotations

import time
from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from spinemamba.common.errors import Code
from spinemamba.protocol import events
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun

INTERVAL_MS = 50
SILENT_S = 60.0


class RunTimer:
    """Polls a run in Qt's main thread and passes on its events, until `Finished` or `Failed`.

    Each run has its own timer: events that arrive after ``stopNow`` are dropped.

    Args:
        run: A started run.
        onEvent: Called with each event; at the last one, `isRunning` already returns False.
    """

    def __init__(self, run: WorkerRun, onEvent: Callable[[events.Event], None]):
        self.run = run
        self._onEvent = onEvent
        self._killAt_s: float | None = None
        self._warned = False
        self._timer = qt.QTimer()
        self._timer.setInterval(INTERVAL_MS)
        self._timer.connect("timeout()", self._poll)
        self._timer.start()

    def isRunning(self) -> bool:
        """Return True until the run has ended; also while it is being cancelled."""
        return self._timer is not None

    def canCancel(self) -> bool:
        """Return True if the run is in progress, not being cancelled, and not yet importing."""
        return self.isRunning() and self._killAt_s is None and not self.run.isImporting

    def cancel(self) -> None:
        """Ask the run to stop and return at once; its last event is `Failed`, code CANCELLED.

        A process that does not stop within three seconds is killed.
        """
        if self.canCancel():
            self.run.askToStop()
            self._killAt_s = time.monotonic() + events.GRACE_S

    def stopNow(self) -> None:
        """Stop the run and wait for its end, at most three seconds; no event follows."""
        if self.isRunning():
            self._stop()
            self.run.cancel()

    def _poll(self) -> None:
        if self._killAt_s is not None:
            self._pollCancelled()
            return
        for event in self.run.newEvents():
            if not self.isRunning():  # stopped by the receiver of the previous event
                return
            if isinstance(event, events.Finished | events.Failed):
                self._stop()
            self._onEvent(event)
        self._watchSilence()

    def _pollCancelled(self) -> None:
        if self.run.isGone() or time.monotonic() > self._killAt_s:
            self._stop()
            self.run.kill()
            message = _("Cancelled. Nothing was changed.")
            self._onEvent(events.Failed(Code.CANCELLED.value, message, ""))

    def _watchSilence(self) -> None:
        silent = self.run.silent_s > SILENT_S
        if silent and not self._warned and self.canCancel():
            text = _(
                "No message from the background process for {seconds:.0f} s. "
                "Wait, or press Cancel and try again."
            )
            self._onEvent(events.Warning(text.format(seconds=self.run.silent_s)))
        self._warned = silent

    def _stop(self) -> None:
        self._timer.stop()
        self._timer.deleteLater()
        self._timer = None
