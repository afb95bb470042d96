"""Random requests after the server's own description (schemathesis), and damaged uploads."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest
from server_process import Answer, RunningServer, nrrd, request_body

from spinemamba.protocol.remote.formats import JOB_TYPE, JOBS, REFUSED
from spinemamba.protocol.remote.refusals import STATUS

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
pytest.importorskip("fastapi", reason="the extra 'server' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")

NO_BODY = {204}
SUCCESS = {200, 201, 204}
ALLOWED = SUCCESS | set(STATUS.values())


@schemathesis.serializer(JOB_TYPE)
def _as_bytes(_: object, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture
def server(tmp_path: Path):
    """A server; it must not have logged a stack, and works and has nothing left, at the end."""
    # Without a lock-out, which would answer most requests.
    options = {
        "limits": {"jobs_per_client": 10_000, "queued": 10_000},
        "rates": {"wrong_tokens": 1_000_000},
    }
    with RunningServer(tmp_path / "server", options) as running:
        files = open_files(running)
        yield running
        log = (running.folder / "server.log").read_text()
        assert "Traceback" not in log
        assert "Exception" not in log
        metrics = running.ask("GET", "/metrics").body.decode()
        assert "spinemamba_internal_errors_total 0\n" in metrics
        job = running.send(client="ben").json["id"]
        assert running.wait(job, client="ben")["state"] == "done"
        assert len(running.children()) == 1
        assert open_files(running) <= files + 8


def open_files(server: RunningServer) -> int:
    """Return the number of files and connections that the server has open."""
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))  # noqa: PTH208


def check(answer: Answer) -> None:
    """Check that an answer has a known status, and that a refusal has its format."""
    assert answer.status in ALLOWED
    assert answer.status != STATUS["INTERNAL"]
    assert b"Traceback" not in answer.body
    assert b"site-packages" not in answer.body
    if answer.status not in SUCCESS:
        refused = REFUSED.parse_text(answer.body.decode())
        assert STATUS[refused.code] == answer.status


def fuzz(strategy: object, count: int, send: object) -> None:
    """Call a function with examples of a strategy."""
    settings = hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        derandomize=count <= 100,
        phases=[hypothesis.Phase.generate],
    )
    settings(hypothesis.given(strategy)(send))()


def test_random_requests_get_an_answer(server: RunningServer):
    fuzz_description(server, 100)


@pytest.mark.long
def test_two_thousand_random_requests_get_an_answer(server: RunningServer):
    fuzz_description(server, 2000)


def fuzz_description(server: RunningServer, count: int) -> None:
    """Send so many requests, equally many to each route, with and without a valid token."""
    schema = schemathesis.openapi.from_dict(server.ask("GET", "/v1/openapi.json").json)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) == 9
    base = f"http://127.0.0.1:{server.port}"
    token = {"Authorization": f"Bearer {server.tokens['anna']}"}
    sent = []

    def send(case: schemathesis.Case) -> None:
        found = case.call(base_url=base, headers=token if len(sent) % 8 else None, timeout=20)
        sent.append(found.status_code)
        check(Answer(found.status_code, {}, found.content))

    for operation in operations:
        for mode in schemathesis.GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)
            # Every request without parameters is valid.
            with contextlib.suppress(hypothesis.errors.Unsatisfiable):
                fuzz(strategy, max(1, count // (2 * len(operations))), send)
    assert len(sent) > count // 2


def test_damaged_uploads_get_an_answer(server: RunningServer):
    fuzz_uploads(server, 60)


@pytest.mark.long
def test_many_damaged_uploads_get_an_answer(server: RunningServer):
    fuzz_uploads(server, 2000)


def fuzz_uploads(server: RunningServer, count: int) -> None:
    """Send a valid upload with some bytes replaced, removed or added."""
    good = request_body({"image.nrrd": nrrd(side=4)}, fixed_levels=["L5#1"], picture=True)
    st = hypothesis.strategies
    edits = st.lists(
        st.tuples(st.integers(0, len(good)), st.integers(0, 3), st.binary(max_size=4)),
        min_size=1,
        max_size=3,
    )

    def send(edits: list[tuple[int, int, bytes]]) -> None:
        body = bytearray(good)
        for at, removed, added in edits:
            body[at : at + removed] = added
        answer = server.ask("POST", JOBS, body=bytes(body), Content_Type=JOB_TYPE)
        check(answer)
        if answer.status == STATUS["INPUT_BAD"]:
            assert answer.json["remedy"]
        elif answer.status == 201:
            assert server.ask("DELETE", f"{JOBS}/{answer.json['id']}").status == 204

    fuzz(edits, count, send)
    assert server.files() == set()
