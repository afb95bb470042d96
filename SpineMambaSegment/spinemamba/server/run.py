"""Start the server: check that it is safe to listen, bind, serve, stop."""

from __future__ import annotations

import ipaddress
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from spinemamba.common.errors import Code, UserError
from spinemamba.common.locks import try_lock
from spinemamba.server.service import Service
from spinemamba.server.settings import Settings
from spinemamba.server.tokens import check_private
from spinemamba.server.web.app import make_app
from spinemamba.server.web.connections import guarded_protocol

_BACKLOG = 128
_SHUTDOWN_S = 5


@dataclass(frozen=True)
class Address:
    """Where the server listens.

    Attributes:
        host: Address or name.
        port: Port; 0 for any that is free.
        certificate: Certificate chain (PEM) for TLS; None without.
        key: Its private key.
    """

    host: str = "127.0.0.1"
    port: int = 8642
    certificate: Path | None = None
    key: Path | None = None


def check_trust(address: Address, settings: Settings) -> None:
    """Refuse to listen where strangers could read images or send jobs.

    Raises:
        UserError: If other computers could connect without tokens or without TLS, or other users
            can read the token file or the key.
    """
    if (address.certificate is None) != (address.key is None):
        raise UserError("TLS needs a certificate and its key.", "Give --tls-cert and --tls-key.")
    for path in filter(None, (settings.tokens, address.key)):
        if not path.is_file():
            raise UserError(f"File not found: {path}.", "Check the path.")
        check_private(path)
    if settings.behind_proxy and settings.tokens is None:
        raise UserError(
            "Behind a proxy, the server needs tokens.",
            "Make one with spinemamba server-token add, and give --tokens.",
        )
    if _is_loopback(address.host):
        return
    if settings.tokens is None:
        raise UserError(
            f"Other computers could use the server at {address.host} without a token.",
            "Make one with spinemamba server-token add, and give --tokens.",
        )
    if address.certificate is None and not settings.behind_proxy:
        raise UserError(
            f"Images and tokens would go to {address.host} in clear text.",
            "Give --tls-cert and --tls-key; or --behind-proxy, if a proxy adds TLS.",
        )


def serve(address: Address, settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl+C.

    Raises:
        UserError: As `check_trust`; if the address is in use, the folder cannot be used, or another
            server uses it.
    """
    check_trust(address, settings)
    settings.folder.mkdir(0o700, parents=True, exist_ok=True)
    settings.folder.chmod(0o700)
    with try_lock(settings.folder / "lock", "server"), _bind(address) as listener:
        service = Service.make(settings)
        server = uvicorn.Server(_config(address, settings, service))
        service.start()
        # uvicorn raises the signal again after it has ended in order.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _say(address, listener, settings)
            server.run([listener])
        except KeyboardInterrupt:
            pass
        finally:
            service.stop()


def _config(address: Address, settings: Settings, service: Service) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(service),
        http=guarded_protocol(settings),
        ws="none",
        lifespan="off",
        loop="asyncio",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(settings.timeouts.header_s),
        timeout_graceful_shutdown=_SHUTDOWN_S,
        h11_max_incomplete_event_size=1 << 15,
        ssl_certfile=address.certificate,
        ssl_keyfile=address.key,
    )


def _bind(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"Cannot listen at {address.host}, port {address.port}: {reason}.",
            "Choose another --host or --port.",
            Code.OUTPUT_BAD,
        ) from error


def _say(address: Address, listener: socket.socket, settings: Settings) -> None:
    scheme = "http" if address.certificate is None else "https"
    host = f"[{address.host}]" if ":" in address.host else address.host
    devices = ", ".join(device.device for device in settings.devices)
    sys.stdout.write(f"Serving at {scheme}://{host}:{listener.getsockname()[1]} on {devices}\n")
    sys.stdout.flush()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
