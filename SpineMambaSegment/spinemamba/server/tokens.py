"""Tokens of clients: a file with names and hashes.

A token is 256 random bits, so one SHA-256 protects it: there is no dictionary to try, and a slow
hash would only make wrong tokens expensive for the server.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from spinemamba.common.atomic_files import write_error
from spinemamba.common.errors import Code, UserError
from spinemamba.common.json_schema import JsonFormat, Limits, Sha256
from spinemamba.common.locks import wait_for_lock

_PREFIX = "sm_"
"""Makes tokens recognisable for programs that search for published secrets."""

_TOKEN_BYTES = 32
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}"
"""Pattern of the name of a token; it appears in the audit log."""


@dataclass(frozen=True)
class TokenEntry:
    """A token.

    Attributes:
        name: Name of the client.
        sha256: Hash of the token.
        created: Day on which it was made.
    """

    name: Annotated[str, Limits(pattern=NAME)]
    sha256: Sha256
    created: str


@dataclass(frozen=True)
class TokenList:
    """The tokens of a server.

    Attributes:
        tokens: All tokens, in the order in which they were made.
    """

    tokens: tuple[TokenEntry, ...] = ()

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.tokens]
        if len(set(names)) < len(names):
            raise ValueError("two tokens have the same name")

    def name_of(self, token: str) -> str | None:
        """Return the name of a token, None if it is not in the list.

        Every entry is compared, each in constant time.
        """
        given, found = _hash(token), None
        for entry in self.tokens:
            if hmac.compare_digest(given, entry.sha256):
                found = entry.name
        return found


TOKENS = JsonFormat(
    TokenList,
    "a list of tokens",
    "Make a new one with spinemamba server-token add.",
    version=1,
)
"""Format of the token file."""


class TokenFile:
    """The token file of a running server; changes count without a restart.

    Args:
        path: The file.
    """

    def __init__(self, path: Path):
        self._path = path
        self._stamp: tuple[int, ...] = ()
        self._list = TokenList()

    def current(self) -> TokenList:
        """Return the tokens in the file.

        Raises:
            UserError: If the file cannot be read.
        """
        try:
            status = self._path.stat()
        except OSError as error:
            self._stamp = ()
            raise TOKENS.refusal(self._path.name, error) from error
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp != self._stamp:
            self._list = TOKENS.read(self._path)
            self._stamp = stamp
        return self._list


def read_tokens(path: Path) -> TokenList:
    """Read a token file; an absent one has no tokens.

    Raises:
        UserError: If it is damaged.
    """
    return TOKENS.read(path) if path.exists() else TokenList()


def add_token(path: Path, name: str) -> str:
    """Add a token to a file, which is made if it is missing, and return the token.

    Raises:
        UserError: If the name is not valid or taken, or the file cannot be written.
    """
    token = _PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
    with wait_for_lock(path.parent):
        before = read_tokens(path)
        if any(entry.name == name for entry in before.tokens):
            raise UserError(
                f"There is a token '{name}' already.", "Choose another name, or revoke it first."
            )
        entry = TokenEntry(name, _hash(token), time.strftime("%Y-%m-%d"))
        _write(path, replace(before, tokens=(*before.tokens, entry)))
    return token


def revoke_token(path: Path, name: str) -> None:
    """Remove a token from a file.

    Raises:
        UserError: If there is no such token, or the file cannot be written.
    """
    with wait_for_lock(path.parent):
        before = read_tokens(path)
        kept = tuple(entry for entry in before.tokens if entry.name != name)
        if len(kept) == len(before.tokens):
            names = ", ".join(entry.name for entry in before.tokens) or "none"
            raise UserError(f"There is no token '{name}'.", f"The tokens are: {names}.")
        _write(path, TokenList(kept))


def check_private(path: Path) -> None:
    """Check that other users cannot read or change a file.

    Raises:
        UserError: If they can (INPUT_BAD).
    """
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise UserError(
            f"Other users may read or change {path.name}.", f"Run: chmod 600 {path}", Code.INPUT_BAD
        )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _write(path: Path, content: TokenList) -> None:
    """Write a file that only its owner may read, completely or not at all; the owner stays."""
    text = TOKENS.to_text(content)
    TOKENS.parse_text(text)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        part = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(handle)
            _keep_owner(part, path)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise write_error(path, error) from error


def _keep_owner(part: Path, path: Path) -> None:
    """Give a new file the owner of the one that it replaces, or of its folder.

    Otherwise the server could not read a list that root has changed.
    """
    if os.name != "posix" or os.geteuid() != 0:
        return
    before = (path if path.exists() else path.parent).stat()
    os.chown(part, before.st_uid, before.st_gid)
