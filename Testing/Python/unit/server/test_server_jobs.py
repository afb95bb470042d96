"""The life of jobs on a server with stand-in workers."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import time

import pytest
from fake_worker_process import is_gone
from json_contents import RESULT
from server_process import RunningServer, nrrd, request_body

from spinemamba.common.progress import STAGES
from spinemamba.protocol.remote.bundle import read_file, read_line
from spinemamba.protocol.remote.formats import CAPABILITY, JOB_STATE, JOB_TYPE, JOBS
from spinemamba.protocol.result import RESULT as RESULT_FORMAT

pytest.importorskip("fastapi", reason="the extra 'server' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'server' is not installed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """A server for all tests of this file."""
    folder = tmp_path_factory.mktemp("server")
    limits = {"keep_fetched_s": 0.5, "jobs_per_client": 1000}
    with RunningServer(folder, {"limits": limits}, ("anna", "ben", "cleo")) as running:
        yield running


def result_of(server: RunningServer, job: str, client: str = "anna") -> dict[str, bytes]:
    """Fetch a whole result, check its hashes, and return the files by role."""
    answer = server.ask("GET", f"{JOBS}/{job}/result", client)
    assert answer.status == 200
    assert answer.headers["content-type"] == JOB_TYPE
    body = io.BytesIO(answer.body)
    state = JOB_STATE.parse_text(read_line(body).decode())
    found = {}
    for file in state.files:
        found[file.role] = b"".join(read_file(body, file.bytes))
        assert hashlib.sha256(found[file.role]).hexdigest() == file.sha256
    assert body.read() == b""
    return found


def test_a_job_is_queued_runs_and_is_fetched_whole(server: RunningServer):
    image = nrrd(7)
    sent = server.send("segment s=0.3", image=image, picture=True)
    assert sent.status == 201
    assert sent.headers["location"] == f"{JOBS}/{sent.json['id']}"
    job = sent.json["id"]
    assert server.wait(job, stage="segment")["overall"] == pytest.approx(0.25)
    done = server.wait(job)
    assert (done["state"], done["overall"], done["warnings"]) == ("done", 1.0, ["look"])
    assert result_of(server, job) == {"labels": image, "result": image, "picture": image}


def test_one_file_of_a_result_can_be_fetched_alone(server: RunningServer):
    job = server.send(image=nrrd(8)).json["id"]
    server.wait(job)
    assert server.ask("GET", f"{JOBS}/{job}/result/labels").body == nrrd(8)
    assert server.ask("GET", f"{JOBS}/{job}/result/picture").status == 404
    assert server.wait(job)["state"] == "done"


def test_images_are_erased_at_the_end_and_results_after_the_fetch(server: RunningServer):
    job = server.send("segment s=0.5").json["id"]
    server.wait(job, stage="segment")
    assert f"jobs/{job}/sent/image.nrrd" in server.files()
    server.wait(job)
    assert f"jobs/{job}/sent/image.nrrd" not in server.files()
    result_of(server, job)
    assert server.wait(job, state="erased", seconds=10)["files"] == []
    assert not any(job in name for name in server.files())
    gone = server.ask("GET", f"{JOBS}/{job}/result")
    assert (gone.status, gone.json["code"]) == (410, "ERASED")


def test_a_result_before_the_end_is_refused(server: RunningServer):
    job = server.send("segment stop").json["id"]
    server.wait(job, stage="segment")
    answer = server.ask("GET", f"{JOBS}/{job}/result")
    assert (answer.status, answer.json["code"]) == (409, "NOT_READY")
    assert server.ask("DELETE", f"{JOBS}/{job}").status == 204


def test_the_other_kinds_of_jobs_reach_the_worker(server: RunningServer):
    result = RESULT_FORMAT.to_text(RESULT).encode()
    bodies = {
        "resegment": request_body(
            {"image.nrrd": nrrd(1), "labels.nrrd": nrrd(2)}, "resegment", replaced_label=20
        ),
        "relabel": request_body({"labels.seg.nrrd": nrrd(1), "result.json": result}, "relabel"),
    }
    for kind, body in bodies.items():
        sent = server.ask("POST", JOBS, body=body, Content_Type=JOB_TYPE)
        assert (sent.status, sent.json["kind"]) == (201, kind), sent.body
        assert server.wait(sent.json["id"])["state"] == "done"
        assert result_of(server, sent.json["id"])["labels"] == nrrd(1)


def test_the_same_request_sent_twice_is_one_job(server: RunningServer):
    number = "5" * 32
    first = server.send(request_id=number).json["id"]
    assert server.send(request_id=number).json["id"] == first
    assert server.send(request_id=number, client="ben").json["id"] != first
    server.wait(first)


def test_capabilities_name_the_client_and_the_models(server: RunningServer):
    answer = server.ask("GET", "/v1/capabilities", "ben")
    content = CAPABILITY.parse_text(answer.body.decode())
    assert content.client == "ben"
    assert content.models[0].name == "starter"
    assert content.limits.jobs_per_client == 1000
    assert [device.device for device in content.devices] == ["cpu"]


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ("read user", "NO_SPINE"),
        ("segment bug", "INTERNAL"),
        ("segment crash", "CRASH"),
    ],
)
def test_a_failed_job_says_why_and_the_next_one_runs(server: RunningServer, order: str, code: str):
    failed = server.wait(server.send(order).json["id"])
    assert (failed["state"], failed["failure"]["code"]) == ("failed", code)
    assert "Doe" not in json.dumps(failed)
    assert server.wait(server.send().json["id"])["state"] == "done"


def test_no_client_sees_changes_or_finds_a_job_of_another(server: RunningServer):
    job = server.send("segment s=0.2", image=nrrd(3)).json["id"]
    for state in ("running", "done"):
        server.wait(job, state=state)
        for method, path in (("GET", ""), ("GET", "/result"), ("GET", "/result/labels")):
            other = server.ask(method, f"{JOBS}/{job}{path}", "ben")
            never = server.ask(method, f"{JOBS}/{'0' * 32}{path}", "ben")
            assert (other.status, other.body) == (404, never.body)
        assert server.ask("DELETE", f"{JOBS}/{job}", "ben").status == 404
    assert result_of(server, job)["labels"] == nrrd(3)


@pytest.mark.parametrize("stage", STAGES)
def test_cancelling_at_any_stage_leaves_no_process_and_no_file(server: RunningServer, stage: str):
    job = server.send(f"{stage} stop").json["id"]
    server.wait(job, stage=stage)
    workers = server.children()
    assert workers
    assert server.ask("DELETE", f"{JOBS}/{job}").status == 204
    assert all(map(is_gone, workers))
    assert server.ask("GET", f"{JOBS}/{job}").status == 404
    assert not any(job in name for name in server.files())


def test_a_worker_that_does_not_react_is_killed_on_cancel(server: RunningServer):
    job = server.send("locate deaf").json["id"]
    server.wait(job, stage="locate")
    workers = server.children()
    started = time.monotonic()
    assert server.ask("DELETE", f"{JOBS}/{job}").status == 204
    assert time.monotonic() - started < 5
    assert all(map(is_gone, workers))


def test_a_queued_job_is_cancelled_without_being_started(server: RunningServer):
    first = server.send("segment stop").json["id"]
    server.wait(first, stage="segment")
    second = server.send("segment crash").json
    assert (second["state"], second["place"]) == ("queued", 1)
    assert server.ask("DELETE", f"{JOBS}/{second['id']}").status == 204
    assert server.ask("DELETE", f"{JOBS}/{first}").status == 204


def test_a_client_with_few_jobs_does_not_wait_for_one_with_many(server: RunningServer):
    first = server.send("segment stop").json["id"]
    server.wait(first, stage="segment")
    many = [server.send().json["id"] for _ in range(4)]
    few = server.send(client="ben").json
    last = server.send(client="cleo").json
    assert (few["place"], last["place"]) == (2, 3)
    places = [server.ask("GET", f"{JOBS}/{job}").json["place"] for job in many]
    assert places == [1, 4, 5, 6]
    server.ask("DELETE", f"{JOBS}/{first}")
    for job, client in ((few["id"], "ben"), (last["id"], "cleo"), *((m, "anna") for m in many)):
        assert server.wait(job, client=client)["state"] == "done"


def test_the_worker_stays_for_the_next_job(server: RunningServer):
    server.wait(server.send().json["id"])
    workers = server.children()
    server.wait(server.send().json["id"])
    assert server.children() == workers
    assert len(workers) == 1


def test_metrics_count_the_jobs(server: RunningServer):
    text = server.ask("GET", "/metrics").body.decode()
    values = dict(line.split() for line in text.splitlines() if not line.startswith("#"))
    assert float(values["spinemamba_done_total"]) >= 1
    assert float(values["spinemamba_devices"]) == 1
    assert server.ask("GET", "/metrics", client=None).status == 401
