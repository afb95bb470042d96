"""Client of the process that forks disturbed runs; see `disturbed_runs`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

RUNNER = Path(__file__).with_name("disturbed_runs.py")
DISK = 'mount -t tmpfs -o size=60m none "$0" && exec "$@"'

Call = dict[str, Any]
Result = dict[str, Any]


class Server:
    """A process that forks the runs; see `disturbed_runs`.

    Args:
        commands: Commands that it can run.
        disk: Where a small disk is mounted, for its processes only; None for no disk.
        env: Environment of all its processes.
    """

    def __init__(self, commands: Iterable[str], disk: Path | None = None, **env: str):
        before = () if disk is None else ("unshare", "-rm", "sh", "-c", DISK, str(disk))
        self._process = subprocess.Popen(
            [*before, sys.executable, str(RUNNER), *commands],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", **env},
        )

    def run(self, call: Call) -> Result:
        """Run a call; return its result."""
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


def can_mount(disk: Path) -> bool:
    """Return whether this user may mount a disk of memory."""
    words = ["unshare", "-rm", "sh", "-c", DISK, str(disk), "true"]
    return bool(shutil.which("unshare")) and not subprocess.run(words, check=False).returncode


def other_locale(folder: Path) -> dict[str, str]:
    """Return the environment in which a locale with a decimal comma can be set, if there is one."""
    words = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")]
    if not shutil.which("localedef") or subprocess.run(words, capture_output=True).returncode:
        return {}
    return {"LOCPATH": str(folder), "OTHER_LOCALE": "de_DE.UTF-8"}
