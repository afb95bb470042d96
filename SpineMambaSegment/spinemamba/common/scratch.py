"""Hidden folders beside outputs, for partial files. Standard library only.

Temporary files of libraries are written there, too. The folder is removed at the end; the folder of
a killed process is removed when the next file is written beside it. A folder that it holds while
another one takes its place is put back first; see `folders.replace_folder`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRATCH = ".spinemamba-"
"""Prefix of the hidden folders; computer, process id and random letters follow."""

REPLACED = ".replaced"
"""Folder in a hidden folder for what is being replaced beside the hidden folder."""


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Create a hidden folder in a folder; remove it with its content at the end.

    Raises:
        OSError: If it cannot be created.
    """
    sweep(folder)
    prefix = f"{SCRATCH}{_machine()}-{os.getpid()}-"
    created = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        yield created
    finally:
        _remove(created)


def sweep(folder: Path) -> None:
    """Remove the hidden folders of ended processes of this computer."""
    pattern = re.compile(re.escape(f"{SCRATCH}{_machine()}-") + r"(\d{1,9})-\w+")
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            match = pattern.fullmatch(path.name)
            if match and _has_ended(int(match[1])):
                _remove(path)


def remove_scratch_of(pid: int, folder: Path) -> None:
    """Remove the hidden folders of a process that is being killed."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{SCRATCH}*-{pid}-*"):
            _remove(path)


def _remove(hidden: Path) -> None:
    """Remove a hidden folder; put back what it holds of a place that is empty."""
    with contextlib.suppress(OSError):
        for path in (hidden / REPLACED).iterdir():
            place = hidden.parent / path.name
            if not place.exists():
                path.rename(place)
    # Windows does not delete files that the process still has open.
    shutil.rmtree(hidden, ignore_errors=True)


def _machine() -> str:
    """Return a short hash of the scope of process ids: this computer or container."""
    text = platform.node()
    with contextlib.suppress(OSError, AttributeError):
        text += str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:6]


def _has_ended(pid: int) -> bool:
    if os.name == "nt":
        return False  # on Windows, os.kill would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    # A zombie, whose parent has not waited for it yet, has ended.
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False
