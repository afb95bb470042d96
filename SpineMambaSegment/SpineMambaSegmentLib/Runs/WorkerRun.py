"""Base of all runs of the worker: input files -> worker process -> import of its results.

A run is followed with a timer of Qt (`WorkerRun.follow`), or waited for (`WorkerRun.waitForEnd`).
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol import events
from spinemamba.protocol.job import FileJob
from spinemamba.protocol.remote.remote_worker import RemoteWorker
from spinemamba.protocol.remote.site import Site
from spinemamba.protocol.worker_client import LOG_NAME, WorkerProcess
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Runs.CommandRun import interpreter

if TYPE_CHECKING:
    import qt

_INTERVAL_MS = 50
"""Interval of the timer in the panel."""

_WRITER_S = 0.005
"""Time per tick in which the main thread waits for the thread that writes the input files. Waiting
releases the GIL, which Slicer's main thread otherwise holds between ticks."""

_POLL_S = 0.1
"""Interval in scripts that wait for the end."""

SILENT_S = 60.0
"""After this time without an event, a warning is shown; a working worker sends one every 2 s."""

_FOLDER_PREFIX = "spinemamba-"
_STALE_S = 7 * 24 * 3600.0


class InputFile(Protocol):
    """An input file of the worker."""

    def write(self) -> None:
        """Write the file; called in a thread, ends early after `stop`."""

    def stop(self) -> None:
        """Let `write` end early."""


class WorkerRun:
    """A run, started by `_start`. Call `follow`, or `waitForEnd`, until `Finished` or `Failed`.

    Subclasses import the results in `_import`, in short steps.

    Attributes:
        isImporting: True when the worker has ended and its results are being imported.

    Args:
        temporaryFolder: Folder in which the run folder is created; deleted at the end of the run.
    """

    def __init__(self, temporaryFolder: Path):
        self.isImporting = False
        self._onEvent: Callable[[events.Event], None] = lambda event: None
        self._timer: qt.QTimer | None = None
        self._killAt_s: float | None = None
        self._warned = False
        _removeStale(temporaryFolder)
        self._folder = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=temporaryFolder))
        self._early: list[events.Event] = []
        self._log = ""
        self._files: Sequence[InputFile] = ()
        self._job: FileJob | None = None
        self._worker: WorkerProcess | RemoteWorker | None = None
        self._site: Site | None = None
        self._failure: Exception | None = None
        self._steps: Iterator[None] | None = None
        self._finished: events.Finished | None = None
        self._lastEvent_s = time.monotonic()
        self._writer: threading.Thread | None = None

    def _start(self, files: Sequence[InputFile], job: FileJob) -> None:
        """Write the files and then start the worker; returns at once."""
        self._files, self._job = files, job
        self._worker = self._failure = self._steps = None
        self.isImporting = False
        self._lastEvent_s = time.monotonic()
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    @property
    def part(self) -> str:
        """Part of the run that is in progress, such as "Frame 3 of 12"; empty if it has none."""
        return ""

    @property
    def where(self) -> str:
        """Server and model, with the place in line; empty for a run on this computer."""
        return self._worker.where if isinstance(self._worker, RemoteWorker) else ""

    def _import(self) -> Iterator[None]:
        """Import the results of the worker, in short steps."""
        raise NotImplementedError

    def _check(self) -> None:
        """Check that the run can continue, for example that no node was deleted.

        Raises:
            UserError: If it cannot.
        """

    def follow(self, onEvent: Callable[[events.Event], None]) -> None:
        """Pass on the events from Qt's event loop, until `Finished` or `Failed`.

        Args:
            onEvent: Called with each event; at the last one, `isRunning` already returns False.
        """
        import qt  # not at the top: scripts may wait for a run where there is no Qt

        self._onEvent = onEvent
        self._timer = qt.QTimer()
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.connect("timeout()", self._poll)
        self._timer.start()

    def isRunning(self) -> bool:
        """Return True while the run is followed; also while it is being cancelled."""
        return self._timer is not None

    def canCancel(self) -> bool:
        """Return True if the run is in progress, not being cancelled, and not yet importing."""
        return self.isRunning() and self._killAt_s is None and not self.isImporting

    def cancel(self) -> None:
        """Ask the run to stop and return at once; its last event is `Failed`, code CANCELLED.

        A process that does not stop within three seconds is killed.
        """
        if self.canCancel():
            self._askToStop()
            self._killAt_s = time.monotonic() + events.GRACE_S

    def stopNow(self) -> None:
        """Stop the run and wait for its end, at most three seconds; no event follows."""
        self._stopTimer()
        self._askToStop()
        if self._worker is not None:
            self._worker.cancel()
        self._kill()

    def log(self) -> str:
        """Return the log of the worker."""
        path = self._folder / LOG_NAME
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else self._log

    def waitForEnd(self) -> None:
        """Wait for the end of the run; for scripts.

        Raises:
            UserError: Error of the run.
        """
        try:
            while True:
                for event in self.newEvents():
                    if isinstance(event, events.Failed):
                        raise UserError(event.message, event.remedy, Code(event.code))
                    if isinstance(event, events.Finished):
                        return
                time.sleep(0 if self.isImporting else _POLL_S)
        finally:  # also when the user interrupts the script
            self._kill()

    def _poll(self) -> None:
        if self._killAt_s is not None:
            self._pollCancelled()
            return
        for event in self.newEvents():
            if not self.isRunning():  # stopped by the receiver of the previous event
                return
            if isinstance(event, events.Finished | events.Failed):
                self._stopTimer()
            self._onEvent(event)
        self._watchSilence()

    def _pollCancelled(self) -> None:
        isWorking = self._worker is not None and self._worker.is_running()
        hasEnded = not isWorking and not (self._writer and self._writer.is_alive())
        if hasEnded or time.monotonic() > self._killAt_s:
            self._stopTimer()
            self._kill()
            self._onEvent(events.Failed(Code.CANCELLED.value, self._cancelled(), ""))

    def _cancelled(self) -> str:
        """Return the message of a cancelled run."""
        return _("Cancelled. Nothing was changed.")

    def _watchSilence(self) -> None:
        silent_s = time.monotonic() - self._lastEvent_s
        if silent_s > SILENT_S and not self._warned and self.canCancel():
            text = _(
                "No message from the background process for {seconds:.0f} s. "
                "Wait, or press Cancel and try again."
            )
            self._onEvent(events.Warning(text.format(seconds=silent_s)))
        self._warned = silent_s > SILENT_S

    def _stopTimer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.deleteLater()
            self._timer = None

    def newEvents(self) -> list[events.Event]:
        """Return the events since the last call. At `Finished`, the results are imported.

        Each call does at most one step of the import.
        """
        newEvents: list[events.Event] = []
        newEvents, self._early = self._early, newEvents
        try:
            newEvents += self._advance()
        except UserError as error:
            newEvents.append(events.Failed(error.code.value, error.message, error.remedy))
        except Exception as error:
            logging.exception("The run failed")
            failure = events.Failed(Code.INTERNAL.value, str(error), "")
            newEvents.append(Errors.translated(failure))
        if any(isinstance(event, events.Finished | events.Failed) for event in newEvents):
            self._kill()
        return newEvents

    def _askToStop(self) -> None:
        """Ask the worker to stop, and return at once."""
        for file in self._files:
            file.stop()
        if self._worker is not None:
            self._worker.ask_to_stop()

    def _kill(self) -> None:
        """Kill the worker, and delete the run folder."""
        self._askToStop()
        if self._writer is not None:
            self._writer.join()
        if self._worker is not None:
            self._worker.kill()
        self._steps = None
        self._log = self.log()
        # On Windows the log file may stay open for a moment after the worker has ended.
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self) -> None:
        # An error in this thread must reach the caller of `newEvents`.
        try:
            for file in self._files:
                file.write()
        except Exception as error:
            self._failure = error

    def _advance(self) -> list[events.Event]:
        """Continue with the input files, the worker, or the next step of the import."""
        if self._steps is not None:
            if next(self._steps, self) is not self:
                return []
            return self._imported()
        if self._worker is None:
            self._startWorker()
            return []
        self._check()
        newEvents = [Errors.translated(event) for event in self._worker.new_events()]
        if newEvents:
            self._lastEvent_s = time.monotonic()
        if newEvents and isinstance(newEvents[-1], events.Finished):
            self._finished = newEvents.pop()
            self._steps, self.isImporting = self._import(), True
        return newEvents

    def _imported(self) -> list[events.Event]:
        """Return the events after the last step of the import."""
        return [self._finished]

    def _startWorker(self) -> None:
        self._lastEvent_s = time.monotonic()
        self._writer.join(_WRITER_S)
        if self._writer.is_alive():
            return
        if self._failure is not None:
            raise self._failure
        self._worker = self._launch()

    def _launch(self) -> WorkerProcess | RemoteWorker:
        """Return what works on the job: a process, or a server."""
        if self._site is not None:
            return RemoteWorker.start(self._job, self._folder, self._site)
        return WorkerProcess.start(self._job, self._folder, interpreter())


def _removeStale(temporaryFolder: Path) -> None:
    """Delete old run folders left by a crash; newer ones may belong to another Slicer."""
    for folder in temporaryFolder.glob(f"{_FOLDER_PREFIX}*"):
        if time.time() - folder.stat().st_mtime > _STALE_S:
            shutil.rmtree(folder, ignore_errors=True)
