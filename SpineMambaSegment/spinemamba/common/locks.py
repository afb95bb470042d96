"""Locks between processes; a lock ends with its process, also after a crash. Standard library only.

`try_lock` refuses at once if the lock is held, for work that takes hours; its lock file says which
process works there. `wait_for_lock` waits, for work that takes seconds, and leaves no file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from spinemamba.common.atomic_files import write_error
from spinemamba.common.errors import Code, UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FAR_BYTE = 1 << 20
"""Offset of the locked byte on Windows, beyond the text: locked bytes cannot be read."""

LOCK = ".spinemamba-lock"
LONGEST_S = 60.0
"""Longest wait; writing a vertebra takes less, also over a network."""

STEP_S = 0.05


@contextmanager
def try_lock(path: Path, work: str) -> Iterator[None]:
    """Hold a lock file while the block runs; it is removed afterwards.

    The operating system releases the lock when the process ends, also after a crash: a lock file
    left by a killed process is not locked.

    Args:
        path: Lock file, in the folder to protect.
        work: Noun for the message, such as "training".

    Raises:
        UserError: If another process holds the lock, or the file cannot be written (OUTPUT_BAD).
    """
    lock = FileLock.take(path)
    if lock is None:
        raise UserError(
            f"Another {work} is running in {path.parent} ({_holder(path)}).",
            "Wait until it ends, or choose another folder.",
            Code.OUTPUT_BAD,
        )
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class FileLock:
    """A lock that this process holds; as in `try_lock`, without a block of code.

    Attributes:
        file: The lock file, open and locked.
        path: Its path.
    """

    file: TextIO
    path: Path

    @classmethod
    def take(cls, path: Path) -> FileLock | None:
        """Lock a file; return None if another process holds the lock.

        Raises:
            UserError: If the file cannot be written (OUTPUT_BAD).
        """
        try:
            file = _open_locked(path)
        except OSError as error:
            # The user knows the folder, but not this file.
            raise write_error(path.parent, error) from error
        return None if file is None else cls(file, path)

    def release(self) -> None:
        """Remove the lock file, and end the lock."""
        _release(self.file, self.path)


def _open_locked(path: Path) -> TextIO | None:
    """Return the lock file, open and locked; None if another process holds the lock."""
    while True:
        file = path.open("a+", encoding="utf-8")
        if not _lock_file(file):
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


def _lock_file(file: TextIO) -> bool:
    if fcntl is None:
        import msvcrt

        os.lseek(file.fileno(), _FAR_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
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


@contextmanager
def wait_for_lock(folder: Path, longest_s: float = LONGEST_S) -> Iterator[None]:
    """Hold the lock of a folder while the block runs; wait while another process holds it.

    POSIX systems lock the folder itself, Windows a file that the system deletes when it is closed.

    File systems without locks, such as some network drives, are used without one.

    Args:
        folder: An existing folder.
        longest_s: Longest time to wait, in seconds.

    Raises:
        UserError: If another process still holds the lock after that time (OUTPUT_BAD).
    """
    descriptor = _wait(folder, longest_s)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _wait(folder: Path, longest_s: float) -> int | None:
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
