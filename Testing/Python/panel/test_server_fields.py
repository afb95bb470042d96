"""The fields of the server in the panel: Test connection, tokens, certificates."""

from __future__ import annotations

import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
from certificates import make_certificate
from server_process import local_server

from spinemamba.protocol.remote.formats import CAPABILITY, Capabilities
from spinemamba.protocol.remote.server_info import ServerDevice, ServerModel
from spinemamba.server.settings import LIMITS
from spinemamba.server.tokens import add_token


@pytest.fixture
def user(server_user):
    return server_user


def test_the_connection_test_says_who_answers(user, tmp_path):
    with local_server(tmp_path / "server") as server:
        user.enter(server.url)
        text = user.test()
    assert text.startswith("Ward answers, and knows you as local")
    assert "starter" in text
    assert "This computer" not in text
    user.photograph_setup("server-good")
    user.enter("http://127.0.0.1:9")
    assert "No server answers at 127.0.0.1:9" in user.test()
    user.photograph_setup("server-none")


def test_a_wrong_token_is_named(user, tmp_path):
    add_token(tmp_path / "tokens", "ward-8")
    with local_server(tmp_path / "server", tokens=tmp_path / "tokens") as server:
        user.enter(server.url)
        assert "token is missing or not valid" in user.test()
        user.enter(server.url, "wrong-token")
        assert "stored in a file that only you can read" in user.ui.serverLabel.text
        user.photograph_setup("server-token-stored")
        assert "token is missing or not valid" in user.test()
        assert user.ui.serverTokenEdit.placeholderText == "stored"
        assert "server-tokens.json" in user.ui.serverTokenEdit.toolTip
        user.photograph_setup("server-wrong-token")


ABOUT = Capabilities(
    "Ward",
    "local",
    "0.0.1",
    ("segment",),
    (ServerModel("starter", "Starter", "0.5", "0123abcd"),),
    (ServerDevice("cuda:0", "NVIDIA L4"),),
    LIMITS,
    (".nrrd",),
)


@contextmanager
def answering(status: int, body: bytes, tls: tuple[Path, Path] | None = None) -> Iterator[int]:
    """Yield the port of a server that answers every request in the same way."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *args: None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        pytest.param(200, CAPABILITY.to_text(ABOUT).encode(), "This computer has", id="old"),
        pytest.param(200, b"<html>Sign in</html>", "does not answer like", id="other"),
        pytest.param(502, b"<html>Bad gateway</html>", "HTTP status 502", id="proxy"),
    ],
)
def test_what_answers_instead_of_a_present_server_is_named(user, status, body, text, request):
    with answering(status, body) as port:
        user.enter(f"http://127.0.0.1:{port}")
        assert text in user.test()
    assert (user.ui.serverIcon.toolTip == "Available") == text.startswith("This")
    user.photograph_setup(f"server-{request.node.callspec.id}")


def test_certificates_that_cannot_be_trusted_are_named(user, tmp_path):
    settings = user.panel.serverSection._settings
    expired = make_certificate(tmp_path / "expired", expired=True)
    unknown = make_certificate(tmp_path / "unknown")
    for name, tls, trusted, text in (
        ("expired", expired, expired[0], "has expired"),
        ("unknown", unknown, None, "file of its certificate authority"),
        ("trusted", unknown, unknown[0], "Ward answers, and knows you as local"),
    ):
        settings.keep("Server/Certificates", "" if trusted is None else str(trusted))
        with answering(200, CAPABILITY.to_text(ABOUT).encode(), tls) as port:
            user.enter(f"https://127.0.0.1:{port}")
            assert text in user.test()
        user.photograph_setup(f"server-{name}")


def test_a_token_is_stored_apart_and_never_shown(user, tmp_path, tmp_path_factory):
    from spinemamba.cli.main import main

    folder = tmp_path_factory.mktemp("tokens")
    assert main(["server-token", "add", str(folder / "tokens"), "ward-7"]) == 0
    token = add_token(folder / "tokens", "ward-8")
    with local_server(folder / "server", tokens=folder / "tokens") as server:
        user.enter(server.url, "wrong-token")
        assert "oken" in user.test()
        user.enter(server.url, token)
        assert "knows you as ward-8" in user.test()
    assert user.ui.serverTokenEdit.text == ""
    assert user.ui.serverTokenEdit.placeholderText == "stored"
    stored = [p for p in Path(slicer.app.settings().fileName()).parent.rglob("*") if p.is_file()]
    with_token = [p for p in stored if token in p.read_text(errors="replace")]
    assert [p.name for p in with_token] in ([], ["server-tokens.json"])
    store = user.panel.serverSection._tokens
    assert store.token(server.url) == token
    assert stat.S_IMODE(store._path.stat().st_mode) == 0o600
    store.keep(server.url, "")
    assert store.token(server.url) == ""
    assert token not in user.panel._application.settings.allKeys()


def test_a_keyring_of_the_system_is_used_where_there_is_one(token_store, monkeypatch, tmp_path):
    class Keyring:
        def __init__(self):
            self.kept = {}

        def get_password(self, service, name):
            return self.kept.get((service, name))

        def set_password(self, service, name, value):
            self.kept[service, name] = value

        def delete_password(self, service, name):
            del self.kept[service, name]

    made = Keyring()
    monkeypatch.setattr(token_store, "_keyring", lambda: made)
    store = token_store.TokenStore(tmp_path)
    store.keep("https://host", "t")
    assert store.token("https://host") == "t"
    assert list(tmp_path.iterdir()) == []
    store.keep("https://host", "")
    assert made.kept == {}
