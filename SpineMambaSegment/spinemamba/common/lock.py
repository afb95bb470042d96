"""Lock files, for work that only one process at a time may do. Standard library only."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from spinemamba.common.atomic_files import write_error
from spinemamba.common.errors import Code, UserError

FAR_BYTE = 1 << 20
"""Offset of the locked byte on Windows, beyond the text: locked bytes cannot be read."""


@contextmanager
def exclusive_lock(path: Path, work: str) -> Iterator[None]:
    """Hold a lock file while the block runs; it is removed afterwards.

    The operating system releases the lock when the process ends, also after a crash: a lock file
    left by a killed process is not locked.

    Args:
        path: Lock file, in the folder to protect.
        work: Noun for the message, such as "training".

    Raises:
        UserError: If another process holds the lock, or the file cannot be written (OUTPUT_BAD).
    """
    try:
        file = _locked(path)
    except OSError as error:
        # The user knows the folder, but not this file.
        raise write_error(path.parent, error) from error
    if file is None:
        raise UserError(
            f"Another {work} is running in {path.parent} ({_holder(path)}).",
            "Wait until it ends, or choose another folder.",
            Code.OUTPUT_BAD,
        )
    try:
        yield
    finally:
        _release(file, path)


def _locked(path: Path) -> TextIO | None:
    """Return the lock file, open and locked; None if another process holds the lock."""
    while True:
        file = path.open("a+", encoding="utf-8")
        if not _take(file):
            file.close()
            return None
        if _is_same_file(file, path):
            break
        file.close()
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node() or 'this computer'}\n")
        file.flush()
    except OSError:
        _release(file, path)
        raise
    return file


def _release(file: TextIO, path: Path) -> None:
    # Windows does not remove open files; a file that remains is not locked.
    with contextlib.suppress(OSError):
        path.unlink()
    # After a failed write, closing fails too, because it flushes.
    with contextlib.suppress(OSError):
        file.close()


def _is_same_file(file: TextIO, path: Path) -> bool:
    """Return whether the open file still has its name; the last holder may have removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _take(file: TextIO) -> bool:
    if os.name == "nt":
        import msvcrt

        os.lseek(file.fileno(), FAR_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network drives have no locks; work there is not protected
        return True
    return True


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except (OSError, ValueError):
        return "another process"
