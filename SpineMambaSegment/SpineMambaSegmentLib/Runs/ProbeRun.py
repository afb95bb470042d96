"""What this computer can do, asked of a process of its own: torch stays out of Slicer's."""

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
        # Both pipes are read together, lest a full one stops the process.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def isRunning(self) -> bool:
        """Return whether the answer is still to come."""
        return self._reader.is_alive()

    def facts(self) -> dict[str, Any]:
        """Return what `spinemamba.inference.probe.probe` found; waits for it.

        Raises:
            ValueError: If there is no answer; says why in one line.
        """
        self._reader.join()
        answer, errors = self._texts
        # A launcher may print lines of its own before the answer.
        start = answer.find("{")
        try:
            return json.loads(answer[max(start, 0) :])
        except ValueError as error:
            last = errors.strip().splitlines()[-1:] or ["no answer"]
            raise ValueError(last[0]) from error

    def stop(self) -> None:
        """End it at once."""
        if self._process.poll() is None:
            kill_group(self._process)
        self._reader.join()

    def _read(self) -> None:
        self._texts = self._process.communicate()
