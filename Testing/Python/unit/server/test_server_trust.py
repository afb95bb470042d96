"""Who may use a server: addresses, tokens, lock-out, and what stays on its disk."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import ssl
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import make_certificate
from server_process import RunningServer, nrrd

from spinemamba.cli.main import main
from spinemamba.common.errors import UserError
from spinemamba.protocol.remote.formats import JOBS
from spinemamba.server.fair_queue import FairQueue
from spinemamba.server.rate_limits import LockOut, RateLimit
from spinemamba.server.settings import Rates, Settings
from spinemamba.server.tokens import TokenFile, add_token, read_tokens, revoke_token

pytest.importorskip("fastapi", reason="the extra 'server' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")

CAPABILITIES = "/v1/capabilities"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A token file with the client anna."""
    add_token(tmp_path / "tokens.json", "anna")
    return tmp_path / "tokens.json"


def private_key(folder: Path, mode: int = 0o600) -> dict[str, Path]:
    """Write files that stand for a certificate and its key."""
    files = {"certificate": folder / "cert.pem", "key": folder / "key.pem"}
    for path in files.values():
        path.write_text("x")
        path.chmod(mode)
    return files


@pytest.mark.parametrize(
    ("host", "has", "allowed"),
    [
        ("127.0.0.1", "", True),
        ("::1", "", True),
        ("127.0.0.1", "tokens proxy", True),
        ("127.0.0.1", "proxy", False),
        ("0.0.0.0", "", False),
        ("0.0.0.0", "tls", False),
        ("0.0.0.0", "tokens", False),
        ("0.0.0.0", "tokens tls", True),
        ("0.0.0.0", "tokens proxy", True),
        ("::", "tokens", False),
        ("ward.example.org", "tokens", False),
    ],
)
def test_other_addresses_need_tokens_and_tls(
    tmp_path: Path, token_file: Path, host: str, has: str, allowed: bool
):
    from spinemamba.server.run import Address, check_trust

    address = Address(host, 0, **(private_key(tmp_path) if "tls" in has else {}))
    tokens = token_file if "tokens" in has else None
    settings = Settings(tmp_path, tokens=tokens, behind_proxy="proxy" in has)
    if allowed:
        check_trust(address, settings)
    else:
        with pytest.raises(UserError):
            check_trust(address, settings)


def test_files_that_others_can_read_are_refused(tmp_path: Path, token_file: Path):
    from spinemamba.server.run import Address, check_trust

    settings = Settings(tmp_path, tokens=token_file)
    with pytest.raises(UserError, match=r"Other users may read or change key.pem"):
        check_trust(Address(**private_key(tmp_path, 0o644)), settings)
    token_file.chmod(0o640)
    with pytest.raises(UserError, match=r"chmod 600"):
        check_trust(Address(), settings)


def test_a_token_is_printed_once_and_stored_as_a_hash(tmp_path: Path, capsys):
    path = tmp_path / "tokens.json"
    assert main(["server-token", "add", str(path), "ct-room-2"]) == 0
    token = capsys.readouterr().out.strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token not in path.read_text()
    assert hashlib.sha256(token.encode()).hexdigest() in path.read_text()
    assert len(token) >= 43
    assert read_tokens(path).name_of(token) == "ct-room-2"
    assert main(["server-token", "add", str(path), "ct-room-2"]) == 2
    assert main(["server-token", "list", str(path)]) == 0
    assert "ct-room-2" in capsys.readouterr().out
    assert main(["server-token", "revoke", str(path), "ct-room-2"]) == 0
    assert read_tokens(path).name_of(token) is None
    assert main(["server-token", "revoke", str(path), "ct-room-2"]) == 2


@pytest.mark.parametrize("name", ["../x", "a b", "-x", "", "a" * 41, "Müller"])
def test_odd_names_of_tokens_are_refused(tmp_path: Path, name: str):
    assert main(["server-token", "add", str(tmp_path / "tokens.json"), name]) == 2
    assert not (tmp_path / "tokens.json").exists()


def test_a_damaged_token_file_lets_no_client_in(token_file: Path):
    tokens = TokenFile(token_file)
    assert tokens.current().tokens[0].name == "anna"
    token_file.write_text(token_file.read_text().replace("anna", "../anna"))
    with pytest.raises(UserError):
        tokens.current()
    token_file.unlink()
    with pytest.raises(UserError):
        tokens.current()


def test_a_burst_passes_and_then_the_mean_rate():
    now = [0.0]
    limit = RateLimit(Rates(requests_per_s=2, burst=3), lambda: now[0])
    assert [limit.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.wait_s("b") == 0
    now[0] = 0.5
    assert [limit.wait_s("a") for _ in range(2)] == [0, 0.5]


def test_an_address_is_locked_out_after_wrong_tokens_for_a_while():
    now = [0.0]
    lock = LockOut(Rates(wrong_tokens=3, lock_out_s=100), lambda: now[0])
    lock.right("x", "anna")
    assert [lock.wrong("x") for _ in range(3)] == [False, False, True]
    assert lock.locked_s("x") == 100
    assert lock.is_known("x", "anna")
    assert not lock.is_known("x", "ben")
    assert lock.locked_s("y") == 0
    now[0] = 100
    assert lock.locked_s("x") == 0
    assert not lock.wrong("x")


def test_old_wrong_tokens_do_not_count():
    now = [0.0]
    lock = LockOut(Rates(wrong_tokens=2, lock_out_s=100), lambda: now[0])
    assert not lock.wrong("x")
    now[0] = 101
    assert not lock.wrong("x")


def test_the_queue_serves_clients_in_turn():
    queue = FairQueue()
    for job in ("a1", "a2", "a3", "b1", "c1", "c2"):
        queue.add(job[0], job)
    places = queue.places()
    assert sorted(places, key=places.get) == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert [queue.take() for _ in range(3)] == ["a1", "b1", "c1"]
    queue.add("b", "b2")
    assert queue.remove("a2")
    assert not queue.remove("a2")
    assert [queue.take() for _ in range(4)] == ["a3", "c2", "b2", None]


def test_places_are_the_order_of_taking():
    chosen = secrets.SystemRandom()
    for _ in range(50):
        queue = FairQueue()
        for k in range(chosen.randrange(1, 20)):
            queue.add(chosen.choice("abcd"), str(k))
            if chosen.random() < 0.3:
                queue.take()
        places = queue.places()
        assert [queue.take() for _ in range(len(places))] == sorted(places, key=places.get)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """A server for all tests below."""
    rates = {"wrong_tokens": 5, "lock_out_s": 2.0}
    with RunningServer(tmp_path_factory.mktemp("server"), {"rates": rates}) as running:
        yield running


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer ", "Basic YTpi", "Bearer \xe4", "bearer", "Token x"]
)
def test_requests_without_a_valid_token_are_refused(server: RunningServer, header: str | None):
    headers = {} if header is None else {"Authorization": header}
    for method, path in (("GET", CAPABILITIES), ("POST", JOBS), ("GET", f"{JOBS}/{'0' * 32}")):
        answer = server.ask(method, path, None, **headers)
        if answer.status == 429:  # a wrong one of the cases before
            continue
        assert (answer.status, answer.json["code"]) == (401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_health_is_open_and_every_answer_has_security_headers(server: RunningServer):
    for path in ("/v1/health", CAPABILITIES, "/nothing"):
        answer = server.ask("GET", path, None)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
    assert server.ask("GET", "/v1/health", None).status == 200
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert server.ask("GET", path).status == 404


def test_a_revoked_token_ends_and_a_new_one_begins_at_once(server: RunningServer):
    path = server.folder / "tokens.json"
    server.tokens["dora"] = add_token(path, "dora")
    assert server.ask("GET", CAPABILITIES, "dora").json["client"] == "dora"
    revoke_token(path, "dora")
    assert server.ask("GET", CAPABILITIES, "dora").status == 401


def test_nothing_of_an_image_is_logged_or_left(server: RunningServer):
    image = nrrd(5, header="# Doe^John\npatient:=Doe^John\n")
    job = server.send("segment bug", image=image).json["id"]
    assert server.wait(job)["state"] == "failed"
    server.ask("DELETE", f"{JOBS}/{job}")
    files = [path for path in server.folder.rglob("*") if path.is_file()]
    assert not any(b"Doe" in p.read_bytes() for p in files if p.name != "stand_in.py")
    events = [json.loads(line) for line in (server.state / "audit.log").read_text().splitlines()]
    mine = [event for event in events if event.get("job") == job]
    assert [event["event"] for event in mine][:1] == ["accepted"]
    assert {event["client"] for event in mine} == {"anna"}


def test_folders_and_files_are_for_the_server_only(server: RunningServer):
    job = server.send("segment stop").json["id"]
    server.wait(job, stage="segment")
    for path in (server.state, server.state / "jobs", server.state / "jobs" / job):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    for name in ("audit.log", "jobs.sqlite"):
        assert stat.S_IMODE((server.state / name).stat().st_mode) == 0o600
    server.ask("DELETE", f"{JOBS}/{job}")


def test_wrong_tokens_lock_an_address_out_but_not_its_known_clients(server: RunningServer):
    assert server.ask("GET", CAPABILITIES, "anna").status == 200
    wrong = [
        server.ask("GET", CAPABILITIES, None, Authorization=f"Bearer {k}").status for k in range(9)
    ]
    assert 429 in wrong
    locked = server.ask("GET", CAPABILITIES, None, Authorization="Bearer x")
    assert locked.status == 429
    assert 1 <= int(locked.headers["retry-after"]) <= 2
    assert server.ask("GET", CAPABILITIES, "anna").status == 200
    assert '"event": "locked out"' in (server.state / "audit.log").read_text()


def test_a_client_that_asks_too_often_learns_when_to_ask_again(tmp_path: Path):
    rates = {"requests_per_s": 1, "burst": 5}
    with RunningServer(tmp_path / "s", {"rates": rates}) as server:
        statuses = [server.ask("GET", CAPABILITIES).status for _ in range(8)]
        assert statuses[:5] == [200] * 5
        assert 429 in statuses[5:]
        assert server.ask("GET", CAPABILITIES, "ben").status == 200


def test_a_server_without_tokens_answers_to_its_own_names_only(tmp_path: Path):
    with RunningServer(tmp_path / "s", clients=()) as server:
        assert server.ask("GET", CAPABILITIES).json["client"] == "local"
        for host in ("evil.example.org", f"evil.example.org:{server.port}", ""):
            assert server.ask("GET", CAPABILITIES, Host=host).status == 400
        assert server.ask("GET", CAPABILITIES, Host=f"localhost:{server.port}").status == 200
        # What a form of a web page may send without asking the server first.
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            assert server.ask("POST", JOBS, body=b"x", Content_Type=kind).status == 415


def test_two_servers_do_not_share_a_folder(tmp_path: Path):
    from spinemamba.server.run import Address, serve

    with RunningServer(tmp_path / "s") as server:
        with pytest.raises(UserError, match="Another server"):
            serve(Address(port=0), Settings(server.state))
        with pytest.raises(UserError, match="Cannot listen"):
            serve(Address(port=server.port), replace(Settings(tmp_path / "other")))


def test_a_server_with_a_certificate_answers_over_tls_only(tmp_path: Path):
    certificate, key = make_certificate(tmp_path / "tls", "DNS:localhost")
    options = {"certificate": str(certificate), "key": str(key), "is_tls": True}
    with RunningServer(tmp_path / "s", options) as server:
        trusted = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection("localhost", server.port, context=trusted)
        token = {"Authorization": f"Bearer {server.tokens['ben']}"}
        connection.request("GET", CAPABILITIES, None, token)
        answer = connection.getresponse()
        assert answer.status == 200
        assert "max-age" in answer.headers["strict-transport-security"]
        connection.close()
        with pytest.raises((OSError, http.client.HTTPException)):
            server.ask("GET", CAPABILITIES)
        old = ssl.create_default_context(cafile=certificate)
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises(OSError):  # noqa: PT011 - the message is that of the library
            http.client.HTTPSConnection("localhost", server.port, context=old).connect()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root changes owners")
def test_root_changes_tokens_without_taking_them_from_the_server(tmp_path: Path):
    folder = tmp_path / "tokens"
    folder.mkdir()
    os.chown(folder, 10001, 10001)
    path = folder / "tokens.json"
    for change in (
        lambda: add_token(path, "ct-room-2"),
        lambda: add_token(path, "ct-room-3"),
        lambda: revoke_token(path, "ct-room-2"),
    ):
        change()
        status = path.stat()
        assert (status.st_uid, status.st_gid) == (10001, 10001)
        assert stat.S_IMODE(status.st_mode) == 0o600
