"""Run the cases of a cohort that remain: locks, workers, retries. Standard library only.

Nothing but the files of the cases is kept between runs. A case is locked while it is in progress,
so that several runs may work on the same folder. The lock of a killed process is free.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from spinemamba.cohort.found import FoundCase
from spinemamba.cohort.state import UNFINISHED, CaseStates, CohortOptions, State
from spinemamba.common.atomic_files import check_place, write_error
from spinemamba.common.errors import Code, UserError
from spinemamba.common.folders import replace_folder
from spinemamba.common.locks import FileLock
from spinemamba.common.scratch import scratch
from spinemamba.protocol import events
from spinemamba.protocol.cohort import CASES, FAILED, CaseRecord, Failure, Fingerprint
from spinemamba.protocol.job import DICOM_SEG, CohortJob
from spinemamba.protocol.model_card import model_elsewhere
from spinemamba.protocol.pipeline_client import AHEAD, CaseEnd, PipelineWorker

LOCKS, LOGS = "locks", "logs"

_TRIED_AGAIN = frozenset({Code.CRASH.value, Code.OOM_GPU.value, Code.OOM_HOST.value})
"""Failures after which a case is tried once more: alone in memory, and on the CPU."""

_MOST_CRASHES = 5
"""Crashes without any finished case after which the run stops: the installation is broken."""

_POLL_S, _OTHERS_POLL_S = 0.05, 0.5

_END_S = 1.0
"""Time in seconds for an idle worker to end by itself."""


@dataclass(frozen=True)
class WorkerOptions:
    """How the cases are computed; none of it changes a result.

    Attributes:
        devices: Device of each worker.
        threads: Threads of each worker; 0 leaves the choice to torch.
    """

    devices: tuple[str, ...] = ("auto",)
    threads: int = 0


@dataclass
class Tally:
    """Numbers of cases.

    Attributes:
        total: All cases of this run.
        before: Cases that were done before.
        done: Cases that this run has done.
        failed: Cases that failed, now or before.
        others: Cases that another run has done meanwhile.
    """

    total: int
    before: int = 0
    done: int = 0
    failed: int = 0
    others: int = 0

    @property
    def ended(self) -> int:
        """Cases that need no more work."""
        return self.before + self.done + self.failed + self.others


@dataclass(frozen=True)
class _Claim:
    """A case that this run has locked, and its job."""

    case: FoundCase
    job: CohortJob
    lock: FileLock


@dataclass
class CohortRun:
    """A run over the cases of a cohort.

    Attributes:
        out: Output folder.
        states: What the files say.
        options: Options that decide the outputs.
        workers: How the cases are computed.
        report: Called after each case that ended in this run, with its record.
        tally: Numbers so far.
    """

    out: Path
    states: CaseStates
    options: CohortOptions
    workers: WorkerOptions
    report: Callable[[CaseRecord, Tally], None]
    tally: Tally = field(default_factory=lambda: Tally(0))
    _claims: dict[str, _Claim] = field(default_factory=dict)
    _again: list[_Claim] = field(default_factory=list)
    _elsewhere: list[FoundCase] = field(default_factory=list)
    _started: list[PipelineWorker] = field(default_factory=list)
    _crashes: int = 0

    def run(self, cases: Iterable[FoundCase]) -> Tally:
        """Run all cases that remain; return the numbers.

        Raises:
            UserError: If the worker crashes again and again (CRASH), or the output folder cannot
                be written.
            KeyboardInterrupt: After Ctrl+C; no partial files remain.
        """
        queue = deque(cases)
        self.tally.total = len(queue)
        # The next run removes what a killed run leaves there. The worker has another directory.
        with scratch(self.out.absolute() / LOCKS) as hidden:
            try:
                self._run(queue, hidden)
            finally:
                self._stop()
                for claim in self._claims.values():
                    claim.lock.release()
        return self.tally

    def _run(self, queue: deque[FoundCase | _Claim], hidden: Path) -> None:
        workers = [self._worker(device, hidden) for device in self.workers.devices]
        while queue:
            self._process(queue, workers)
            if self._again:
                self._stop()  # so that the next worker has the memory for itself
                again, self._again = deque(self._again), []
                self._process(again, [self._worker("cpu", hidden, ahead=1)])
            queue = deque(self._wait_for_others())

    def _worker(self, device: str, hidden: Path, ahead: int = AHEAD) -> tuple[PipelineWorker, str]:
        threads = {"OMP_NUM_THREADS": str(self.workers.threads)} if self.workers.threads else {}
        log = self.out / LOGS / f"worker-{time.time_ns():x}.log"
        folder = hidden / str(len(self._started))
        self._started.append(PipelineWorker(folder, log, ahead, threads))
        return self._started[-1], device

    def _stop(self) -> None:
        for worker in self._started:
            worker.stop(events.GRACE_S if worker.is_busy else _END_S)

    def _process(
        self, queue: deque[FoundCase | _Claim], workers: list[tuple[PipelineWorker, str]]
    ) -> None:
        """Run cases until the queue is empty and all workers have nothing to do."""
        while queue or any(worker.is_busy for worker, _ in workers):
            for worker, device in workers:
                if queue and worker.has_room:
                    item = queue.popleft()
                    claim = item if isinstance(item, _Claim) else self._claim(item, device)
                    if claim is not None:
                        self._claims[claim.case.name] = claim
                        worker.submit(claim.job)
                ends = worker.ended_cases()
                for end in ends:
                    self._end(end)
                self._check_crashes(ends)
            if not queue or not any(worker.has_room for worker, _ in workers):
                time.sleep(_POLL_S)

    def _claim(self, case: FoundCase, device: str) -> _Claim | None:
        """Lock a case and return its job; None if nothing is to do, or another run has it."""
        lock = FileLock.take(self.out / LOCKS / f"{case.name}.lock")
        if lock is None:
            self._elsewhere.append(case)
            return None
        try:
            fingerprint, stamp = self.states.identify(case)
            state = self.states.state(case, fingerprint)
            if state in UNFINISHED:
                return _Claim(case, self._job(case, device, fingerprint, stamp), lock)
        except BaseException:
            lock.release()
            raise
        lock.release()
        self.tally.before += state is State.DONE
        self.tally.failed += state is State.FAILED
        return None

    def _job(self, case: FoundCase, device: str, fingerprint: Fingerprint, stamp: str) -> CohortJob:
        options = self.options
        return CohortJob(
            case.path.absolute(),
            self.states.folder(case).absolute(),
            case=case.name,
            source=case.source,
            fingerprint=fingerprint,
            input_stamp=stamp,
            model=model_elsewhere(options.model),
            device=device,
            modality=options.modality_of(case),
            precision=options.precision,
            quality=options.quality,
            measurements=options.measurements,
            keep_pieces=options.keep_pieces,
            fine_slices=options.fine_slices,
            levels_from=case.levels_from and case.levels_from.absolute(),
            # A DICOM SEG refers to the images of its series.
            also=tuple(x for x in options.also if x != DICOM_SEG or case.series_uid),
        )

    def _end(self, end: CaseEnd) -> None:
        """Count a case that ended, or keep it for another attempt."""
        claim, event = self._claims.pop(end.job.case), end.event
        failed = isinstance(event, events.Failed)
        if _code(event) in _TRIED_AGAIN and end.job.attempt == 1:
            job = replace(claim.job, attempt=2, device="cpu")
            self._again.append(replace(claim, job=job))
            self._claims[end.job.case] = claim
        else:
            if failed:
                self._write_failure(claim, event)
            claim.lock.release()
            self.tally.failed += failed
            self.tally.done += not failed
            record = self.states.record(claim.case)
            if record is not None:
                self.report(record, self.tally)

    def _check_crashes(self, ends: list[CaseEnd]) -> None:
        """Stop the run if the worker does nothing but crash.

        Raises:
            UserError: If it does (CRASH).
        """
        self._crashes += any(_code(end.event) == Code.CRASH.value for end in ends)
        if self._crashes >= _MOST_CRASHES and not self.tally.done:
            raise UserError(
                f"The worker ended {self._crashes} times without finishing a case.",
                f"Read the log in {self.out / LOGS}, and run 'spinemamba probe'.",
                Code.CRASH,
            )

    def _write_failure(self, claim: _Claim, event: events.Failed) -> None:
        """Replace the folder of a case by one with nothing but its record."""
        job, folder = claim.job, self.states.folder(claim.case)
        record = CaseRecord(
            case=job.case,
            input=job.source,
            fingerprint=job.fingerprint,
            input_stamp=job.input_stamp,
            state=FAILED,
            attempts=job.attempt,
            failure=Failure(event.code, event.message, event.remedy),
        )
        with scratch(folder.parent) as hidden:
            new = hidden / folder.name
            new.mkdir()
            record.write(new)
            replace_folder(new, folder, hidden)

    def _wait_for_others(self) -> list[FoundCase]:
        """Wait for cases of other runs; return those that these runs have given up."""
        while self._elsewhere:
            waiting, self._elsewhere, left = self._elsewhere, [], []
            for case in waiting:
                lock = FileLock.take(self.out / LOCKS / f"{case.name}.lock")
                if lock is None:
                    self._elsewhere.append(case)
                    continue
                fingerprint, _ = self.states.identify(case)
                state = self.states.state(case, fingerprint)
                lock.release()
                self.tally.others += state is State.DONE
                self.tally.failed += state is State.FAILED
                if state in UNFINISHED:
                    left.append(case)
            if left:
                return left
            time.sleep(_OTHERS_POLL_S)
        return []


def _code(event: events.Finished | events.Failed) -> str:
    """Return the code of a failure; empty for a case that is done."""
    return event.code if isinstance(event, events.Failed) else ""


def make_folders(out: Path) -> None:
    """Create the folders of a cohort.

    Raises:
        UserError: If they cannot be written (OUTPUT_BAD).
    """
    for name in (CASES, LOCKS):
        try:
            (out / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(out / name, error) from error
        check_place(out / name / "trial")
