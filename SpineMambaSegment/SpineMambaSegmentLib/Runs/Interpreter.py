"""Which Python runs the worker and other commands."""

from __future__ import annotations

import shutil
import sys


def path() -> str:
    """Return the interpreter of this Slicer; inside the application that is a launcher."""
    return shutil.which("PythonSlicer") or sys.executable
