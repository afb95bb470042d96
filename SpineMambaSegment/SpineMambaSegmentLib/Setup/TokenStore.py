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


class TokenStore:
    """Tokens by the address of their server.

    Args:
        folder: Folder of the file, which is used where the system has no keyring.
    """

    def __init__(self, folder: Path):
        self._path = folder / _FILE

    def token(self, address: str) -> str:
        """Return the token of a server; empty if there is none."""
        keyring = _keyring()
        if keyring is not None:
            # A keyring may be locked; its errors are of many types.
            with contextlib.suppress(Exception):
                if found := keyring.get_password(_SERVICE, address):
                    return str(found)
        return self._read().get(address, "")

    def keep(self, address: str, token: str) -> None:
        """Remember the token of a server; an empty one removes it.

        Raises:
            UserError: If it cannot be stored (OUTPUT_BAD).
        """
        keyring = _keyring()
        isKept = False
        if keyring is not None:
            with contextlib.suppress(Exception):
                if token:
                    keyring.set_password(_SERVICE, address, token)
                    isKept = True
                else:
                    keyring.delete_password(_SERVICE, address)
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


def _keyring() -> Any | None:
    """Return the package keyring if it has a keyring of the system; None otherwise."""
    try:
        import keyring

        return keyring if keyring.get_keyring().priority > 0 else None
    # Back ends fail in many ways where a desktop session is missing.
    except Exception:
        return None
