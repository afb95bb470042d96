"""Lock a folder against other processes that write to it. Standard library only.

The lock ends with its process, also after a crash, and leaves no file: POSIX systems lock the
folder itself, Windows a file that the system deletes when it is closed.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spinemamba.common.errors import Code, UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = ".spinemamba-lock"
LONGEST_S = 60.0
"""Longest wait; writing a vertebra takes less, also over a network."""

STEP_S = 0.05


@contextmanager
def locked(folder: Path, longest_s: float = LONGEST_S) -> Iterator[None]:
    """Hold the lock of a folder; wait while another process holds it.

    File systems without locks, such as some network drives, are used without one.

    Args:
        folder: An existing folder.
        longest_s: Longest time to wait, in seconds.

    Raises:
        UserError: If another process still holds the lock after that time (OUTPUT_BAD).
    """
    descriptor = _take(folder, longest_s)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _take(folder: Path, longest_s: float) -> int | None:
    """Return the file descriptor that holds the lock; None if the file system has no locks."""
    end = time.monotonic() + longest_s
    while True:
        try:
            return _open_folder(folder) if fcntl is not None else _open_file(folder)
        except OSError as error:
            if not _is_held(folder, error):
                return None
        if time.monotonic() >= end:
            raise UserError(
                f"Another program is writing into the folder {folder.name}.",
                "Wait until it has finished, or choose another folder.",
                Code.OUTPUT_BAD,
            )
        time.sleep(STEP_S)


def _open_folder(folder: Path) -> int | None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # not readable; a later write reports whether the folder is writable
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_file(folder: Path) -> int:
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_TEMPORARY", 0)
    return os.open(folder / LOCK, flags)


def _is_held(folder: Path, error: OSError) -> bool:
    """Return whether a lock was refused because another process holds it."""
    if error.errno == errno.EACCES:  # Windows, while the file of another process is being deleted
        return fcntl is not None or (folder / LOCK).exists()
    return error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EEXIST)
