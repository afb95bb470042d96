"""A lock on a folder, so that two processes do not change one file at once. Standard library only.

It goes when its process ends, however that happens, and leaves nothing behind: on POSIX systems the
folder itself is locked, on Windows a file that the system deletes when it is closed.
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
"""Writing a vertebra takes less than that, also over a network."""

STEP_S = 0.05


@contextmanager
def locked(folder: Path, longest_s: float = LONGEST_S) -> Iterator[None]:
    """Hold the lock of a folder; wait for another process that has it.

    File systems without locks, such as some of networks, are used without one.

    Args:
        folder: An existing folder.
        longest_s: How long to wait.

    Raises:
        UserError: If another process still has it after that time (OUTPUT_BAD).
    """
    held = _take(folder, longest_s)
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def _take(folder: Path, longest_s: float) -> int | None:
    """Return the descriptor that holds the lock; None if the file system has no locks."""
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
    except OSError:  # not readable: whether it can be written, writing will tell
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
    """Return whether a lock was refused because another process has it."""
    if error.errno == errno.EACCES:  # Windows, while the file of another process goes
        return fcntl is not None or (folder / LOCK).exists()
    return error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EEXIST)
