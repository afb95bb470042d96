"""Reading, segmenting and writing of cases overlap; a case in the pipeline is freed afterwards."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from spinemamba.jobs import pipeline


class Case:
    """A case that notes its stages; a stage may wait for a stage of another case."""

    def __init__(self, name: str, log: list[str], waits: dict[str, threading.Event]):
        self.name, self._log, self._waits = name, log, waits

    def read(self) -> None:
        self._stage("read")

    def segment(self, load: object) -> None:
        self._stage("segment")

    def write(self) -> None:
        self._stage("write")

    def _stage(self, stage: str) -> None:
        self._log.append(f"{stage} {self.name}")
        done = self._waits.get(f"{stage} {self.name}")
        if done is not None:
            assert done.wait(20)


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """No networks."""
    monkeypatch.setattr(pipeline, "_kept_model", lambda: None)


def run(cases: list[Case | None], attempt: Callable[..., bool]) -> None:
    """Run cases to the end."""
    queue = iter([*cases, None])
    pipeline.run_pipeline(lambda: next(queue), attempt)


def always(case: Case, stage: str, work: Callable[[], None]) -> bool:
    """Run a stage."""
    work()
    return True


def test_the_next_case_is_read_while_one_is_segmented():
    log, read_b = [], threading.Event()
    cases = [Case(name, log, {"segment a": read_b}) for name in "ab"]

    def attempt(case: Case, stage: str, work: Callable[[], None]) -> bool:
        work()
        if (case.name, stage) == ("b", "read"):
            read_b.set()
        return True

    run(cases, attempt)
    assert log.index("read b") > log.index("read a")
    assert set(log) == {
        f"{stage} {name}" for stage in ("read", "segment", "write") for name in "ab"
    }


def test_a_case_is_written_while_the_next_is_segmented():
    log, written = [], threading.Event()
    cases = [Case(name, log, {"segment b": written}) for name in "ab"]

    def attempt(case: Case, stage: str, work: Callable[[], None]) -> bool:
        work()
        if (case.name, stage) == ("a", "write"):
            written.set()
        return True

    run(cases, attempt)
    assert log[-1] == "write b"


@pytest.mark.parametrize("stage", ["read", "segment"])
def test_a_case_that_fails_has_no_further_stage(stage: str):
    log: list[str] = []

    def attempt(case: Case, at: str, work: Callable[[], None]) -> bool:
        work()
        return (case.name, at) != ("a", stage)

    run([Case(name, log, {}) for name in "ab"], attempt)
    assert "write b" in log
    assert "write a" not in log
    assert ("segment a" in log) == (stage == "segment")


def test_no_case_is_kept_after_it_was_written():
    log: list[str] = []
    alive: list[weakref.ref[Case]] = []
    most = 0

    def next_case() -> Case | None:
        nonlocal most
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive))
        if len(alive) == 20:
            return None
        case = Case(str(len(alive)), log, {})
        alive.append(weakref.ref(case))
        # The parent sends a case when another one has left the networks.
        while len(log) < 3 * (len(alive) - 3):
            pass
        return case

    pipeline.run_pipeline(next_case, always)
    assert len(log) == 60
    assert most <= 6  # a case that has just been written may still be in use


def test_arrays_in_figures_are_freed_after_each_case():
    log: list[str] = []
    alive: list[weakref.ref[Case]] = []
    most = 0

    def next_case() -> Case | None:
        nonlocal most
        while len(log) < 3 * (len(alive) - 2):
            time.sleep(0.001)
        most = max(most, sum(ref() is not None for ref in alive))
        if len(alive) == 30:
            return None
        case = Case(str(len(alive)), log, {})
        case.figure = case  # a figure refers to its canvas, and the canvas to the figure
        alive.append(weakref.ref(case))
        return case

    gc.disable()
    try:
        pipeline.run_pipeline(next_case, always)
    finally:
        gc.enable()
        gc.unfreeze()
    assert len(log) == 90
    assert most <= 8


def test_a_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    loaded: list[tuple[Path, str, str]] = []
    monkeypatch.setattr(
        "spinemamba.inference.model.load_model", lambda *how: loaded.append(how) or len(loaded)
    )
    load = pipeline._kept_model()
    for device in ("cuda", "cuda", "cpu", "cuda", "cpu"):
        load(Path("m"), device, "auto")
    assert [device for _, device, _ in loaded] == ["cuda", "cpu"]
