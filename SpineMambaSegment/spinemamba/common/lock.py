"""Let one process at a time work in a folder. Standard library only."""

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
"""Byte that is locked on Windows, where what is locked cannot be read: beyond the text."""


@contextmanager
def exclusive_lock(path: Path, work: str) -> Iterator[None]:
    """Hold a lock file while the block runs; it is removed afterwards.

    The operating system releases the lock when its process ends, however it ends: a file that a
    killed process left behind locks nothing.

    Args:
        path: The lock file, in the folder that is to be protected.
        work: What runs in the folder, for the message: "training".

    Raises:
        UserError: If another process holds the lock, or the file cannot be written (OUTPUT_BAD).
    """
    try:
        file = _locked(path)
    except OSError as error:
        # The user knows the folder, and not this file.
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
        _let_go(file, path)


def _locked(path: Path) -> TextIO | None:
    """Return the lock file, locked and open; None if another process has it."""
    while True:
        file = path.open("a+", encoding="utf-8")
        if not _take(file):
            file.close()
            return None
        if _is_still(file, path):
            break
        file.close()
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node() or 'this computer'}\n")
        file.flush()
    except OSError:
        _let_go(file, path)
        raise
    return file


def _let_go(file: TextIO, path: Path) -> None:
    # Windows removes no open file; one that stays locks nothing.
    with contextlib.suppress(OSError):
        path.unlink()
    # What could not be written cannot be flushed either.
    with contextlib.suppress(OSError):
        file.close()


def _is_still(file: TextIO, path: Path) -> bool:
    """Return whether the file has its name still: its last holder may just have removed it."""
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
    except OSError:  # some network drives know no locks; work there goes unprotected
        return True
    return True


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "another process"
    except (OSError, ValueError):
        return "another process"
