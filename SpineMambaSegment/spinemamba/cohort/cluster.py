"""Run the parts of a cohort as jobs of a cluster, with submitit.

A job runs ``spinemamba cohort --part i/n`` in a process of its own. Nothing but the files of the
cases is kept between attempts, so that a job that is preempted or runs out of time goes on with the
case that it was at.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinemamba.cohort.run import LOGS
from spinemamba.common.errors import Code, UserError
from spinemamba.common.exit_codes import ExitCode

_ENDED = (ExitCode.DONE, ExitCode.USER_ERROR)
"""Exit codes of a part that needs no further attempt; failed cases are in the table."""

_POLL_S = 2.0


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

        Raises:
            RuntimeError: If the part did not end by itself; the output is in the log of the job.
        """
        part = ["--part", f"{number}/{self.count}"]
        command = [sys.executable, "-m", "spinemamba", "cohort", *self.words, *part]
        code = subprocess.run(command, check=False).returncode
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
        executor = submitit.AutoExecutor(folder=out.absolute() / LOGS / "%j", cluster=cluster)
        executor.update_parameters(
            name="spinemamba-cohort",
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
    parameters: dict[str, object] = {}
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
    ended = -1
    while (now := sum(job.done() for job in jobs)) < len(jobs):
        if now != ended:
            ended = now
            report(ended)
        time.sleep(_POLL_S)
    return [
        f"Job {job.job_id} failed; its log is {job.paths.stderr}."
        for job in jobs
        if job.exception() is not None
    ]
