"""Installation of Python packages by pip in a separate process, so that Slicer stays responsive."""

from __future__ import annotations

import collections
import importlib
import subprocess
import threading

from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.worker_client import kill_group, start_module
from SpineMambaSegmentLib.Runs.CommandRun import interpreter

_OPTIONS = ("--no-input", "--disable-pip-version-check", "--no-color")
_KEPT_LINES = 200
_NO_NETWORK = ("NewConnectionError", "ConnectTimeoutError", "Temporary failure in name resolution")
_NO_NETWORK += ("getaddrinfo failed", "Network is unreachable", "ProxyError")
"""Parts of pip's messages when it cannot reach the package index."""


class PipRun:
    """Runs ``python -m pip install``; starts at once.

    Args:
        arguments: Requirements and options of pip.
    """

    def __init__(self, arguments: list[str]):
        command = ["pip", "install", *_OPTIONS, *arguments]
        self._process = start_module(interpreter(), command, subprocess.STDOUT)
        self._process.stdin.close()
        self._lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def isRunning(self) -> bool:
        """Return True until the process has ended."""
        return self._reader.is_alive()

    def line(self) -> str:
        """Return the last line that pip has written; empty at the start."""
        return self._lines[-1] if self._lines else ""

    def stop(self) -> None:
        """Kill the process, and wait for its end."""
        if self._process.poll() is None:
            kill_group(self._process)
        self._reader.join()

    def finish(self) -> None:
        """Wait for the process; then the installed packages can be imported.

        Raises:
            UserError: If pip failed; the message contains its last error.
        """
        self._reader.join()
        importlib.invalidate_caches()
        if self._process.returncode == 0:
            return
        lines = list(self._lines)
        if any(word in line for word in _NO_NETWORK for line in lines):
            raise UserError(
                _("pip could not reach the package index."),
                _("Check the network, or press Install from wheels in the section Setup."),
                Code.DEPENDENCY_MISSING,
            )
        errors = [line for line in lines if line.startswith("ERROR:")] or lines[-1:]
        why = errors[-1].removeprefix("ERROR:").strip() if errors else _("no message")
        raise UserError(
            _("pip could not install the packages: {why}").format(why=why),
            _("Free disk space, check the network, or press Install from wheels."),
            Code.DEPENDENCY_MISSING,
        )

    def _read(self) -> None:
        for line in self._process.stdout:
            if line.strip():
                self._lines.append(line.strip())
        self._process.wait()
