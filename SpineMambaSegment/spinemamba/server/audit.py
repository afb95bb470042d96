"""The audit log: who sent what amount when, and how long it took. Nothing that names a patient."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

_LARGEST_BYTES = 20 << 20
"""Then the file is renamed, and the one before it is removed."""


class AuditLog:
    """A file with one JSON object per line; usable from several threads.

    A full disk does not stop the server; lost lines are counted.

    Args:
        path: The file.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self.lost = 0

    def add(self, event: str, client: str = "", **values: str | float) -> None:
        """Add a line.

        Args:
            event: What happened, such as "accepted".
            client: Name of the token.
            values: Numbers, ids and codes; never a text that a client sent.
        """
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"time": now, "event": event, "client": client, **values}) + "\n"
        with self._lock:
            try:
                self._write(line.encode())
            except OSError:
                self.lost += 1

    def _write(self, line: bytes) -> None:
        handle = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            os.write(handle, line)
            is_large = os.fstat(handle).st_size > _LARGEST_BYTES
        finally:
            os.close(handle)
        if is_large:
            self._path.replace(self._path.with_suffix(".1.log"))
