"""Tokens of servers: in the keyring of the system, or in a file that only the user can read."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError

_SERVICE = "SpineMamba Segment"
_FILE = "server-tokens.json"


_LEAST_PRIORITY = 1
"""Back ends of the package keyring below it are not keyrings of a system, but files."""


class TokenStore:
    """Tokens by the address of their server.

    Args:
        folder: Folder of the file, which is used where the system has no keyring, or it is locked.
    """

    def __init__(self, folder: Path):
        self._path = folder / _FILE

    def token(self, address: str) -> str:
        """Return the token of a server; empty if there is none, or the keyring is locked."""
        # The file first: what the keyring has under this address was replaced while it was locked.
        if found := self._read().get(address):
            return found
        keyring = _keyring()
        if keyring is not None:
            # A keyring may be locked; its errors are of many types.
            with contextlib.suppress(Exception):
                return str(keyring.get_password(_SERVICE, address) or "")
        return ""

    def fileOf(self, address: str) -> Path | None:
        """Return the file with the token of a server; None if the file does not have it."""
        return self._path if address in self._read() else None

    def keep(self, address: str, token: str) -> None:
        """Remember the token of a server; an empty one removes it.

        Raises:
            UserError: If it cannot be stored, or the keyring does not remove it (OUTPUT_BAD).
        """
        keyring = _keyring()
        isKept = False
        if keyring is not None and token:
            with contextlib.suppress(Exception):
                keyring.set_password(_SERVICE, address, token)
                isKept = True
        elif keyring is not None:
            _remove(keyring, address)
        tokens = self._read()
        before = dict(tokens)
        tokens.pop(address, None)
        if token and not isKept:
            tokens[address] = token
        if tokens != before:
            self._write(tokens)

    def _read(self) -> dict[str, str]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(content, dict):
            return {}
        return {str(key): str(value) for key, value in content.items()}

    def _write(self, tokens: dict[str, str]) -> None:
        """Replace the file; mkstemp creates files that only their owner can read."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".token-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(tokens, file)
            Path(name).replace(self._path)
        except OSError as error:
            raise UserError(
                _("The token cannot be stored: {why}.").format(why=error.strerror),
                _("Free some disk space, or enter it again in the next session."),
                Code.OUTPUT_BAD,
            ) from error


def _remove(keyring: Any, address: str) -> None:
    """Remove a token from a keyring, if it is there.

    Raises:
        UserError: If the keyring is locked (OUTPUT_BAD).
    """
    try:
        if keyring.get_password(_SERVICE, address) is not None:
            keyring.delete_password(_SERVICE, address)
    except Exception as error:
        raise UserError(
            _("The token could not be removed from the keyring of the system."),
            _("Unlock the keyring, and try again."),
            Code.OUTPUT_BAD,
        ) from error


def _keyring() -> Any | None:
    """Return the package keyring if it has a keyring of the system; None otherwise."""
    try:
        import keyring

        return keyring if keyring.get_keyring().priority >= _LEAST_PRIORITY else None
    # Back ends fail in many ways where a desktop session is missing.
    except Exception:
        return None
