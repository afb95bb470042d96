"""What became of an exception, in words for the user and in lines for a log. Standard library."""

from __future__ import annotations

import errno
import os
import traceback
from pathlib import Path

from spinemamba.common.atomic_files import FULL
from spinemamba.common.errors import Code, UserError

NO_MEMORY_WORDS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "failed to allocate memory",
    "bad_alloc",
    "bad allocation",
)
"""How torch (on Linux and on Windows), ITK and C++ say that there is no memory."""

NO_FOLDER_FOR_TEMPORARY_FILES = "No usable temporary directory"
"""How Python's tempfile says it, without a file name."""

PACKAGE = Path(__file__).resolve().parents[1]
CHECK = "Check the path and its disk."
REMEDIES = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR), "Check the path."),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM),
        "Ask for permission to use it, or copy it to a folder of your own.",
    ),
    errno.ENAMETOOLONG: "Give a shorter name.",
    errno.EIO: "Copy it to another disk and try again.",
}


def is_no_memory(error: BaseException) -> bool:
    """Return whether an exception says that there is too little memory."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # Torch and ITK have no type of their own for this; only their words tell.
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in words for word in NO_MEMORY_WORDS)


def no_host_memory() -> UserError:
    """Return what the user can do where there is too little memory."""
    return UserError(
        "This computer has too little free memory for this volume.",
        "Close other programs, or crop the volume to the spine.",
        Code.OOM_HOST,
    )


def as_user_error(error: BaseException) -> UserError | None:
    """Return what the user can do about an exception that nothing else has explained.

    Args:
        error: Any exception.

    Returns:
        The sentence for too little memory, a full disk, and files that the system does not let us
        use; None if it is a bug of ours, as are missing files of the package itself.
    """
    if is_no_memory(error):
        return no_host_memory()
    if not isinstance(error, OSError):
        return None
    if NO_FOLDER_FOR_TEMPORARY_FILES in str(error):
        return UserError(
            "There is no folder for temporary files that can be written.",
            "Let the environment variable TMPDIR name one.",
            Code.OUTPUT_BAD,
        )
    if error.errno == errno.ENOENT and _is_lost():
        return UserError(
            "The folder in which the command was called is not there any more.",
            "Change to another folder, or give whole paths.",
        )
    full = error.errno in FULL
    code = Code.DISK_FULL if full else Code.INPUT_BAD
    if not isinstance(error.filename, str | bytes):
        return UserError("The disk is full.", "Free some disk space.", code) if full else None
    path = Path(os.fsdecode(error.filename))
    if PACKAGE in path.absolute().parents:
        return None
    reason = (error.strerror or type(error).__name__).rstrip(".")
    remedy = "Free some disk space." if full else REMEDIES.get(error.errno, CHECK)
    return UserError(f"{path} cannot be used: {reason}.", remedy, code)


def _is_lost() -> bool:
    """Return whether the working directory was removed, so that relative paths lead nowhere."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def stack_of(error: BaseException) -> str:
    """Return where an exception and its causes arose, line by line, without their messages.

    Messages of libraries hold values: that of a DICOM tag that could not be read, for one. A log
    is passed on, and must not name a patient.
    """
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain:
        chain.append(step)
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
    parts = []
    for item in reversed(chain):
        lines = "".join(traceback.format_tb(item.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{lines}{_name(type(item))}\n")
    return "\nwhich led to\n\n".join(parts)


def _name(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
