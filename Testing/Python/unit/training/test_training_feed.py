"""Series of patches: numbered or in one sequence, drawn in this process or in workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import CONFIG, lumbar_case

from spinemamba.common.errors import Code, UserError
from spinemamba.training import feed
from spinemamba.training.data.case_store import CaseStore, StoredCase
from spinemamba.training.data.dataset import Case
from spinemamba.training.data.patches import PatchOptions
from spinemamba.training.feed import (
    Batch,
    NumberedFeed,
    PatchSource,
    Place,
    SequenceFeed,
    Share,
)
from spinemamba.training.phases import LastPhase
from spinemamba.training.synthesis.options import DEFAULT_SYNTHESIS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def case() -> Case:
    return lumbar_case()


@pytest.fixture
def stored(case: Case, tmp_path: Path) -> StoredCase:
    store = CaseStore(tmp_path / "cases", 4.0)
    return store.add(case, store.path_of(case.name, "key"))


def source(*cases: Case | StoredCase) -> PatchSource:
    patch = PatchOptions(CONFIG.patch_vox)
    return PatchSource(cases, torch.ones(len(cases)), patch, DEFAULT_SYNTHESIS, LastPhase(0.5), 5)


def equal(one: Batch, other: Batch) -> bool:
    pairs = zip(vars(one[1]).values(), vars(other[1]).values(), strict=True)
    return torch.equal(one[0], other[0]) and all(
        torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) for a, b in pairs
    )


def split(batch: Batch) -> list[Batch]:
    image, targets = batch
    parts = range(len(image))
    return [
        (image[k : k + 1], replace(targets, **{n: v[k : k + 1] for n, v in vars(targets).items()}))
        for k in parts
    ]


def test_a_numbered_patch_depends_on_its_number_only(case: Case, stored: StoredCase):
    one, other = source(case), source(stored)
    for number in (0, 7, 10**12):
        assert equal(one.numbered(number, 0.0), other.numbered(number, 0.0))
    assert not equal(one.numbered(0, 0.0), one.numbered(1, 0.0))
    assert not equal(one.numbered(0, 0.0), replace(one, seed=6).numbered(0, 0.0))
    assert not equal(one.numbered(0, 0.0), one.numbered(0, 0.9))  # the last phase


SHARES = [(4, 1, 1), (2, 2, 1), (1, 4, 1), (2, 1, 2), (1, 2, 2), (1, 1, 4)]
"""Patches per batch, processes, batches per step; each is four patches per step."""


@pytest.mark.parametrize(("size", "processes", "parts"), SHARES)
def test_every_division_of_a_step_takes_the_same_patches(size: int, processes: int, parts: int):
    for step in (0, 3):
        numbers = [
            number
            for part in range(parts)
            for rank in range(processes)
            for number in Share(size, rank, processes).numbers(step * parts + part)
        ]
        assert numbers == list(range(4 * step, 4 * step + 4))


def test_workers_draw_the_patches_that_the_training_would_draw(case: Case, stored: StoredCase):
    place = Place(3, lambda batch: batch / 7)  # the last phase begins with the second batch
    expected = NumberedFeed(source(case), Share(2), place)
    ahead = NumberedFeed(source(stored), Share(2), place)
    with ahead.in_workers(2, CPU):
        drawn = [ahead.next() for _ in range(3)]
    drawn.append(ahead.next())  # without workers it continues in this process
    assert all(equal(batch, expected.next()) for batch in drawn)


def test_a_feed_that_starts_later_continues_the_series(case: Case):
    whole = NumberedFeed(source(case), Share(1))
    batches = [whole.next() for _ in range(4)]
    assert equal(NumberedFeed(source(case), Share(1), Place(3)).next(), batches[3])


def test_a_preview_does_not_change_the_series(case: Case):
    def feeds() -> tuple[SequenceFeed, NumberedFeed]:
        generator = torch.Generator().manual_seed(1)
        return SequenceFeed(source(case), generator, 2), NumberedFeed(source(case), Share(2))

    for looked, not_looked in zip(feeds(), feeds(), strict=True):
        shown = looked.preview(2)
        batch = looked.next()
        assert equal(batch, not_looked.next())
        assert all(map(equal, shown, split(batch)))


def test_a_damaged_case_is_reported_by_a_worker(stored: StoredCase):
    stored.path.write_bytes(b"{}")
    series = NumberedFeed(source(stored), Share(1))
    with series.in_workers(1, CPU), pytest.raises(UserError, match="is damaged") as caught:
        series.next()
    assert caught.value.code == Code.MODEL_BAD


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs POSIX signals")
def test_workers_outlive_the_signal_after_which_the_training_saves(case: Case):
    series = NumberedFeed(source(case), Share(1))
    before = set(multiprocessing.active_children())
    with series.in_workers(1, CPU):
        series.next()
        for worker in set(multiprocessing.active_children()) - before:
            os.kill(worker.pid, signal.SIGTERM)
            os.kill(worker.pid, signal.SIGINT)
        for _ in range(6):  # more than are drawn ahead
            series.next()
    assert set(multiprocessing.active_children()) <= before


class DeadlyCase:
    """A case whose process is killed, as the system does when memory is short."""

    name, origin, levels = "deadly", None, ()

    def opened(self) -> Case:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_killed_worker_is_reported_with_a_remedy():
    series = NumberedFeed(source(DeadlyCase()), Share(1))
    with series.in_workers(1, CPU), pytest.raises(UserError, match="fewer --workers") as caught:
        series.next()
    assert caught.value.code == Code.OOM_HOST


def test_batches_too_large_for_shared_memory_are_refused(case: Case, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(feed, "_SHARED_MEMORY", tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: FREE)
    series = NumberedFeed(source(case), Share(64))
    with pytest.raises(UserError, match="shared memory") as caught, series.in_workers(4, CPU):
        pytest.fail("it has begun")
    assert caught.value.code == Code.OOM_HOST


class FREE:
    """Disk usage with 1 MB left."""

    free = 10**6
