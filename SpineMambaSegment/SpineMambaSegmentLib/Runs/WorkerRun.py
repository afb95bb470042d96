"""One job of the worker: files -> worker process -> what comes of it. MRML and files, no Qt."""

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
    """A file that the worker shall read."""

    def write(self) -> None:
        """Write it; runs in a thread, and ends early after `stop`."""

    def stop(self) -> None:
        """Let `write` return soon."""


class WorkerRun:
    """Starts with `_start`; ``newEvents`` must then be called until `Finished` or `Failed` came.

    Subclasses say what comes of it: in `_import`, in steps that each are short.

    Args:
        temporaryFolder: The run folder is made in here, and deleted when the run ends.
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
        self._lastWord_s = time.monotonic()
        self._writer = threading.Thread(target=self._write, daemon=True)

    def _start(self, files: Sequence[InputFile], job: FileJob) -> None:
        """Write the files and then start the worker; returns at once."""
        self._files, self._job = files, job
        self._writer.start()

    def _import(self) -> Iterator[None]:
        """Make something of what the worker wrote, in steps that each are short."""
        raise NotImplementedError

    def _check(self) -> None:
        """Refuse to go on, for example when a node was deleted.

        Raises:
            UserError: If there is no point in going on.
        """

    @property
    def silent_s(self) -> float:
        """Seconds since the worker last gave a sign of life; it gives one every two seconds."""
        return time.monotonic() - self._lastWord_s

    def newEvents(self) -> list[events.Event]:
        """Return what happened since the last call; with `Finished`, everything is there.

        Each call does at most one step of the import.
        """
        found: list[events.Event] = []
        found, self._early = self._early, found
        try:
            found += self._advance()
        except UserError as error:
            found.append(events.Failed(error.code.value, error.message, error.remedy))
        except Exception as error:
            logging.exception("The run failed")
            found.append(Errors.inUsersWords(events.Failed(Code.INTERNAL.value, str(error), "")))
        if any(isinstance(event, events.Finished | events.Failed) for event in found):
            self.kill()
        return found

    def askToStop(self) -> None:
        """Ask the worker politely to stop; returns at once."""
        for file in self._files:
            file.stop()
        if self._worker is not None:
            self._worker.ask_to_stop()

    def isGone(self) -> bool:
        """Return whether nothing is at work any more."""
        working = self._worker is not None and self._worker.is_running()
        return not working and not self._writer.is_alive()

    def kill(self) -> None:
        """End everything that is left of the run, and delete its folder."""
        self.askToStop()
        self._writer.join()
        if self._worker is not None:
            self._worker.kill()
        self._steps = None
        self._log = self.log()
        # On Windows the log may stay open for a moment after the worker has ended.
        shutil.rmtree(self._folder, ignore_errors=True)

    def cancel(self) -> None:
        """Stop politely, and after a grace period by force; waits for the end."""
        self.askToStop()
        if self._worker is not None:
            self._worker.cancel()
        self.kill()

    def log(self) -> str:
        """Return what the worker wrote for people who look for a fault."""
        path = self._folder / LOG_NAME
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else self._log

    def waitForEnd(self) -> None:
        """Wait until everything is there; for scripts.

        Raises:
            UserError: What the run failed with.
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
        # Whatever goes wrong in this thread must reach the one that asks for events.
        try:
            for file in self._files:
                file.write()
        except Exception as error:
            self._failure = error

    def _advance(self) -> list[events.Event]:
        """Go on with what is due: the input files, the worker, or a step of the import."""
        if self._steps is not None:
            if next(self._steps, self) is not self:
                return []
            return [self._finished]
        if self._worker is None:
            self._startWorker()
            return []
        self._check()
        found = [Errors.inUsersWords(event) for event in self._worker.new_events()]
        if found:
            self._lastWord_s = time.monotonic()
        if found and isinstance(found[-1], events.Finished):
            self._finished = found.pop()
            self._steps, self.isImporting = self._import(), True
        return found

    def _startWorker(self) -> None:
        self._lastWord_s = time.monotonic()
        if self._writer.is_alive():
            return
        if self._failure is not None:
            raise self._failure
        self._worker = WorkerProcess.start(self._job, self._folder, Interpreter.path())


def removeStale(temporaryFolder: Path) -> None:
    """Delete run folders that a crash of Slicer left; another Slicer may be using newer ones."""
    for folder in temporaryFolder.glob(f"{FOLDER_PREFIX}*"):
        if time.time() - folder.stat().st_mtime > STALE_S:
            shutil.rmtree(folder, ignore_errors=True)
