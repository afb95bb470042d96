"""Requests to one server over HTTP or HTTPS. Standard library only.

Certificates are always verified. Redirects are not followed, because the credentials would go to
another server. Proxies named in the environment are not used.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

from spinemamba import __version__
from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.remote.site import Site

TIMEOUT_S = 60.0
"""Longest time without a byte from the server."""

_CONNECT_S = 10.0
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_BLOCK = 1 << 18
_LEAST_STATUS, _MOST_STATUS = 200, 299
_REPEATABLE = ("GET", "HEAD", "DELETE")
_OUT_OF_DATE = (9, 10)
"""Codes of OpenSSL for a certificate that is not valid yet, and for one that has expired."""

_LOST = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)

Body = bytes | Iterable[bytes] | None


class UnreachableError(UserError):
    """The server does not answer; a later attempt may succeed."""

    def __init__(self, message: str, remedy: str):
        super().__init__(message, remedy, Code.SERVER_UNREACHABLE)


class RefusedError(UserError):
    """The server has answered with an error.

    Args:
        status: Status code of HTTP.
        message: As for `UserError`.
        remedy: As for `UserError`.
        retry_after_s: Wait that the server asks for, or None.
        code: Kind of error.
    """

    def __init__(
        self,
        status: int,
        message: str,
        remedy: str,
        retry_after_s: float | None = None,
        code: Code = Code.SERVER_REFUSED,
    ):
        super().__init__(message, remedy, code)
        self.status, self.retry_after_s = status, retry_after_s

    @property
    def is_transient(self) -> bool:
        """Whether a later attempt may succeed."""
        return self.status in _TRANSIENT


@dataclass(frozen=True)
class Answer:
    """Answer of a server; its body is read once.

    Attributes:
        status: Status code.
        headers: Headers, with names in lower case.
    """

    status: int
    headers: Mapping[str, str]
    _response: http.client.HTTPResponse
    _connection: Connection

    @property
    def is_good(self) -> bool:
        """Whether the request succeeded."""
        return _LEAST_STATUS <= self.status <= _MOST_STATUS

    def body(self, most_bytes: int) -> bytes:
        """Return the body.

        Raises:
            UserError: If it is longer than ``most_bytes``.
            UnreachableError: If the connection breaks.
        """
        return b"".join(self.blocks(most_bytes))

    def blocks(self, most_bytes: int) -> Iterator[bytes]:
        """Yield the body in blocks. Errors as for `body`."""
        left, host = most_bytes, self._connection.site.host
        with translated_errors(host), self._connection.closed_after_error():
            has_end = self._response.length is not None or self._response.chunked
            while block := self._response.read(_BLOCK):
                has_end = True
                left -= len(block)
                if left < 0:
                    raise UserError(
                        f"The answer of {host} is longer than {most_bytes / 1e6:.0f} MB.",
                        "Check the address.",
                        Code.SERVER_REFUSED,
                    )
                yield block
            # http.client returns a short body of known length without an error.
            # So it does after headers that the network has cut off before the length.
            if self._response.length or not has_end:
                raise http.client.IncompleteRead(b"", self._response.length)

    @property
    def retry_after_s(self) -> float | None:
        """Wait that the server asks for; None if it gives none in seconds."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isdecimal() and len(text) < 7 else None

    def drop(self) -> None:
        """Close the connection without reading the rest."""
        self._connection.close()


class Connection:
    """Connection to a server, kept open between requests; for one thread.

    Args:
        site: The server.
        timeout_s: Longest time without a byte from the server.

    Raises:
        UserError: If the file with certificates cannot be read.
    """

    def __init__(self, site: Site, timeout_s: float = TIMEOUT_S):
        self.site, self._timeout_s = site, timeout_s
        self._context = _tls(site) if site.is_encrypted else None
        self._kept: http.client.HTTPConnection | None = None

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Answer:
        """Send a request and return the answer, whatever its status.

        Args:
            method: Such as "GET".
            path: Added to the address of the site; with its query, quoted.
            headers: Headers besides that of the credentials. An iterable body needs
                Content-Length.
            body: Bytes, or blocks of them.

        Raises:
            UnreachableError: If there is no answer.
            UserError: If the certificate is not trusted.
        """
        # A request that must not be sent twice does not use a kept connection, which the server
        # may have closed meanwhile.
        if method not in _REPEATABLE:
            return self._request(method, path, headers or {}, body, fresh=True)
        try:
            return self._request(method, path, headers or {}, body, fresh=False)
        except _LOST:
            return self._request(method, path, headers or {}, body, fresh=True)

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: Body, *, fresh: bool
    ) -> Answer:
        was_kept = self._kept is not None and not fresh
        if fresh:
            self.close()
        with self.closed_after_error():
            connection = self._connected()
            target = urlsplit(self.site.url).path.rstrip("/") + path
            fields = {"User-Agent": f"spinemamba/{__version__}", "Accept": "*/*", **headers}
            if self.site.authorization:
                fields["Authorization"] = self.site.authorization
            with translated_errors(self.site.host, passing=_LOST if was_kept else ()):
                try:
                    connection.request(method, target, body, fields)
                except (BrokenPipeError, ConnectionResetError):
                    # A server may refuse a request before it has read the whole body.
                    if body is None:
                        raise
                response = connection.getresponse()
        answered = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, answered, response, self)

    def _connected(self) -> http.client.HTTPConnection:
        if self._kept is None:
            parts = urlsplit(self.site.url)
            if self._context is None:
                made = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_CONNECT_S)
            else:
                made = http.client.HTTPSConnection(
                    parts.hostname, parts.port, timeout=_CONNECT_S, context=self._context
                )
            with translated_errors(self.site.host):
                made.connect()
            made.sock.settimeout(self._timeout_s)
            self._kept = made
        return self._kept

    @contextmanager
    def closed_after_error(self) -> Iterator[None]:
        """Close the connection if the block fails: it may hold the rest of an answer."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def interrupt(self) -> None:
        """Let a transfer in another thread fail at once."""
        kept = self._kept
        if kept is not None and kept.sock is not None:
            with suppress(OSError):
                kept.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextmanager
def translated_errors(host: str, passing: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """Turn errors of the network into errors for the user.

    Args:
        host: Named in the messages.
        passing: Errors that are not changed.

    Raises:
        UserError: If the certificate is not trusted (SERVER_REFUSED).
        UnreachableError: After other errors.
    """
    try:
        yield
    except passing:
        raise
    except ssl.SSLCertVerificationError as error:
        has_expired = error.verify_code in _OUT_OF_DATE
        remedy = (
            "Give the file of its certificate authority (Certificates in Slicer, --ca-file in the "
            "shell), or correct the address."
        )
        if has_expired:
            remedy = "Ask the administrator for a new one, and check the date of this computer."
        raise UserError(
            f"The certificate of {host} is not trusted: {error.verify_message}.",
            remedy,
            Code.SERVER_REFUSED,
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(host, error) from error


def _unreachable(host: str, error: BaseException) -> UnreachableError:
    """Return the error for a server that does not answer."""
    check = "Check the address, the network, and whether the server runs."
    if isinstance(error, socket.gaierror):
        return UnreachableError(f"The name of the server {host} is not known.", check)
    if isinstance(error, ConnectionRefusedError):
        return UnreachableError(f"No server answers at {host}.", check)
    if isinstance(error, TimeoutError):
        return UnreachableError(f"The server {host} did not answer in time.", check)
    if isinstance(error, ssl.SSLError):
        return UnreachableError(
            f"No encrypted connection to {host} is possible.",
            "Check whether the address must begin with http:// instead of https://.",
        )
    if isinstance(error, http.client.BadStatusLine) and not isinstance(error, _LOST):
        return UnreachableError(f"The answer of {host} is not HTTP.", check)
    return UnreachableError(f"The connection to {host} was lost.", check)


def _tls(site: Site) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=site.ca_file)
    except (OSError, ssl.SSLError) as error:
        name = "of the system" if site.ca_file is None else f"in {site.ca_file.name}"
        raise UserError(
            f"The certificates {name} cannot be read.", "Give a file in PEM format."
        ) from error
