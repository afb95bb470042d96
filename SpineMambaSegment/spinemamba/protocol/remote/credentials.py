"""Tokens and passwords, read from files: arguments of a command are visible to other users.

Standard library only.
"""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

from spinemamba.common.errors import UserError
from spinemamba.common.progress import Warn

_MOST_BYTES = 8192


def bearer(path: Path, warn: Warn) -> str:
    """Return the value of the header Authorization for a token.

    Args:
        path: File whose first line is the token.
        warn: Called with a warning if other users of this computer can read the file.

    Raises:
        UserError: If the file cannot be read, or holds no token.
    """
    return f"Bearer {_secret(path, 'token', warn)}"


def bearer_of(token: str) -> str:
    """Return the value of the header Authorization for a token; empty without one.

    Raises:
        UserError: If the token has characters that a header cannot hold.
    """
    return f"Bearer {_checked(token, 'The token')}" if token else ""


def basic(path: Path, warn: Warn) -> str:
    """Return the value of the header Authorization for a user and a password.

    Args:
        path: File whose first line is ``user:password``.
        warn: As for `bearer`.

    Raises:
        UserError: If the file cannot be read, or its line has no colon.
    """
    secret = _secret(path, "user:password", warn)
    if ":" not in secret:
        raise UserError(
            f"The first line of {path.name} has no colon.", "Write user:password in its first line."
        )
    return f"Basic {base64.b64encode(secret.encode()).decode()}"


def _secret(path: Path, kind: str, warn: Warn) -> str:
    """Return the first line of a file; messages never contain it."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MOST_BYTES)
    except OSError as error:
        raise UserError(
            f"The file {path.name} with the {kind} cannot be read: {error.strerror}.",
            "Check its path and its permissions.",
        ) from error
    if os.name == "posix" and stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
        warn(f"Other users of this computer can read {path.name}; run: chmod 600 {path.name}")
    line = data.decode("utf-8", "replace").split("\n", 1)[0].strip()
    return _checked(line, f"The first line of {path.name}", kind)


def _checked(text: str, what: str, kind: str = "token") -> str:
    """Return a secret that fits into a header.

    Raises:
        UserError: If it is empty, or has other characters than printable ASCII.
    """
    if not text or not text.isascii() or not text.isprintable():
        raise UserError(
            f"{what} is empty, or has characters that no {kind} has.",
            f"Write the {kind} in plain ASCII letters.",
        )
    return text
