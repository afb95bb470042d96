"""Qt only: a timer that passes the events of one run to the panel."""

from __future__ import annotations

import time
from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from spinemamba.common.errors import Code
from spinemamba.protocol import events
from spinemamba.protocol.worker_client import GRACE_S
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun

INTERVAL_MS = 50
SILENT_S = 60.0


class RunTimer:
    """Passes the events of a run on, from Qt's main thread, until `Finished` or `Failed`.

    Each run has its own object: an event that arrives after ``stopNow`` goes nowhere.

    Args:
        run: A run that has started.
        onEvent: Called with each event; when it gets the last one, the run is no longer running.
    """

    def __init__(self, run: WorkerRun, onEvent: Callable[[events.Event], None]):
        self.run = run
        self._onEvent = onEvent
        self._killAt_s: float | None = None
        self._toldSilent = False
        self._timer = qt.QTimer()
        self._timer.setInterval(INTERVAL_MS)
        self._timer.connect("timeout()", self._poll)
        self._timer.start()

    def isRunning(self) -> bool:
        """Return whether the run goes on; also while it is being cancelled."""
        return self._timer is not None

    def canCancel(self) -> bool:
        """Return whether the run goes on, is not being cancelled, and has changed nothing yet."""
        return self.isRunning() and self._killAt_s is None and not self.run.isImporting

    def cancel(self) -> None:
        """Ask the run to stop and return at once; its last event is `Failed`, code CANCELLED.

        What does not stop within three seconds is killed.
        """
        if self.canCancel():
            self.run.askToStop()
            self._killAt_s = time.monotonic() + GRACE_S

    def stopNow(self) -> None:
        """Stop the run and wait until it is gone, three seconds at most; no further event comes."""
        if self.isRunning():
            self._stop()
            self.run.cancel()

    def _poll(self) -> None:
        if self._killAt_s is not None:
            self._pollCancelled()
            return
        for event in self.run.newEvents():
            if not self.isRunning():  # stopped by the receiver of the event before
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
        if silent and not self._toldSilent and self.canCancel():
            text = _("No sign of life for {seconds:.0f} s. Wait, or press Cancel and try again.")
            self._onEvent(events.Warning(text.format(seconds=self.run.silent_s)))
        self._toldSilent = silent

    def _stop(self) -> None:
        self._timer.stop()
        self._timer.deleteLater()
        self._timer = None
