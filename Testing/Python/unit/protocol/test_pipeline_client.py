"""Whatever ends in a worker of a cohort, each of its cases ends in the parent, in bounded time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import planted_faults
import pytest

from spinemamba.protocol import events
from spinemamba.protocol.cohort import Fingerprint
from spinemamba.protocol.job import CohortJob
from spinemamba.protocol.pipeline_client import PipelineWorker

LONGEST_S = 60.0
"""Far beyond the time of a start on a busy computer, and far below for ever."""

BUG, CRASH, DONE, OOM = "INTERNAL", "CRASH", "done", "OOM_HOST"


def job(folder: Path, case: str) -> CohortJob:
    """Return a case whose stages do nothing."""
    fingerprint = Fingerprint("a" * 64, "b" * 64, "c" * 64)
    place = folder / "cases" / case
    return CohortJob(folder / case, place, case=case, source=case, fingerprint=fingerprint)


Start = Callable[..., PipelineWorker]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Function that returns a worker with a fault."""

    def started(place: str, silence_s: float = LONGEST_S) -> PipelineWorker:
        (tmp_path / "cases").mkdir()
        for name, value in planted_faults.environment(tmp_path, place).items():
            monkeypatch.setenv(name, value)
        return PipelineWorker(tmp_path / "run", tmp_path / "log", silence_s=silence_s)

    return started


def ends(folder: Path, worker: PipelineWorker) -> dict[str, str]:
    """Run cases a and b; return the code of each case, or "done"."""
    for case in "ab":
        worker.submit(job(folder, case))
    process = worker._process
    codes: dict[str, str] = {}
    deadline = time.monotonic() + LONGEST_S
    while worker.is_busy:
        assert time.monotonic() < deadline, f"still waiting after {codes}"
        for end in worker.ended_cases():
            failed = isinstance(end.event, events.Failed)
            codes[end.job.case] = end.event.code if failed else DONE
        time.sleep(0.01)
    worker.stop(LONGEST_S)
    assert process.returncode is not None
    return codes


IN_STAGES = [
    (f"{case} {stage} {error}", case, code)
    for case in "ab"
    for stage, error, code in (
        ("read", "TypeError", {BUG}),
        ("segment", "TypeError", {BUG}),
        ("write", "TypeError", {BUG}),
        ("read", "SystemExit", {CRASH}),
        ("write", "SystemExit", {CRASH}),
        ("segment", "MemoryError", {OOM}),
        ("segment", "Cancelled", {BUG}),
    )
]


@pytest.mark.parametrize(("place", "case", "code"), IN_STAGES)
def test_an_error_in_a_stage_ends_its_case_and_not_the_wait(
    tmp_path: Path, start: Start, place: str, case: str, code: set[str]
):
    codes = ends(tmp_path, start(place))
    assert codes.pop(case) in code
    assert set(codes.values()) <= {DONE, CRASH}
    assert len(codes) == 1


@pytest.mark.parametrize(
    ("place", "codes"),
    [
        ("none", {DONE}),
        ("b segment exit", {DONE, CRASH}),
        ("a read kill", {CRASH}),
        ("b write kill", {DONE, CRASH}),
        ("a segment closed", {CRASH}),
        ("b segment noise", {DONE, CRASH}),
        ("start", {CRASH}),
        ("model", {CRASH}),
        ("job file", {BUG, CRASH}),
        ("case", {BUG, CRASH}),
        ("thread", {CRASH}),
        ("pool", {CRASH}),
        ("finished", {CRASH}),
        ("closed pipe", {CRASH}),
        ("reporting", {DONE, CRASH}),
    ],
)
def test_a_worker_that_dies_anywhere_ends_its_cases(
    tmp_path: Path, start: Start, place: str, codes: set[str]
):
    found = ends(tmp_path, start(place))
    assert set(found) == {"a", "b"}
    assert set(found.values()) <= codes


@pytest.mark.parametrize("thread", ["listen", "beat"])
def test_a_worker_ends_with_each_of_its_threads(tmp_path: Path, start: Start, thread: str):
    worker = start(thread)
    worker.submit(job(tmp_path, "a"))
    assert worker._process.wait(LONGEST_S) is not None
    worker.ended_cases()
    assert not worker.is_busy


@pytest.mark.parametrize("place", ["silent start", "b segment freeze"])
def test_a_worker_without_a_sign_of_life_is_killed(tmp_path: Path, start: Start, place: str):
    codes = ends(tmp_path, start(place, silence_s=2.0))
    assert codes["b"] == CRASH


def test_a_parent_that_cannot_read_an_event_ends_the_worker(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
):
    from_line = events.from_line

    def broken(line: str) -> events.Event:
        event = from_line(line)
        if isinstance(event, events.Finished):
            raise TypeError(line)
        return event

    monkeypatch.setattr(events, "from_line", broken)
    monkeypatch.setattr(threading, "excepthook", lambda how: None)
    assert set(ends(tmp_path, start("none")).values()) == {CRASH}


def test_a_stopped_parent_does_not_count_the_time_as_silence(tmp_path: Path, start: Start):
    worker = start("none", silence_s=1.5)
    worker.submit(job(tmp_path, "a"))
    worker._looked_s -= 3600
    found = worker.ended_cases()
    assert all(isinstance(end.event, events.Finished) for end in found)
    worker.stop()
