"""Convert exceptions to messages for the user and to stacks for a log. Standard library only."""

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
"""Messages of torch (Linux and Windows), ITK and C++ for a failed allocation."""

NO_FOLDER_FOR_TEMPORARY_FILES = "No usable temporary directory"
"""Message of Python's tempfile, whose error has no file name."""

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
    """Return whether an exception was caused by too little memory."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # Torch and ITK have no exception type for this; only the message differs.
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in message for word in NO_MEMORY_WORDS)


def no_host_memory() -> UserError:
    """Return the error for too little main memory."""
    return UserError(
        "This computer has too little free memory for this volume.",
        "Close other programs, or crop the volume to the spine.",
        Code.OOM_HOST,
    )


def as_user_error(error: BaseException) -> UserError | None:
    """Return the user error for an exception that no other code has handled.

    Args:
        error: Any exception.

    Returns:
        An error for too little memory, a full disk, or a file that the operating system refuses
        to open; None for a bug, which includes missing files of the package itself.
    """
    if is_no_memory(error):
        return no_host_memory()
    if not isinstance(error, OSError):
        return None
    if NO_FOLDER_FOR_TEMPORARY_FILES in str(error):
        return UserError(
            "There is no writable folder for temporary files.",
            "Set the environment variable TMPDIR to a writable folder.",
            Code.OUTPUT_BAD,
        )
    if error.errno == errno.ENOENT and _working_directory_is_missing():
        return UserError(
            "The working directory does not exist any more.",
            "Change to another folder, or use absolute paths.",
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


def _working_directory_is_missing() -> bool:
    """Return whether the working directory was removed."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def stack_of(error: BaseException) -> str:
    """Return the traceback of an exception and its causes, without their messages.

    Messages of libraries may contain values, such as that of a DICOM tag. A log is passed on to
    developers and must not name a patient.
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
