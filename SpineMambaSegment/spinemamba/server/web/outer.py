"""What surrounds every route: security headers, names of hosts, and errors of the program."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from spinemamba.common.error_reports import stack_of
from spinemamba.server.errors import RefusedError
from spinemamba.server.service import Service
from spinemamba.server.settings import Settings
from spinemamba.server.web.responses import refusal

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
_ONE_YEAR_TLS = {"Strict-Transport-Security": "max-age=31536000"}


class Outer:
    """The application with security headers; no exception leaves it.

    Args:
        app: The routes.
        service: The running server.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], service: Service):
        self._app, self._service = app, service
        self._headers = _SECURITY | (_ONE_YEAR_TLS if service.settings.is_tls else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
            await send(message)

        try:
            _check_length(scope)
            self._check_host(scope)
            await self._app(scope, receive, send_with_headers)
        except RefusedError as error:
            await refusal(error)(scope, receive, send_with_headers)
        # Last resort: the client gets no stack, and the log no message, which may quote a header.
        except Exception as error:
            self._service.metrics.count("internal_errors")
            sys.stderr.write(stack_of(error))
            if not started:
                await refusal(_internal())(scope, receive, send_with_headers)

    def _check_host(self, scope: Scope) -> None:
        """Refuse other names of this computer on a server without tokens.

        A web page may let a name of its own point to 127.0.0.1 (DNS rebinding); the browser then
        treats this server as part of the page.
        """
        settings = self._service.settings
        if settings.tokens is not None:
            return
        host = Headers(scope=scope).get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name.lower() not in settings.hosts:
            raise RefusedError(
                "BAD_REQUEST",
                "The header Host has a name that this server does not know.",
                f"Use one of {', '.join(settings.hosts)}.",
            )


def _check_length(scope: Scope) -> None:
    """Refuse a request with two statements of its length.

    A proxy may believe the other one, and take the rest of the body for a request (smuggling).
    """
    headers = Headers(scope=scope)
    if "transfer-encoding" in headers and "content-length" in headers:
        raise RefusedError(
            "BAD_REQUEST",
            "The request states its length in two ways.",
            "Send the header Content-Length only.",
        )


def address_of(scope: Scope, settings: Settings) -> str:
    """Return the address of a client; behind a proxy, the one that the proxy states last."""
    address = (scope.get("client") or ("unknown", 0))[0]
    if not settings.behind_proxy:
        return address
    forwarded = Headers(scope=scope).getlist("x-forwarded-for")
    last = forwarded[-1].rpartition(",")[2].strip() if forwarded else ""
    return last[:64] or address


def _internal() -> RefusedError:
    return RefusedError(
        "INTERNAL",
        "Something went wrong inside the server.",
        "Try again; if it happens again, tell its administrator.",
    )
