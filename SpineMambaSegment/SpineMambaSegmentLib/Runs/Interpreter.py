"""Python interpreter for the worker and other commands."""

from __future__ import annotations

import shutil
import sys


def path() -> str:
    """Return the path of Slicer's Python; in Slicer, this is the launcher PythonSlicer."""
    return shutil.which("PythonSlicer") or sys.executable
