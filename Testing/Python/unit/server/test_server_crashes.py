"""The worker and the server are killed at each stage; no job is lost without a message."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from fake_worker_process import is_gone
from server_process import RunningServer, nrrd

from spinemamba.common.progress import STAGES
from spinemamba.protocol.remote.formats import JOBS

pytest.importorskip("fastapi", reason="the extra 'server' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """A server for the tests that kill workers; a silent worker is given up after 5 s."""
    options = {"timeouts": {"silent_s": 5.0}, "devices": 2}
    with RunningServer(tmp_path_factory.mktemp("server"), options) as running:
        yield running


@pytest.mark.parametrize("stage", STAGES)
def test_a_killed_worker_loses_its_own_job_only(server: RunningServer, stage: str):
    lost = server.send(f"{stage} stop").json["id"]
    server.wait(lost, stage=stage)
    kept = server.send("segment s=0.3", image=nrrd(2), client="ben").json["id"]
    server.wait(kept, stage="segment", client="ben")
    (worker,) = [pid for pid in server.children() if lost in job_text(pid)]
    os.kill(worker, signal.SIGKILL)
    failed = server.wait(lost)
    assert (failed["state"], failed["failure"]["code"]) == ("failed", "CRASH")
    assert "only this job" in failed["failure"]["message"]
    assert server.wait(kept, client="ben")["state"] == "done"
    assert server.wait(server.send().json["id"])["state"] == "done"
    assert not any(lost in name and "/sent" in name for name in server.files())


def job_text(pid: int) -> str:
    """Return the content of the job file of a worker."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    path = next((Path(word) for word in words if word.endswith("job.json")), None)
    return path.read_text() if path and path.exists() else ""


def test_a_worker_that_falls_silent_is_replaced(server: RunningServer):
    job = server.send("locate frozen").json["id"]
    failed = server.wait(job)
    assert (failed["state"], failed["failure"]["code"]) == ("failed", "CRASH")
    assert "did not answer" in failed["failure"]["message"]
    assert server.wait(server.send().json["id"])["state"] == "done"


SERVER_STAGES = ("queued", *STAGES, "done")


@pytest.mark.parametrize(
    "stage",
    [
        name if name == "segment" else pytest.param(name, marks=pytest.mark.slow)
        for name in SERVER_STAGES
    ],
)
def test_after_a_kill_of_the_server_every_job_runs_again(tmp_path: Path, stage: str):
    server = RunningServer(tmp_path / "server").start()
    orders = [f"{stage} s=2"] if stage in STAGES else []
    first = server.send(*orders, image=nrrd(3)).json["id"]
    second = server.send("segment s=0.1", image=nrrd(4), client="ben").json["id"]
    if stage in STAGES:
        server.wait(first, stage=stage)
    if stage == "done":
        server.wait(first)
    workers = server.children()
    server.kill()
    assert all(map(is_gone, workers))
    with server:
        for job, client, seed in ((first, "anna", 3), (second, "ben", 4)):
            assert server.wait(job, client=client)["state"] == "done"
            assert server.ask("GET", f"{JOBS}/{job}/result/labels", client).body == nrrd(seed)
        assert server.ask("GET", f"{JOBS}/{first}", "ben").status == 404
        assert {name.split("/")[1] for name in server.files()} == {first, second}


def test_an_upload_that_a_kill_interrupts_leaves_nothing(tmp_path: Path):
    server = RunningServer(tmp_path / "server").start()
    with server.half_upload(nrrd(1, side=100)):
        server.kill()
    with server:
        assert server.files() == set()
        assert server.wait(server.send().json["id"])["state"] == "done"


@pytest.mark.slow
def test_a_job_during_which_the_server_is_killed_twice_fails(tmp_path: Path):
    server = RunningServer(tmp_path / "server")
    server.start()
    job = server.send("segment stop").json["id"]
    for _ in range(2):
        server.wait(job, stage="segment")
        server.kill()
        server.start()
    failed = server.wait(job)
    assert failed["failure"]["code"] == "CRASH"
    assert "ended 2 times" in failed["failure"]["message"]
    assert not any("/sent" in name for name in server.files())
    assert server.wait(server.send().json["id"])["state"] == "done"
    server.stop()


@pytest.mark.slow
def test_a_stop_puts_running_jobs_back_into_the_line(tmp_path: Path):
    server = RunningServer(tmp_path / "server")
    for k in range(3):  # more often than a job may be started after a kill
        server.start()
        if not k:
            job = server.send("segment s=3").json["id"]
        server.wait(job, stage="segment")
        workers = server.children()
        if k < 2:
            started = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - started < 8
            assert all(map(is_gone, workers))
    assert server.wait(job)["state"] == "done"
    server.stop()


def test_lost_files_of_a_job_are_reported_after_a_restart(tmp_path: Path):
    server = RunningServer(tmp_path / "server").start()
    running = server.send("segment stop").json["id"]
    done = server.send(client="ben").json["id"]
    server.wait(running, stage="segment")
    server.kill()
    (server.state / "jobs" / running / "sent" / "image.nrrd").write_bytes(b"")
    (server.state / "jobs" / done / "request.json").unlink()
    with server:
        for job, client in ((running, "anna"), (done, "ben")):
            found = server.wait(job, client=client)
            assert (found["state"], found["failure"]["code"]) == ("failed", "CRASH")
            assert "was lost" in found["failure"]["message"]


def test_a_job_that_takes_too_long_is_ended(tmp_path: Path):
    options = {"timeouts": {"job_s": 0.5}, "fresh_workers": True}
    with RunningServer(tmp_path / "server", options) as server:
        failed = server.wait(server.send("segment stop").json["id"])
        assert "longer than this server allows" in failed["failure"]["message"]
        server.wait(server.send().json["id"])
        workers = server.children()
        server.wait(server.send().json["id"])
        assert server.children() & workers == set()
