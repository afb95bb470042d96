"""Run the parts of a cohort as jobs of a cluster, with submitit.

A job runs ``spinemamba cohort --part i/n`` in a process of its own. Nothing but the files of the
cases is kept between attempts, so that a job that is preempted or runs out of time goes on with the
case that it was at.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spinemamba.cohort.run import LOGS
from spinemamba.common.errors import Code, UserError
from spinemamba.common.exit_codes import ExitCode

_ENDED = (ExitCode.DONE, ExitCode.USER_ERROR)
"""Exit codes of a part that needs no further attempt; failed cases are in the table."""

_SIGNALS = ("SIGTERM", "SIGUSR1", "SIGUSR2")
"""Signals to all processes of a job before a time-out or a preemption."""

_STOPPED = (ExitCode.CANCELLED, *(-getattr(signal, s) for s in _SIGNALS if hasattr(signal, s)))
"""Exit codes of a part that a scheduler stops."""

_MOST_TIMEOUTS = 20
"""Most time-outs of a job: a case that takes longer than a job must not run for ever."""

NAME = "spinemamba-cohort"
"""Name of the jobs."""

_POLL_S = 2.0

_QUEUE_POLL_S = 10.0
"""Time in seconds between two questions to the scheduler."""

_LOST_S = 120.0
"""Time in seconds for the result of a job that has left the queue to appear on a network drive."""

_KILL_S = 600.0
"""Time in seconds in which a scheduler that stops a job kills it, too."""


@dataclass(frozen=True)
class Resources:
    """What each job gets.

    Attributes:
        minutes: Time limit.
        memory_gb: Main memory.
        cores: CPU cores.
        gpus: GPUs.
        partition: Partition of the cluster; empty for its default.
        at_once: Most jobs that run at the same time; 0 for no limit.
    """

    minutes: int = 240
    memory_gb: int = 8
    cores: int = 4
    gpus: int = 0
    partition: str = ""
    at_once: int = 0


@dataclass(frozen=True)
class PartOfCohort:
    """One job: part ``i`` of ``n``.

    Attributes:
        words: Arguments of ``spinemamba cohort`` without ``--part``.
        count: Number of parts.
    """

    words: tuple[str, ...]
    count: int

    def __call__(self, number: int) -> int:
        """Run a part, from 1, and return its exit code.

        A job that Slurm stops waits to be killed, or for submitit to queue it again: an end of its
        own would be its result.

        Raises:
            RuntimeError: If the part did not end by itself; the output is in the log of the job.
        """
        part = ["--part", f"{number}/{self.count}"]
        command = [sys.executable, "-m", "spinemamba", "cohort", *self.words, *part]
        code = subprocess.run(command, check=False).returncode
        if code in _STOPPED and "SLURM_JOB_ID" in os.environ:
            time.sleep(_KILL_S)
        if code not in _ENDED:
            raise RuntimeError(f"part {number} of {self.count} ended with the exit code {code}")
        return code

    def checkpoint(self, number: int) -> Any:
        """Return what submitit runs after a preemption or a time-out: the same part."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, number)


def check_cluster() -> None:
    """Check that jobs can be submitted.

    Raises:
        UserError: If submitit is missing (DEPENDENCY_MISSING).
    """
    if importlib.util.find_spec("submitit") is None:
        raise UserError(
            "Jobs of a cluster need the package submitit.",
            'Install it with pip install "spinemamba[cluster]", or use --engine local.',
            Code.DEPENDENCY_MISSING,
        )


def submit(
    part: PartOfCohort, out: Path, resources: Resources, cluster: str = "slurm"
) -> list[Any]:
    """Submit all parts as an array of jobs; return the jobs of submitit.

    Args:
        part: What a job runs.
        out: Output folder; logs of the jobs are collected in it.
        resources: What each job gets.
        cluster: Executor of submitit: "slurm", or "local" for processes on this computer.

    Raises:
        UserError: If the jobs cannot be submitted (DEPENDENCY_MISSING, OUTPUT_BAD).
    """
    check_cluster()
    import submitit

    try:
        logs = out.absolute() / LOGS / "%j"
        executor = submitit.AutoExecutor(
            logs, cluster=cluster, slurm_max_num_timeout=_MOST_TIMEOUTS
        )
        executor.update_parameters(
            name=NAME,
            timeout_min=resources.minutes,
            mem_gb=resources.memory_gb,
            cpus_per_task=resources.cores,
            gpus_per_node=resources.gpus,
            **_of_slurm(resources),
        )
        return executor.map_array(part, range(1, part.count + 1))
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        raise UserError(
            f"The jobs cannot be submitted: {str(error).strip().splitlines()[0].rstrip('.')}.",
            "Check that sbatch works on this computer, or use --engine local.",
        ) from error


def _of_slurm(resources: Resources) -> dict[str, object]:
    """Return the parameters that only Slurm has, which other executors ignore."""
    # Some clusters requeue only jobs that ask for it.
    parameters: dict[str, object] = {"slurm_additional_parameters": {"requeue": True}}
    if resources.partition:
        parameters["slurm_partition"] = resources.partition
    if resources.at_once:
        parameters["slurm_array_parallelism"] = resources.at_once
    return parameters


def wait_for_jobs(jobs: Sequence[Any], report: Callable[[int], None]) -> list[str]:
    """Wait until all jobs have ended; return a sentence about each that failed.

    Args:
        jobs: As returned by `submit`.
        report: Called with the number of ended jobs each time that it changes.
    """
    queue, ended = _Queue(), -1
    while True:
        running = [job for job in jobs if not _has_ended(job)]
        lost = queue.lost(running)
        now = len(jobs) - len(running) + len(lost)
        if now != ended:
            ended = now
            report(ended)
        if now == len(jobs):
            break
        time.sleep(_POLL_S)
    return [
        f"Job {job.job_id} failed; its log is {job.paths.stderr}."
        for job in jobs
        if job in lost or job.exception() is not None
    ]


def _is_of_slurm(job: Any) -> bool:
    import submitit

    return isinstance(job, submitit.SlurmJob)


def _has_ended(job: Any) -> bool:
    """Return whether a job has a result; of a job of Slurm without one, `_Queue` knows more.

    Submitit would ask sacct, which needs a database that many clusters do not have.
    """
    return job.paths.result_pickle.exists() if _is_of_slurm(job) else job.done()


@dataclass
class _Queue:
    """Finds jobs that have left the queue of Slurm without a result, such as cancelled ones."""

    _asked_s: float = float("-inf")
    _missing_since_s: dict[str, float] = field(default_factory=dict)

    def lost(self, running: Sequence[Any]) -> list[Any]:
        """Return the jobs without a result that have been out of the queue for a while."""
        now = time.monotonic()
        if now >= self._asked_s + _QUEUE_POLL_S:
            self._asked_s = now
            queued = _queued_in_slurm(running)
            missing = [
                job.job_id for job in running if queued is not None and job.job_id not in queued
            ]
            self._missing_since_s = {i: self._missing_since_s.get(i, now) for i in missing}
        since_s = self._missing_since_s
        return [job for job in running if now >= since_s.get(job.job_id, now) + _LOST_S]


def _queued_in_slurm(jobs: Sequence[Any]) -> set[str] | None:
    """Return the ids of the jobs that wait or run; None if that is unknown."""
    if not jobs or not _is_of_slurm(jobs[0]):
        return None
    command = ["squeue", "--noheader", "--array", "--name", NAME, "--format", "%i"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return set(done.stdout.split())
