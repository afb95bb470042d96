"""Fork child processes of one process that has already imported the slow modules."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def start_child(work: Callable[[], int], out: BinaryIO, error: BinaryIO) -> int:
    """Fork a child that runs ``work`` and exits with its return value; return its process ID.

    Args:
        work: Returns the exit code.
        out: Receives the standard output.
        error: Receives the standard error.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.dup2(out.fileno(), 1)
        os.dup2(error.fileno(), 2)
        code = work()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def text_of(file: BinaryIO) -> str:
    """Return what a child wrote."""
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def fill_disk(path: Path, left: int) -> Path:
    """Write a file that leaves ``left`` bytes free on its disk."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(path.parent).free - left)
    return path
