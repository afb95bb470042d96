"""Address of a server, with credentials and trusted certificates. Standard library only."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from spinemamba.common.errors import Code, UserError


@dataclass(frozen=True)
class Site:
    """A server and how to reach it.

    Attributes:
        url: Beginning of all its addresses, such as "https://host:8443/dicom-web".
        authorization: Value of the header Authorization; empty for none.
        ca_file: Certificates to trust, in PEM format; None for those of the system.

    Raises:
        UserError: If the URL is not one of HTTP, or credentials would be sent without encryption.
    """

    url: str
    authorization: str = field(default="", repr=False)
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        except ValueError:
            valid = False
        if not valid or not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            raise UserError(
                f"{without_secrets(self.url)} is not the address of a server.",
                "Give an address such as https://host:8443.",
            )
        if parts.query or parts.fragment or parts.username is not None:
            raise UserError(
                f"The address {without_secrets(self.url)} has a user, a query or a fragment.",
                "Give the address only, and the token in a file.",
            )
        if self.authorization and not self.is_encrypted and not self.is_local:
            raise UserError(
                f"The token would be sent to {self.host} without encryption.",
                "Use an address that begins with https://.",
                Code.SERVER_REFUSED,
            )

    @property
    def host(self) -> str:
        """Host and port, as in the address."""
        parts = urlsplit(self.url)
        return parts.netloc.rpartition("@")[2]

    @property
    def is_encrypted(self) -> bool:
        """Whether the address begins with https."""
        return urlsplit(self.url).scheme == "https"

    @property
    def is_local(self) -> bool:
        """Whether the server is on this computer."""
        name = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return name == "localhost"


def without_secrets(url: str) -> str:
    """Return an address without user, password and query."""
    start, slashes, rest = url.partition("//")
    return f"{start}{slashes}{rest.rpartition('@')[2]}".partition("?")[0]
