"""The list of jobs on disk (SQLite), for a restart.

It has nothing that comes from an image: requests and messages are in the folders of the jobs, and
are erased with them.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import astuple, dataclass, fields
from pathlib import Path

_BUSY_S = 10.0


@dataclass(frozen=True)
class JobRow:
    """A job.

    Attributes:
        id: Its id.
        client: Name of the token that it was sent with.
        kind: Kind of its request.
        request_id: Random number of the client; may be empty.
        state: State, as in `formats.JobState`.
        attempt: How often it was started.
        sent_bytes: Size of its request.
        created_s: Time when it was accepted, in seconds since 1970.
        ended_s: Time when it ended; 0 before.
        fetched_s: Time when its result was fetched; 0 before.
    """

    id: str
    client: str
    kind: str
    request_id: str
    state: str
    attempt: int
    sent_bytes: int
    created_s: float
    ended_s: float = 0.0
    fetched_s: float = 0.0


_COLUMNS = tuple(field.name for field in fields(JobRow))
_PUT = f"INSERT OR REPLACE INTO jobs VALUES ({', '.join('?' * len(_COLUMNS))})"


class JobStore:
    """The list of jobs; usable from several threads.

    Args:
        path: Database file; created if it is missing.

    Raises:
        sqlite3.Error: If it cannot be opened.
    """

    def __init__(self, path: Path):
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False)
        path.chmod(0o600)
        # A committed row survives the end of the process; a power cut may lose the last ones.
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        columns = ", ".join(_COLUMNS)
        self._database.execute(f"CREATE TABLE IF NOT EXISTS jobs ({columns}, PRIMARY KEY (id))")
        self._database.commit()

    def put(self, row: JobRow) -> None:
        """Add a job, or replace its row.

        Raises:
            sqlite3.Error: If the disk is full.
        """
        with self._lock, self._database:
            self._database.execute(_PUT, astuple(row))

    def remove(self, job: str) -> None:
        """Remove a job."""
        with self._lock, self._database:
            self._database.execute("DELETE FROM jobs WHERE id = ?", (job,))

    def rows(self) -> list[JobRow]:
        """Return all jobs in the order in which they were accepted."""
        with self._lock:
            found = self._database.execute("SELECT * FROM jobs ORDER BY created_s, rowid")
            return [JobRow(*values) for values in found]

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()
