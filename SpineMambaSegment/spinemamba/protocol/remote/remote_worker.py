"""A server in place of a worker process: the same calls as `worker_client.WorkerProcess`.

Standard library only.
"""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path

from spinemamba.common.errors import Cancelled, Code, UserError
from spinemamba.protocol import events
from spinemamba.protocol.job import FileJob
from spinemamba.protocol.remote.http_connection import Connection
from spinemamba.protocol.remote.remote_job import Patience, RemoteJob
from spinemamba.protocol.remote.server_client import ServerClient
from spinemamba.protocol.remote.site import Site
from spinemamba.protocol.worker_client import LOG_NAME

_TIMEOUT_S = 30.0
_ERASE_S = 1.0
"""Time in seconds in which a cancelled job tells the server, before its thread is left alone."""


class RemoteWorker:
    """A job on a server, followed by a thread; create it with `start`.

    Args:
        site: The server.
        folder: Run folder for the log; must exist.
        patience: Longest outage of the network.
    """

    def __init__(self, site: Site, folder: Path, patience: Patience | None = None):
        self._site, self._folder = site, folder
        self._patience = patience or Patience()
        self._events: queue.Queue[events.Event] = queue.Queue()
        self._stopped = threading.Event()
        self._connection: Connection | None = None
        self._remote: RemoteJob | None = None
        self._thread: threading.Thread | None = None

    @classmethod
    def start(
        cls, job: FileJob, folder: Path, site: Site, patience: Patience | None = None
    ) -> RemoteWorker:
        """Start a thread that sends a job and follows it.

        Args:
            job: Job to run.
            folder: Run folder for the log; must exist.
            site: The server.
            patience: Longest outage of the network.

        Raises:
            UserError: If the file with certificates cannot be read.
        """
        worker = cls(site, folder, patience)
        worker.run(job)
        return worker

    def run(self, job: FileJob) -> None:
        """Run another job, after `Finished` or `Failed` of the last one.

        Raises:
            UserError: If the file with certificates cannot be read.
        """
        self._connection = Connection(self._site, _TIMEOUT_S)
        client = ServerClient(self._connection)
        self._remote = RemoteJob(client, self._progress, self._warn, self._sleep, self._patience)
        self._thread = threading.Thread(target=self._work, args=(job,), daemon=True)
        self._thread.start()

    @property
    def where(self) -> str:
        """Server, model and place in line, in words; empty before the server has answered."""
        return "" if self._remote is None else self._remote.where

    @property
    def log(self) -> Path:
        """Log file: warnings, and the end of the job."""
        return self._folder / LOG_NAME

    def new_events(self) -> list[events.Event]:
        """Return the events since the last call, without waiting.

        The last event of a job that was not cancelled is `Finished` or `Failed`.
        """
        new = []
        while not self._events.empty():
            new.append(self._events.get_nowait())
        return new

    def is_running(self) -> bool:
        """Return whether a job is in progress, also while it is being cancelled."""
        return self._thread is not None and self._thread.is_alive()

    def ask_to_stop(self) -> None:
        """Ask the thread to stop; return at once."""
        self._stopped.set()

    def kill(self) -> None:
        """Stop a transfer, and wait a moment for the thread; no output appears afterwards."""
        self._stopped.set()
        if self.is_running():
            self._connection.interrupt()
            self._thread.join(_ERASE_S)

    def cancel(self, grace_s: float = events.GRACE_S) -> None:
        """Ask to stop, wait up to ``grace_s`` seconds, then leave the thread alone."""
        self.ask_to_stop()
        if self._thread is not None:
            self._thread.join(grace_s)
        self.kill()

    def _work(self, job: FileJob) -> None:
        started_s = time.monotonic()
        try:
            self._remote.run(job)
        except Cancelled:
            return
        except UserError as error:
            self._end(events.Failed(error.code.value, error.message, error.remedy))
            return
        # Last resort: every error must reach the panel as an event.
        except Exception as error:
            text = f"Something went wrong inside SpineMamba ({type(error).__name__})."
            self._end(events.Failed(Code.INTERNAL.value, text, "Report it with the log."))
            return
        finally:
            self._connection.close()
        result = "" if job.result is None else str(job.result)
        seconds = round(time.monotonic() - started_s, 1)
        self._end(events.Finished(str(job.output), result, seconds))

    def _end(self, event: events.Event) -> None:
        """Put the last event; a cancelled job has none."""
        if not self._stopped.is_set():
            self._note(f"{self.where}: {type(event).__name__} {getattr(event, 'code', '')}")
            self._events.put(event)

    def _progress(self, stage: str, fraction: float, overall: float) -> None:
        self._check()
        self._events.put(events.Progress(stage, fraction, overall))

    def _warn(self, message: str) -> None:
        self._check()
        self._note(message)
        self._events.put(events.Warning(message))

    def _sleep(self, seconds: float) -> None:
        self._stopped.wait(seconds)
        self._check()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Cancelled

    def _note(self, text: str) -> None:
        """Add a line to the log, if its folder is still there."""
        try:
            with self.log.open("a", encoding="utf-8") as log:
                log.write(f"{text}\n")
        except OSError:
            return
