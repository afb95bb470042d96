"""Replace a folder by another one. Standard library only."""

from __future__ import annotations

import contextlib
from pathlib import Path

from spinemamba.common.atomic_files import write_error
from spinemamba.common.scratch import REPLACED

_ATTEMPTS = 5
"""Another process may put a folder in the same place between two steps."""


def replace_folder(new: Path, target: Path, hidden: Path) -> None:
    """Rename a complete folder to its place; afterwards, the place has the old or the new one.

    Most systems cannot exchange two folders in one step. If the process is stopped between both
    steps, the end of `scratch`, or the next one beside the target, puts the old folder back.

    Args:
        new: The folder, on the same disk.
        target: Its place; an existing folder is moved away.
        hidden: Folder of `scratch` beside the target.

    Raises:
        UserError: If the folder cannot be renamed (OUTPUT_BAD, DISK_FULL).
    """
    moved = hidden / REPLACED / target.name
    for attempt in range(_ATTEMPTS):
        with contextlib.suppress(FileNotFoundError):
            moved.parent.mkdir(exist_ok=True)
            target.rename(moved)
        try:
            new.rename(target)
        except OSError as error:
            if attempt + 1 == _ATTEMPTS or not target.exists():
                raise write_error(target, error) from error
            _discard(moved, attempt)
            continue
        _discard(moved, attempt)
        return


def _discard(moved: Path, attempt: int) -> None:
    """Rename a replaced folder, so that it is not put back if a user deletes the new one."""
    with contextlib.suppress(FileNotFoundError):
        moved.rename(moved.parent.with_name(f"{REPLACED}-{attempt}"))
