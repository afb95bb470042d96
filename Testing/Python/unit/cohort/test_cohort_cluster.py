"""Parts of a cohort as jobs of a cluster, with submitit's local executor; see test_cohort_slurm."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_method import attempts, environment, write_scan

from spinemamba.cohort import cluster
from spinemamba.cohort.cluster import PartOfCohort, Resources, submit, wait_for_jobs
from spinemamba.common.errors import Code, UserError


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Environment of this process and its jobs, in which cases are segmented by a threshold."""
    values = environment(tmp_path / "fake")
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def words(tmp_path: Path, count: int) -> tuple[str, ...]:
    """Write images; return the arguments of a cohort of them."""
    for k in range(count):
        write_scan(tmp_path / "in" / f"p{k}.nii.gz", k)
    return str(tmp_path / "in"), str(tmp_path / "out"), "--no-measurements"


def test_without_submitit_a_cluster_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="submitit") as caught:
        submit(PartOfCohort((), 1), tmp_path, Resources())
    assert caught.value.code is Code.DEPENDENCY_MISSING


@pytest.mark.parametrize("variables", [{}, {"SLURM_JOB_ID": "7"}], ids=["alone", "in Slurm"])
def test_a_part_that_did_not_end_by_itself_is_an_error(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    seen: list[list[str]] = []

    def run(command: list[str], check: bool) -> SimpleNamespace:
        seen.append(command[4:])
        return SimpleNamespace(returncode=3)

    waited_s: list[float] = []
    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("time.sleep", waited_s.append)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RuntimeError, match="part 2 of 4 ended with the exit code 3"):
        PartOfCohort(("in", "out"), 4)(2)
    assert seen == [["in", "out", "--part", "2/4"]]
    # Slurm kills a stopped job in this time; without a result, it can be queued again.
    assert waited_s == ([600.0] if variables else [])


def test_jobs_of_this_computer_do_all_parts(tmp_path: Path, env: dict[str, str]):
    pytest.importorskip("submitit")
    part = PartOfCohort(words(tmp_path, 3), 2)
    jobs = submit(part, tmp_path / "out", Resources(minutes=10), cluster="local")
    counts: list[int] = []
    assert wait_for_jobs(jobs, counts.append) == []
    assert [job.result() for job in jobs] == [0, 0]
    assert attempts(env) == {"p0": 1, "p1": 1, "p2": 1}
    assert (tmp_path / "out" / "cohort.csv").read_text(encoding="utf-8").count("done") == 3


def test_a_preempted_job_is_queued_again_as_the_same_part():
    pytest.importorskip("submitit")
    part = PartOfCohort(("a", "b"), 4)
    again = part.checkpoint(3)
    assert (again.function, again.args) == (part, (3,))


def test_a_job_out_of_the_queue_without_a_result_is_lost(monkeypatch: pytest.MonkeyPatch):
    jobs = [SimpleNamespace(job_id=name) for name in ("1_0", "1_1")]
    answers = {
        0: {"1_0", "1_1"},
        20: {"1_0"},
        40: None,
        60: {"1_0", "1_1"},
        80: {"1_0"},
        300: set(),
    }
    found = {}
    queue = cluster._Queue()
    for now_s, answer in answers.items():
        monkeypatch.setattr("time.monotonic", lambda now_s=now_s: float(now_s))
        monkeypatch.setattr(cluster, "_queued_in_slurm", lambda running, answer=answer: answer)
        found[now_s] = [job.job_id for job in queue.lost(jobs)]
    # A job that is queued again in between is not lost, nor is one that has just ended.
    assert found == {0: [], 20: [], 40: [], 60: [], 80: [], 300: ["1_1"]}
