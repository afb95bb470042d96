"""Query of devices and packages in a separate process, because Slicer must not import torch."""

from __future__ import annotations

import json
import subprocess
import threading
from typing import Any

from spinemamba.protocol.worker_client import kill_group, start_module
from SpineMambaSegmentLib.Runs import Interpreter


class ProbeRun:
    """Runs ``python -m spinemamba probe``; starts at once."""

    def __init__(self) -> None:
        self._process = start_module(Interpreter.path(), ["spinemamba", "probe"], subprocess.PIPE)
        self._texts = ("", "")
        # Both pipes are read together: a full pipe would block the process.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def isRunning(self) -> bool:
        """Return True until the process has ended."""
        return self._reader.is_alive()

    def facts(self) -> dict[str, Any]:
        """Wait for the process, and return the result of `spinemamba.inference.probe.probe`.

        Raises:
            ValueError: If there is no result; the message is one line.
        """
        self._reader.join()
        answer, errors = self._texts
        # A launcher may print other lines before the result.
        start = answer.find("{")
        try:
            return json.loads(answer[max(start, 0) :])
        except ValueError as error:
            last = errors.strip().splitlines()[-1:] or ["no answer"]
            raise ValueError(last[0]) from error

    def stop(self) -> None:
        """Kill the process."""
        if self._process.poll() is None:
            kill_group(self._process)
        self._reader.join()

    def _read(self) -> None:
        self._texts = self._process.communicate()
