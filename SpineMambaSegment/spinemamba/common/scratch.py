"""Hidden folders beside outputs, for files that are not whole yet. Standard library only.

Such a folder also takes whatever else a library writes. It always goes again; that of a process
that was killed goes when the next file is written beside it.
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
"""How the hidden folders begin; behind it stand the computer, the process and random letters."""


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """Make a hidden folder in a folder; it goes with everything in it.

    Raises:
        OSError: If it cannot be made.
    """
    sweep(folder)
    prefix = f"{SCRATCH}{_machine()}-{os.getpid()}-"
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove the hidden folders of processes of this computer that have ended."""
    of_ours = re.compile(re.escape(f"{SCRATCH}{_machine()}-") + r"(\d{1,9})-\w+")
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            found = of_ours.fullmatch(path.name)
            if found and _has_ended(int(found[1])):
                shutil.rmtree(path, ignore_errors=True)


def remove_scratch_of(pid: int, folder: Path) -> None:
    """Remove the hidden folders of a process that is being ended."""
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{SCRATCH}*-{pid}-*"):
            # Windows does not delete what the process itself still holds open.
            shutil.rmtree(path, ignore_errors=True)


def _machine() -> str:
    """Return a short name for what numbers of processes belong to: this computer or container."""
    text = platform.node()
    with contextlib.suppress(OSError, AttributeError):
        text += str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:6]


def _has_ended(pid: int) -> bool:
    if os.name == "nt":
        return False  # there, os.kill would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    # One that its parent has not waited for yet is listed, but does nothing any more.
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False
