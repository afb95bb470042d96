"""Write files whole or not at all, one or several. Standard library only."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from spinemamba.errors import Code, UserError


@contextmanager
def whole_or_nothing(path: Path) -> Iterator[Path]:
    """Give a temporary name in the same folder, which becomes ``path`` when all went well.

    Raises:
        UserError: If the disk is full (DISK_FULL) or the folder cannot be written (OUTPUT_BAD).
    """
    partial = beside(path, "partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def write_together(contents: Mapping[Path, bytes], replaceable: Collection[Path] = ()) -> None:
    """Write several files, all of them or none; what was there before comes back if one fails.

    Each is read again and compared before any gets its name.

    Args:
        contents: What goes where.
        replaceable: Files that may be there already.

    Raises:
        UserError: If one is there that may not be replaced, or one cannot be written
            (OUTPUT_BAD), or the disk is full (DISK_FULL).
    """
    path = next(iter(contents))
    try:
        for path, data in contents.items():
            if path.exists() and path not in replaceable:
                raise already_there([path])
            _write(beside(path, "partial"), data)
        _rename_together(list(contents))
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        for path in contents:
            # A file that cannot be deleted must not hide why the others could not be written.
            with contextlib.suppress(OSError):
                beside(path, "partial").unlink(missing_ok=True)


def beside(path: Path, state: str) -> Path:
    """Return a hidden name in the folder of a file, for one process alone."""
    return path.with_name(f".{state}-{os.getpid()}-{path.name}")


def check_spelling(path: Path) -> None:
    """Refuse a path that is no text: the libraries that read and write images end the process.

    Raises:
        UserError: If its bytes are no UTF-8 (INPUT_BAD).
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        raise UserError(
            f"The path {shown} is not valid UTF-8 text.", "Rename the file or the folder."
        ) from error


def already_there(paths: Collection[Path]) -> UserError:
    """Return the error that files exist which were not to be replaced."""
    names = ", ".join(sorted(path.name for path in paths)[:3])
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return UserError(
        f"The folder already holds {names}{more}.",
        "Choose another folder or case name, or allow that they are replaced.",
        Code.OUTPUT_BAD,
    )


def cannot_write(path: Path, error: OSError) -> UserError:
    """Return what the user can do about a file that cannot be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return UserError(
        f"Cannot write {path.name}: {error.strerror}.",
        "Free some disk space." if full else "Choose a folder that you may write to.",
        Code.DISK_FULL if full else Code.OUTPUT_BAD,
    )


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        # Some systems tell only now that the disk is full.
        os.fsync(file.fileno())
    if sha256(path.read_bytes()) != sha256(data):
        raise OSError(errno.EIO, "what was written reads back different")


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _rename_together(paths: list[Path]) -> None:
    """Give partial files their names, or none of them."""
    done: list[Path] = []
    try:
        for path in paths:
            if path.exists():
                path.replace(beside(path, "replaced"))
            done.append(path)
            beside(path, "partial").replace(path)
    # Also when the user interrupts.
    except BaseException:
        for path in done:
            path.unlink(missing_ok=True)
            if beside(path, "replaced").exists():
                beside(path, "replaced").replace(path)
        raise
    for path in done:
        beside(path, "replaced").unlink(missing_ok=True)
