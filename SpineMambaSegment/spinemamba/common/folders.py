"""Replace a folder by another one. Standard library only."""

from __future__ import annotations

import contextlib
from pathlib import Path

from spinemamba.common.atomic_files import write_error

_ATTEMPTS = 5
"""Another process may put a folder in the same place between two steps."""


def replace_folder(new: Path, target: Path, before: Path) -> None:
    """Rename a complete folder to its place; at any time, the target is old, new or missing.

    Args:
        new: The folder, on the same disk.
        target: Its place; an existing folder is moved away.
        before: Beginning of the path to which an existing folder is moved, in a folder that the
            caller deletes.

    Raises:
        UserError: If the folder cannot be renamed (OUTPUT_BAD, DISK_FULL).
    """
    for attempt in range(_ATTEMPTS):
        with contextlib.suppress(FileNotFoundError):
            target.rename(before.with_name(f"{before.name}-{attempt}"))
        try:
            new.rename(target)
        except OSError as error:
            if attempt + 1 == _ATTEMPTS or not target.exists():
                raise write_error(target, error) from error
            continue
        return
