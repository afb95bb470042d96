"""Base of all runs of the worker: input files -> worker process -> import of its results."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol import events
from spinemamba.protocol.job import FileJob
from spinemamba.protocol.worker_client import LOG_NAME, WorkerProcess
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Runs import Interpreter

POLL_S = 0.1
FOLDER_PREFIX = "spinemamba-"
STALE_S = 7 * 24 * 3600.0


class InputFile(Protocol):
    """An input file of the worker."""

    def write(self) -> None:
        """Write the file; called in a thread, ends early after `stop`."""

    def stop(self) -> None:
        """Let `write` end early."""


class WorkerRun:
    """A run, started by `_start`. Call ``newEvents`` until it returns `Finished` or `Failed`.

    Subclasses import the results in `_import`, in short steps.

    Args:
        temporaryFolder: Folder in which the run folder is created; deleted at the end of the run.
    """

    def __init__(self, temporaryFolder: Path):
        self.isImporting = False
        removeStale(temporaryFolder)
        self._folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=temporaryFolder))
        self._early: list[events.Event] = []
        self._log = ""
        self._files: Sequence[InputFile] = ()
        self._job: FileJob | None = None
        self._worker: WorkerProcess | None = None
        self._failure: Exception | None = None
        self._steps: Iterator[None] | None = None
        self._finished: events.Finished | None = None
        self._lastEvent_s = time.monotonic()
        self._writer = threading.Thread(target=self._write, daemon=True)

    def _start(self, files: Sequence[InputFile], job: FileJob) -> None:
        """Write the files and then start the worker; returns at once."""
        self._files, self._job = files, job
        self._writer.start()

    def _import(self) -> Iterator[None]:
        """Import the results of the worker, in short steps."""
        raise NotImplementedError

    def _check(self) -> None:
        """Check that the run can continue, for example that no node was deleted.

        Raises:
            UserError: If it cannot.
        """

    @property
    def silent_s(self) -> float:
        """Seconds since the last event; the worker sends one at least every two seconds."""
        return time.monotonic() - self._lastEvent_s

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
            self.kill()
        return newEvents

    def askToStop(self) -> None:
        """Ask the worker to stop, and return at once."""
        for file in self._files:
            file.stop()
        if self._worker is not None:
            self._worker.ask_to_stop()

    def isGone(self) -> bool:
        """Return True if the worker process and the writing thread have ended."""
        isRunning = self._worker is not None and self._worker.is_running()
        return not isRunning and not self._writer.is_alive()

    def kill(self) -> None:
        """Kill the worker, and delete the run folder."""
        self.askToStop()
        self._writer.join()
        if self._worker is not None:
            self._worker.kill()
        self._steps = None
        self._log = self.log()
        # On Windows the log file may stay open for a moment after the worker has ended.
        shutil.rmtree(self._folder, ignore_errors=True)

    def cancel(self) -> None:
        """Ask the worker to stop, kill it after a grace period, and wait for its end."""
        self.askToStop()
        if self._worker is not None:
            self._worker.cancel()
        self.kill()

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
                time.sleep(0 if self.isImporting else POLL_S)
        finally:  # also when the user interrupts the script
            self.kill()

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
            return [self._finished]
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

    def _startWorker(self) -> None:
        self._lastEvent_s = time.monotonic()
        if self._writer.is_alive():
            return
        if self._failure is not None:
            raise self._failure
        self._worker = WorkerProcess.start(self._job, self._folder, Interpreter.path())


def removeStale(temporaryFolder: Path) -> None:
    """Delete old run folders left by a crash; newer ones may belong to another Slicer."""
    for folder in temporaryFolder.glob(f"{FOLDER_PREFIX}*"):
        if time.time() - folder.stat().st_mtime > STALE_S:
            shutil.rmtree(folder, ignore_errors=True)
