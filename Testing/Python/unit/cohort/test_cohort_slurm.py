"""Parts of a cohort as jobs of a real Slurm, which runs on one node on the loopback interface."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_method import SLOW_S, attempts, environment, write_scan
from slurm_cluster import missing_programs, slurm

from spinemamba.cohort import cluster
from spinemamba.cohort.cluster import PartOfCohort, Resources, submit, wait_for_jobs
from spinemamba.protocol.cohort import read_record

SMALL = Resources(minutes=10, memory_gb=1, cores=1)
LONGEST_S = 300.0


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment variables of a running cluster with four cores."""
    pytest.importorskip("submitit")
    if missing := missing_programs():
        pytest.skip(f"Slurm is not installed: {', '.join(missing)} not found")
    with slurm(tmp_path_factory.mktemp("slurm"), cores=4) as found:
        yield found


@pytest.fixture
def env(
    tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Environment of this process and its jobs, in which cases are segmented by a threshold."""
    values = environment(tmp_path / "fake", **variables)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def scans(tmp_path: Path, count: int) -> list[str]:
    """Write images; return the arguments of a cohort of them."""
    for k in range(count):
        write_scan(tmp_path / "in" / f"p{k:02d}.nii.gz", k)
    return [str(tmp_path / "in"), str(tmp_path / "out"), "--no-measurements"]


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + LONGEST_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("count", [3, pytest.param(20, marks=pytest.mark.long)])
def test_slurm_does_an_array_of_jobs(tmp_path: Path, env: dict[str, str], count: int):
    words = [*scans(tmp_path, count), "--engine", "slurm", "--jobs", str(count)]
    run = [sys.executable, "-m", "spinemamba", "cohort", *words, "--job-cores", "1"]
    done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=1000)
    assert done.returncode == 0, done.stderr
    assert f"{count} cases: {count} done, 0 failed, 0 missing" in done.stdout
    assert "accounting" not in done.stderr
    assert attempts(env) == {f"p{k:02d}": 1 for k in range(count)}
    out = tmp_path / "out"
    with (out / "cohort.csv").open(newline="", encoding="utf-8") as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["done"] * count
    assert len(list((out / "logs").rglob("*_log.out"))) == count
    assert (out / "contact_sheet_1.png").is_file()


STOPS = {
    "preemption": ("scontrol", "requeue"),
    "time-out": ("scancel", "--signal=USR2"),
}
"""What Slurm does to a job, as commands."""


@pytest.mark.slow
@pytest.mark.parametrize("how", STOPS)
def test_a_job_that_is_requeued_finishes_its_case(
    tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, how: str
):
    monkeypatch.setenv(SLOW_S, "3")
    part = PartOfCohort((*scans(tmp_path, 2), "--cases-only"), 1)
    (job,) = submit(part, tmp_path / "out", SMALL)
    cases = tmp_path / "out" / "cases"
    wait_until(lambda: attempts(env).get("p01", 0) == 1 and (cases / "p00").is_dir())
    subprocess.run([*STOPS[how], job.job_id], check=True)
    assert wait_for_jobs([job], lambda ended: None) == []
    assert job.result() == 0
    # Only the case in progress was done twice.
    assert attempts(env) == {"p00": 1, "p01": 2}
    assert [read_record(case).state for case in sorted(cases.iterdir())] == ["done", "done"]


@pytest.mark.slow
def test_a_cancelled_job_is_reported_and_not_waited_for(
    tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cluster, "_QUEUE_POLL_S", 0.5)
    monkeypatch.setattr(cluster, "_LOST_S", 1.0)
    monkeypatch.setenv(SLOW_S, "600")
    part = PartOfCohort((*scans(tmp_path, 1), "--cases-only"), 1)
    (job,) = submit(part, tmp_path / "out", SMALL)
    wait_until(lambda: bool(attempts(env)))
    subprocess.run(["scancel", job.job_id], check=True)
    (problem,) = wait_for_jobs([job], lambda ended: None)
    assert problem.startswith(f"Job {job.job_id} failed; its log is ")
    assert list((tmp_path / "out" / "cases").iterdir()) == []
