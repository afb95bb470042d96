"""Batches of random patches: drawn one after the other, or ahead of time in worker processes."""

from __future__ import annotations

import hashlib
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from spinemamba.common.errors import Code, UserError
from spinemamba.training.data.case_store import TrainingCase
from spinemamba.training.data.dataset import IGNORE_INDEX
from spinemamba.training.data.patches import PatchOptions, draw_patch
from spinemamba.training.loss import Targets
from spinemamba.training.phases import LastPhase
from spinemamba.training.synthesis.options import SynthesisOptions
from spinemamba.training.synthesis.paint import paint

Batch = tuple[Tensor, Targets]
"""Images (B, 1, D, H, W) and their targets."""

_AHEAD = 2
"""Batches that each worker draws ahead."""

_SHARED_MEMORY = Path("/dev/shm")
"""Where Linux keeps the batches that workers pass on; containers often give it 64 MB only."""

_VOXEL_BYTES = 24
"""Bytes of a voxel of a patch: image, target, share of bone, core and whether it is known, offset,
and other bones."""


@dataclass(frozen=True)
class PatchSource:
    """The distribution that patches are drawn from.

    Attributes:
        cases: Cases, in memory or on disk.
        weights: Relative sampling weight of each case.
        patch: Distribution of position, size and orientation.
        synthesis: Probabilities of the image synthesis.
        phase: What changes towards the end of the schedule.
        seed: Seed of numbered patches.
    """

    cases: Sequence[TrainingCase]
    weights: Tensor
    patch: PatchOptions
    synthesis: SynthesisOptions
    phase: LastPhase
    seed: int

    def draw(self, generator: torch.Generator, done: float) -> Batch:
        """Return a batch of one random patch at a share of the schedule."""
        weights = self.phase.case_weights(self.weights, self.cases, done)
        case = self.cases[int(torch.multinomial(weights, 1, generator=generator))]
        strength = self.phase.strength(done)
        patch = draw_patch(case.opened(), self.patch.weakened(strength), generator)
        image = paint(patch, generator, self.synthesis.weakened(strength))
        # A batch has the same fields for all of its patches.
        beside = torch.zeros_like(patch.target) if patch.beside is None else patch.beside
        known = patch.target != IGNORE_INDEX if patch.core_known is None else patch.core_known
        targets = Targets(patch.target, patch.bone, patch.core, patch.offset, beside, known)
        return image[None, None], targets.each(lambda t: t[None])

    def numbered(self, number: int, done: float) -> Batch:
        """Return the patch of a number, which depends on seed, number and schedule only."""
        digest = hashlib.sha256(f"{self.seed} {number}".encode()).digest()
        seed = int.from_bytes(digest[:7], "big")
        return self.draw(torch.Generator().manual_seed(seed), done)


def joined(batches: Sequence[Batch]) -> Batch:
    """Return several batches as one."""
    if len(batches) == 1:
        return batches[0]
    image = torch.cat([image for image, _ in batches])
    names = [field.name for field in fields(Targets)]
    every = {name: torch.cat([getattr(t, name) for _, t in batches]) for name in names}
    return image, Targets(**every)


def on_device(batch: Batch, device: torch.device) -> Batch:
    """Return a batch on a device; copies from pinned memory to a GPU do not block."""
    image, targets = batch
    move = {"device": device, "non_blocking": device.type == "cuda"}
    return image.to(**move), targets.each(lambda t: t.to(**move))


class Feed(Protocol):
    """A series of batches."""

    def next(self) -> Batch:
        """Return the next batch.

        Raises:
            UserError: If a case cannot be read, or a worker process has ended.
        """

    def preview(self, count: int) -> list[Batch]:
        """Return ``count`` patches; the series stays the same."""


def _at_start(batch: int) -> float:
    """Return the completed share of the schedule at every batch if there is no schedule."""
    return 0.0


@dataclass(frozen=True)
class Place:
    """Where in a schedule a series of batches starts.

    Attributes:
        batch: Number of the first batch.
        done_at: Returns the completed share of the schedule at a batch.
    """

    batch: int = 0
    done_at: Callable[[int], float] = _at_start


_START = Place()


class SequenceFeed:
    """Patches drawn in this process from one sequence of random numbers.

    Args:
        source: Distribution of the patches.
        generator: Its state, kept in the checkpoint, determines all further patches.
        size: Patches per batch.
        place: Where the series continues.
    """

    def __init__(
        self, source: PatchSource, generator: torch.Generator, size: int, place: Place = _START
    ):
        self._source, self._generator, self._size = source, generator, size
        self._place, self._batch = place, place.batch

    def next(self) -> Batch:
        """Return the next batch."""
        done = self._place.done_at(self._batch)
        self._batch += 1
        return joined([self._source.draw(self._generator, done) for _ in range(self._size)])

    def preview(self, count: int) -> list[Batch]:
        """Return the next patches; the state of the generator is restored."""
        state = self._generator.get_state()
        done = self._place.done_at(self._batch)
        patches = [self._source.draw(self._generator, done) for _ in range(count)]
        self._generator.set_state(state)
        return patches


@dataclass(frozen=True)
class Share:
    """The share of one process in the numbered patches.

    Attributes:
        size: Patches per batch of one process.
        rank: Number of the process.
        processes: Number of processes.
    """

    size: int = 1
    rank: int = 0
    processes: int = 1

    def numbers(self, batch: int) -> range:
        """Return the numbers of the patches of a batch of this process."""
        first = (batch * self.processes + self.rank) * self.size
        return range(first, first + self.size)


class NumberedFeed:
    """Patches with a seed for each number, so that any process can draw any of them.

    Args:
        source: Distribution of the patches.
        share: Which patches this process takes.
        place: Where the series continues.
    """

    def __init__(self, source: PatchSource, share: Share, place: Place = _START):
        self._source, self._share = source, share
        self._place, self._batch = place, place.batch
        self._ahead: Iterator[Any] | None = None

    @contextmanager
    def in_workers(self, workers: int, device: torch.device) -> Iterator[None]:
        """Draw the patches in worker processes while the block runs.

        Args:
            workers: Number of processes; with 0 patches are drawn in this process.
            device: Device of the training; batches for a GPU are put into pinned memory.

        Raises:
            UserError: If there is too little shared memory for the batches (OOM_HOST).
        """
        if workers == 0:
            yield
            return
        _check_shared_memory(self._source, self._share, workers)
        loader = DataLoader(
            _Drawn(self._source),
            batch_sampler=_Numbers(self._share, self._place, self._batch),
            collate_fn=_collated,
            num_workers=workers,
            prefetch_factor=_AHEAD,
            pin_memory=device.type == "cuda",
            multiprocessing_context="spawn",  # forking a process with threads can deadlock
        )
        try:
            with _signals_blocked():
                self._ahead = iter(loader)
            yield
        finally:
            self._ahead = None  # ends the processes

    def next(self) -> Batch:
        """Return the next batch."""
        if self._ahead is None:
            numbers = self._share.numbers(self._batch)
            done = self._place.done_at(self._batch)
            drawn = joined([self._source.numbered(number, done) for number in numbers])
        else:
            drawn = _received(self._ahead)
        self._batch += 1
        return drawn

    def preview(self, count: int) -> list[Batch]:
        """Return the patches of the next numbers."""
        first = self._share.numbers(self._batch).start
        done = self._place.done_at(self._batch)
        return [self._source.numbered(first + k, done) for k in range(count)]


@dataclass(frozen=True)
class _Drawn:
    """The numbered patches as a data set of torch."""

    source: PatchSource

    def __getitem__(self, wanted: tuple[int, float]) -> Batch | UserError:
        try:
            return self.source.numbered(*wanted)
        except UserError as error:  # torch would raise it with another message
            return error


@dataclass(frozen=True)
class _Numbers:
    """Numbers of the patches of each batch and their shares of the schedule, without end."""

    share: Share
    place: Place
    first: int

    def __iter__(self) -> Iterator[list[tuple[int, float]]]:
        batch = self.first
        while True:
            done = self.place.done_at(batch)
            yield [(number, done) for number in self.share.numbers(batch)]
            batch += 1


def _collated(patches: list[Batch | UserError]) -> dict[str, Tensor] | UserError:
    """Return a batch as tensors by name, which torch can put into pinned memory."""
    for patch in patches:
        if isinstance(patch, UserError):
            return patch
    image, targets = joined(patches)
    return {"image": image} | {f.name: getattr(targets, f.name) for f in fields(targets)}


def _received(ahead: Iterator[Any]) -> Batch:
    """Return the next batch of the worker processes.

    Raises:
        UserError: If a case cannot be read, or a process has ended (OOM_HOST).
    """
    try:
        batch = next(ahead)
    except RuntimeError as error:
        if "worker" not in str(error):
            raise
        raise UserError(
            "A process that draws patches ended; the computer may have too little memory.",
            "Use fewer --workers. The same command continues from the last checkpoint.",
            Code.OOM_HOST,
        ) from error
    if isinstance(batch, UserError):
        raise batch
    return batch.pop("image"), Targets(**batch)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block Ctrl+C and SIGTERM for processes that are started meanwhile.

    A scheduler or a terminal sends signals to all processes. The training finishes its step and
    saves, for which it needs its workers, and then ends them itself.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # Python unblocks the signals when it starts this process together with the first worker.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _check_shared_memory(source: PatchSource, share: Share, workers: int) -> None:
    """Refuse workers whose batches do not fit into shared memory; torch would be killed.

    Raises:
        UserError: If they do not (OOM_HOST).
    """
    if not _SHARED_MEMORY.is_dir():
        return
    voxels = torch.Size(source.patch.size_vox).numel()
    needed = voxels * _VOXEL_BYTES * share.size * (_AHEAD * workers + 1)
    free = shutil.disk_usage(_SHARED_MEMORY).free
    if free < needed:
        raise UserError(
            f"{workers} workers need {needed / 1e6:.0f} MB of shared memory; {_SHARED_MEMORY} has "
            f"{free / 1e6:.0f} MB.",
            "Use fewer --workers, or give the container more (docker run --shm-size).",
            Code.OOM_HOST,
        )
