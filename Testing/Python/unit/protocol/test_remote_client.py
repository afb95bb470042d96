"""The client of a server: cancel, outages, refusals, and true errors; with a worker of boxes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from cut_network import network_to
from fake_method import write_scan
from server_process import local_server

from spinemamba.common.errors import UserError
from spinemamba.common.progress import FETCH, SEND, STAGES
from spinemamba.protocol import events
from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.remote.http_connection import Connection
from spinemamba.protocol.remote.remote_job import Patience, RemoteJob
from spinemamba.protocol.remote.remote_worker import RemoteWorker
from spinemamba.protocol.remote.server_client import ServerClient
from spinemamba.protocol.remote.site import Site
from spinemamba.protocol.result import read_result

QUICK = Patience(outage_s=20.0, first_s=0.05, longest_s=0.2, poll_s=0.1)
SLOW = {"PAUSE_S": "0.06"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with local_server(tmp_path_factory.mktemp("server"), environment=SLOW) as made:
        yield made


def job_in(folder: Path) -> SegmentJob:
    folder.mkdir(exist_ok=True)
    return SegmentJob(
        write_scan(folder / "Doe John.nrrd"), folder / "labels.nrrd", folder / "result.json"
    )


class Events:
    """The events of a worker, one by one."""

    def __init__(self, worker: RemoteWorker):
        self._worker, self._left = worker, []

    def until(self, wanted=lambda event: False, seconds: float = 60.0) -> list[events.Event]:
        """Return the events up to the last one, or to one that is wanted."""
        found, end_s = [], time.monotonic() + seconds
        while time.monotonic() < end_s:
            self._left += self._worker.new_events()
            while self._left:
                found.append(event := self._left.pop(0))
                if wanted(event) or isinstance(event, events.Finished | events.Failed):
                    return found
            time.sleep(0.01)
        raise AssertionError(f"no end within {seconds} s: {found[-3:]}")


def follow(worker: RemoteWorker) -> list[events.Event]:
    """Return all events."""
    return Events(worker).until()


def at(stage: str):
    return lambda event: isinstance(event, events.Progress) and event.stage == stage


def test_a_job_gives_the_files_of_a_local_run_and_leaves_nothing(server, tmp_path):
    job = job_in(tmp_path / "run")
    worker = RemoteWorker.start(job, tmp_path, Site(server.url), QUICK)
    found = follow(worker)
    assert isinstance(found[-1], events.Finished), found[-1]
    shown = [event for event in found if isinstance(event, events.Progress)]
    assert shown[0].stage == SEND
    assert shown[-1].stage == FETCH
    assert {event.stage for event in shown} >= set(STAGES) - {"read"}
    overall = [event.overall for event in shown]
    assert overall == sorted(overall)
    assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(job.output))))) > {0}
    assert read_result(job.result).model_name == "boxes"
    assert worker.where.startswith("Ward (127.0.0.1:")
    assert "model " in worker.where
    assert "Doe" not in worker.log.read_text()
    server.wait_until_idle()
    everything = b"".join(p.read_bytes() for p in server.folder.rglob("*") if p.is_file())
    assert b"Doe John" not in everything


@pytest.mark.parametrize("stage", [SEND, "read", "segment", "write", FETCH])
def test_a_job_is_cancelled_at_each_stage(server, tmp_path, stage):
    job = job_in(tmp_path / "run")
    worker = RemoteWorker.start(job, tmp_path, Site(server.url), QUICK)
    assert at(stage)(Events(worker).until(at(stage))[-1])
    started_s = time.monotonic()
    worker.ask_to_stop()
    while worker.is_running():
        assert time.monotonic() - started_s < 5
        time.sleep(0.01)
    worker.kill()
    assert not [e for e in worker.new_events() if isinstance(e, events.Finished | events.Failed)]
    assert sorted(p.name for p in job.output.parent.iterdir()) == ["Doe John.nrrd"]
    server.wait_until_idle()


@pytest.mark.parametrize("stage", [SEND, "read", "segment", FETCH])
def test_an_outage_at_each_stage_only_delays_the_job(server, tmp_path, stage):
    job = job_in(tmp_path / "run")
    with network_to(server.port) as network:
        worker = RemoteWorker.start(job, tmp_path, Site(network.url), QUICK)
        found = Events(worker)
        early = found.until(at(stage))
        network.cut()
        time.sleep(0.8)  # of 20 s, with waits that are shorter by the same factor
        network.mend()
        late = found.until()
    assert isinstance(late[-1], events.Finished), late[-1]
    warned = [e.message for e in [*early, *late] if isinstance(e, events.Warning)]
    if stage not in (SEND, FETCH):  # short transfers may end before the cut
        assert len(warned) == 1
        assert "Trying again" in warned[0]
    assert {p.name for p in job.output.parent.iterdir()} >= {"labels.nrrd", "result.json"}
    server.wait_until_idle()


@pytest.mark.long  # 20 s of waiting, as users have them; the test above shortens all waits
def test_an_outage_of_twenty_seconds_only_delays_the_job(server, tmp_path):
    job = job_in(tmp_path / "run")
    with network_to(server.port) as network:
        worker = RemoteWorker.start(job, tmp_path, Site(network.url), Patience(poll_s=0.1))
        found = Events(worker)
        found.until(at("locate"))
        network.cut()
        time.sleep(20)
        network.mend()
        mended_s = time.monotonic()
        late = found.until()
    assert isinstance(late[-1], events.Finished), late[-1]
    assert time.monotonic() - mended_s < 10
    server.wait_until_idle()


def test_an_outage_that_lasts_is_an_error_and_leaves_no_file(server, tmp_path):
    job = job_in(tmp_path / "run")
    patience = Patience(outage_s=0.3, first_s=0.05, longest_s=0.1, poll_s=0.1)
    with network_to(server.port) as network:
        worker = RemoteWorker.start(job, tmp_path, Site(network.url), patience)
        found = Events(worker)
        found.until(at("segment"))
        network.cut()
        failure = found.until()[-1]
    assert isinstance(failure, events.Failed)
    assert failure.code == "SERVER_UNREACHABLE"
    assert sorted(p.name for p in job.output.parent.iterdir()) == ["Doe John.nrrd"]
    # What the server could not be told is cancelled here, so that the next test finds it idle.
    for job in (server.state / "jobs").iterdir():
        ServerClient(Connection(Site(server.url))).cancel(job.name)


def test_an_error_of_the_job_arrives_with_its_words(tmp_path):
    job = job_in(tmp_path / "run")
    stop = {"STOP_AT": "segment", "HOW": "NO_SPINE"}
    with local_server(tmp_path / "server", environment=stop) as server:
        failure = follow(RemoteWorker.start(job, tmp_path, Site(server.url), QUICK))[-1]
    assert failure == events.Failed("NO_SPINE", "The value is 3.", "Take 4.")


def test_a_server_that_crashes_and_one_that_is_none_are_named(server, tmp_path):
    for url, words in (
        ("http://127.0.0.1:9", "No server answers"),
        (f"{server.url}/elsewhere", "no such address"),
    ):
        job = job_in(tmp_path / "run")
        patience = Patience(outage_s=0.1, first_s=0.05)
        failure = follow(RemoteWorker.start(job, tmp_path, Site(url), patience))[-1]
        assert words in failure.message
    remote = RemoteJob(ServerClient(Connection(Site(server.url))), lambda *_: None, print)
    other = SegmentJob(tmp_path / "run" / "Doe John.nrrd", tmp_path / "x.nrrd", model="other")
    with pytest.raises(UserError, match="does not offer the chosen model"):
        remote.run(other)


def test_a_refusal_in_the_middle_of_an_upload_arrives_with_its_words(server, tmp_path):
    job = job_in(tmp_path / "run")
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 900000 900 900\nencoding: raw\n\n"
    job.input.write_bytes(header.encode() + bytes(40 << 20))
    failure = follow(RemoteWorker.start(job, tmp_path, Site(server.url), QUICK))[-1]
    assert isinstance(failure, events.Failed)
    assert failure.code in ("INPUT_BAD", "SERVER_REFUSED"), failure
    server.wait_until_idle()


def test_a_wrong_token_is_refused_before_the_image_is_sent(tmp_path):
    from spinemamba.cli.main import main

    tokens = tmp_path / "tokens.json"
    assert main(["server-token", "add", str(tokens), "ward-7"]) == 0
    with local_server(tmp_path / "server", tokens=tokens) as server:
        job = job_in(tmp_path / "run")
        site = Site(server.url, "Bearer wrong")
        found = follow(RemoteWorker.start(job, tmp_path, site, QUICK))
    assert [type(event) for event in found] == [events.Failed]
    assert found[0].code == "SERVER_REFUSED"
    assert "wrong" not in found[0].message
