"""Runs of commands in children of one process, which has imported what they need."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def start(work: Callable[[], int], out: BinaryIO, error: BinaryIO) -> int:
    """Start a child that works and exits with what the work returns; return its number.

    Args:
        work: What to do.
        out: Takes its standard output.
        error: Takes its standard error.
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


def fill(path: Path, left: int) -> Path:
    """Write a file that leaves so many bytes of its disk."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(path.parent).free - left)
    return path
