"""Certificates, redirects and addresses of servers."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from certificates import make_certificate

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.remote.http_connection import Connection, RefusedError, UnreachableError
from spinemamba.protocol.remote.retries import Retries
from spinemamba.protocol.remote.site import Site


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        to = {"/moved": "http://127.0.0.1:9/"}.get(self.path)
        self.send_response(302 if to else 200)
        if to:
            self.send_header("Location", to)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")


@contextmanager
def serving(certificate: Path | None = None, key: Path | None = None) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *args: None
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that the system does not know, and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def get(url: str, ca_file: Path | None = None, path: str = "/") -> bytes:
    with Connection(Site(url, ca_file=ca_file), 5.0) as connection:
        return connection.request("GET", path).body(100)


def test_a_certificate_is_trusted_only_with_its_own_file(certificate):
    with serving(*certificate) as port:
        url = f"https://127.0.0.1:{port}"
        assert get(url, certificate[0]) == b"ok"
        with pytest.raises(UserError, match="is not trusted") as caught:
            get(url)
        assert not isinstance(caught.value, UnreachableError)
        with pytest.raises(UserError, match=r"is not trusted: .*(ostname|mismatch)"):
            get(f"https://localhost:{port}", certificate[0])
        with pytest.raises(UnreachableError):
            get(f"http://127.0.0.1:{port}")
    with serving() as port, pytest.raises(UnreachableError, match="encrypted"):
        get(f"https://127.0.0.1:{port}")


def test_an_expired_certificate_is_named_as_the_reason(tmp_path):
    expired = make_certificate(tmp_path, expired=True)
    with serving(*expired) as port, pytest.raises(UserError, match="has expired") as caught:
        get(f"https://127.0.0.1:{port}", expired[0])
    assert caught.value.code is Code.SERVER_REFUSED
    assert "administrator" in caught.value.remedy


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhalf",
    ],
)
def test_an_answer_that_the_network_cuts_off_may_be_asked_for_again(answer):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(1 + (answer == b"")):  # a GET without an answer is sent twice
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(UnreachableError, match="lost"):
            get(f"http://127.0.0.1:{listener.getsockname()[1]}")


def test_a_file_without_certificates_is_refused(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(UserError, match=name):
            Connection(Site("https://127.0.0.1", ca_file=tmp_path / name))


def test_a_redirect_is_not_followed():
    with serving() as port, Connection(Site(f"http://127.0.0.1:{port}"), 5.0) as connection:
        answer = connection.request("GET", "/moved")
        assert (answer.status, answer.is_good) == (302, False)


@pytest.mark.parametrize(
    ("url", "token", "text"),
    [
        ("https://host", "t", ""),
        ("http://127.0.0.1:8642", "t", ""),
        ("http://[::1]:8642", "t", ""),
        ("http://localhost", "t", ""),
        ("http://host", "", ""),
        ("http://host", "t", "without encryption"),
        ("http://127.0.0.1.example", "t", "without encryption"),
        ("https://user:secret@host", "", "has a user"),
        ("https://host/?a=secret", "", "a query"),
        ("host:8642", "", "not the address"),
        ("https://", "", "not the address"),
        ("https://host:99999", "", "not the address"),
        ("https://ho st", "", "not the address"),
        ("https://host\r\nX: y", "", "not the address"),
    ],
)
def test_addresses_are_refused_that_would_tell_a_secret(url, token, text):
    if not text:
        assert Site(url, token).url == url
        return
    with pytest.raises(UserError, match=text) as caught:
        Site(url, token)
    assert "secret" not in str(caught.value)


def test_repeated_requests_wait_longer_each_time_and_as_asked():
    waits: list[float] = []
    errors = [
        UnreachableError("a", "b"),
        RefusedError(503, "a", "b", 7.0),
        UnreachableError("", ""),
    ]

    def action() -> str:
        if errors:
            raise errors.pop(0)
        return "done"

    assert Retries(4, 1.0, sleep=waits.append).run(action) == "done"
    assert waits == [1.0, 7.0, 4.0]
    errors.append(RefusedError(403, "a", "b"))
    with pytest.raises(RefusedError):
        Retries(4, 1.0, sleep=waits.append).run(action)
    assert len(waits) == 3
