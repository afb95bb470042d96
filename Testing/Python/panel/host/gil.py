"""An event loop that holds the GIL between ticks, as Slicer's does.

PySide6 releases the GIL while Qt waits; PythonQt does not, and Slicer's main thread keeps it. A
thread of Python runs there only while the interpreter hands over inside Python code, that is during
ticks: every 5 ms of Python code, and whenever the main thread waits in a call that releases it.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable

from PySide6 import QtCore, QtWidgets

IDLE_S = 0.01
"""How long the event loop waits when it has nothing to do."""


def _sleep_holding(seconds: float) -> None:
    """Wait without giving other threads of Python a turn."""
    if sys.platform == "win32":
        ctypes.PyDLL("kernel32").Sleep(round(seconds * 1e3))
    else:
        ctypes.PyDLL(None).usleep(round(seconds * 1e6))


def pump(until: Callable[[], bool], seconds: float = 30.0, *, holding: bool = True) -> float:
    """Run Qt's event loop until a condition holds; the GIL is held between its ticks.

    Args:
        until: The condition, asked after every round.
        seconds: Time limit.
        holding: False waits as PySide6 does, for comparison.

    Returns:
        The longest time in seconds of one round without the wait: how long the window stood still.

    Raises:
        AssertionError: If the condition does not hold in time.
    """
    wait = _sleep_holding if holding else time.sleep
    start_s, longest_s = time.monotonic(), 0.0
    while True:
        before_s = time.monotonic()
        QtWidgets.QApplication.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents)
        done = until()
        longest_s = max(longest_s, time.monotonic() - before_s)
        if done:
            return longest_s
        if time.monotonic() - start_s > seconds:
            raise AssertionError(f"the condition did not hold within {seconds} s")
        wait(IDLE_S)
