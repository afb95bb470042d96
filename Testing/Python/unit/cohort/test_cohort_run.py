"""A cohort as a user runs it: one failure list, resume, retries, parts, runs side by side."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from fake_method import FAIL, SLOW_S, attempts, environment, write_scan
from synthetic_dicom import put, write_series

from spinemamba.protocol.cohort import RECORD_NAME, read_record

Env = Mapping[str, str]


def command(source: Path | str, out: Path, *words: str) -> list[str]:
    """Return the command of a cohort without measurements, which need a spine."""
    run = [sys.executable, "-m", "spinemamba", "cohort", str(source), str(out)]
    return [*run, "--no-measurements", *words]


def cohort(
    source: Path | str, out: Path, env: Env, *words: str
) -> subprocess.CompletedProcess[str]:
    """Run a cohort to its end."""
    return subprocess.run(
        command(source, out, *words), env=env, capture_output=True, text=True, timeout=300
    )


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def outputs(out: Path) -> dict[str, bytes]:
    """Return the content of all files of a cohort without times and memory, by path."""
    contents = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.name == RECORD_NAME:
            values = json.loads(data)
            for name in ("seconds", "memory_mb", "input_stamp"):
                values.pop(name)
            data = json.dumps(values).encode()
        if path.name == "cohort.csv":
            table = [{**row, "seconds": "", "memory_mb": ""} for row in rows(path)]
            data = json.dumps(table).encode()
        contents[path.relative_to(out).as_posix()] = data
    return contents


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Folder with six images, p0 to p5."""
    for k in range(6):
        write_scan(tmp_path / "in" / f"p{k}.nii.gz", k)
    return tmp_path / "in"


@pytest.fixture
def env(tmp_path: Path) -> Env:
    """Environment with a worker that computes nothing."""
    return environment(tmp_path / "fake")


def test_every_case_has_its_files_and_a_row_in_the_table(scans: Path, tmp_path: Path, env: Env):
    done = cohort(scans, tmp_path / "out", env, "--also", "nifti")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert {p.name for p in out.iterdir()} == {
        *("cases", "locks", "cohort.csv", "failures.csv", "measurements.csv"),
        *("contact_sheet_1.png", "triage.html", "triage"),
    }
    assert list((out / "locks").iterdir()) == []
    for k in range(6):
        record = read_record(out / "cases" / f"p{k}")
        assert {f.name for f in record.files.values()} | {RECORD_NAME} == {
            p.name for p in (out / "cases" / f"p{k}").iterdir()
        }
        assert set(record.files) == {
            *("labels", "nifti", "result", "picture", "side", "front", "preview")
        }
        assert record.summary.doubt == pytest.approx(0.2)
        assert "Look at the levels." in record.warnings
    table = rows(out / "cohort.csv")
    assert [row["case"] for row in table] == [f"p{k}" for k in range(6)]
    assert {(row["state"], row["names"], row["doubt"]) for row in table} == {("done", "L3", "0.2")}
    assert rows(out / "failures.csv") == []
    assert "6 of 6" in done.stderr
    assert "6 cases in" in done.stdout


def mixed(folder: Path) -> int:
    """Write good and bad inputs of many kinds; return the number of cases that must fail."""
    good = write_scan(folder / "good" / "a.nii.gz", 1)
    write_scan(folder / "good" / "b.nrrd", 2)
    write_scan(folder / "good" / "c.mha", 3)
    write_series(folder / "dicom" / "one")
    write_series(folder / "dicom" / "two", series="1.2.5")
    write_series(folder / "dicom" / "two", series="1.2.6")
    (folder / "empty").mkdir()
    bad = folder / "bad"
    bad.mkdir()
    data = good.read_bytes()
    (bad / "cut.nii.gz").write_bytes(data[: len(data) // 2])
    (bad / "zero.nrrd").write_bytes(b"")
    (bad / "text.mha").write_text("no image", encoding="utf-8")
    (bad / "huge.nrrd").write_text(
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\n"
        "sizes: 40000 40000 40000\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
        "space origin: (0,0,0)\nencoding: raw\nendian: little\n\n",
        encoding="ascii",
    )
    write_scan(bad / "dark.nii.gz", 9, bone=False)
    (bad / "series").mkdir()
    (bad / "series" / "1.dcm").write_bytes(b"x" * 200)
    return 6


def test_sixty_mixed_cases_have_one_list_of_failures_and_flat_memory(tmp_path: Path, env: Env):
    pytest.importorskip("pydicom")
    wrong = mixed(tmp_path / "in")
    good = 60 - wrong
    for k in range(good - 6):
        write_scan(tmp_path / "in" / "many" / f"p{k:02d}.nii.gz", k)
    done = cohort(tmp_path / "in", tmp_path / "out", env)
    assert done.returncode == 2
    failures = rows(tmp_path / "out" / "failures.csv")
    assert len(failures) == wrong
    codes = {row["case"]: row["code"] for row in failures}
    assert codes.pop("bad_dark") == "NO_SPINE"
    assert set(codes.values()) == {"INPUT_BAD"}
    assert all(row["message"].endswith(".") and row["remedy"] for row in failures)
    table = rows(tmp_path / "out" / "cohort.csv")
    assert [row["state"] for row in table].count("done") == good
    assert len(table) == 60
    assert "Left out: empty (an empty folder)" in done.stdout
    check_memory(tmp_path / "out")
    # Bad inputs are tried once; the next run has nothing to do.
    before = attempts(env)
    again = cohort(tmp_path / "in", tmp_path / "out", env, "--cases-only")
    assert again.returncode == 2
    assert attempts(env) == before
    assert f"{good} done before, {wrong} failed" in again.stdout


def check_memory(out: Path) -> None:
    """Assert that later cases needed no more memory than earlier ones."""
    records = [read_record(folder) for folder in sorted((out / "cases").iterdir())]
    memory_mb = [record.memory_mb for record in records if record.summary]
    first, last = statistics.median(memory_mb[10:25]), statistics.median(memory_mb[-15:])
    sys.stdout.write(f"memory of cases 10 to 25: {first:.0f} MB, of the last 15: {last:.0f} MB\n")
    assert last <= 1.1 * first


def test_an_output_that_could_not_be_made_is_reported(tmp_path: Path, env: Env):
    pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    write_scan(tmp_path / "in" / "a.nii.gz")
    write_series(tmp_path / "in" / "b", edit=put(SOPClassUID=None))
    done = cohort(tmp_path / "in", tmp_path / "out", env, "--also", "dicom-seg")
    assert done.returncode == 2
    first, second = rows(tmp_path / "out" / "cohort.csv")
    assert (first["state"], first["missing"]) == ("done", "")
    assert (second["state"], second["missing"]) == ("done", "dicom_seg")
    assert "b: no dicom_seg. " in done.stderr
    assert "a: " not in done.stderr


def test_a_dry_run_lists_the_cases_and_writes_nothing(scans: Path, tmp_path: Path, env: Env):
    done = cohort(scans, tmp_path / "out", env, "--dry-run")
    assert done.returncode == 0
    assert "6 cases: 6 NIfTI" in done.stdout
    assert "0 done, 0 failed before, 6 to do" in done.stdout
    assert not (tmp_path / "out").exists()


def test_only_cases_that_are_not_complete_run_again(scans: Path, tmp_path: Path, env: Env):
    out = tmp_path / "out"
    cohort(scans, out, env, "--cases-only")
    os.utime(scans / "p0.nii.gz")
    (out / "cases" / "p2" / "p2.seg.nrrd").unlink()
    shutil.rmtree(out / "cases" / "p4")
    assert cohort(scans, out, env, "--cases-only").returncode == 0
    assert {path.name for path in out.iterdir()} == {"cases", "locks"}
    assert attempts(env) == {"p0": 1, "p1": 1, "p2": 2, "p3": 1, "p4": 2, "p5": 1}


@pytest.mark.long  # several runs; shorter tests have most of it
def test_results_of_another_input_or_other_options_are_replaced_if_asked(
    scans: Path, tmp_path: Path, env: Env
):
    out = tmp_path / "out"
    cohort(scans, out, env)
    write_scan(scans / "p1.nii.gz", 11)
    (out / "cases" / "p3" / RECORD_NAME).write_text("{", encoding="utf-8")
    refused = cohort(scans, out, env)
    assert refused.returncode == 2
    assert "2 cases, such as p1, were done with another input" in refused.stderr
    assert cohort(scans, out, env, "--overwrite").returncode == 0
    assert {name: n for name, n in attempts(env).items() if n > 1} == {"p1": 2, "p3": 2}
    assert "6 cases, such as p0, were" in cohort(scans, out, env, "--quality", "fast").stderr


def test_a_folder_that_is_no_case_is_not_replaced(scans: Path, tmp_path: Path, env: Env):
    mine = tmp_path / "out" / "cases" / "p1" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.touch()
    refused = cohort(scans, tmp_path / "out", env)
    assert refused.returncode == 2
    assert "p1 already exists" in refused.stderr
    assert mine.exists()


@pytest.mark.parametrize("how", ["crash", pytest.param("oom", marks=pytest.mark.long)])
def test_a_crash_or_too_little_memory_is_tried_once_more(
    scans: Path, tmp_path: Path, env: Env, how: str
):
    env = {**env, FAIL: f"p1={how}-once p3={how}"}
    done = cohort(scans, tmp_path / "out", env)
    assert done.returncode == 2
    (failure,) = rows(tmp_path / "out" / "failures.csv")
    code = {"crash": "CRASH", "oom": "OOM_HOST"}[how]
    assert (failure["case"], failure["code"], failure["attempts"]) == ("p3", code, "2")
    assert {k: n for k, n in attempts(env).items() if k in ("p1", "p3")} == {"p1": 2, "p3": 2}
    assert read_record(tmp_path / "out" / "cases" / "p1").attempts == 2
    # A later run tries such a case again.
    later = cohort(scans, tmp_path / "out", {**env, FAIL: ""})
    assert later.returncode == 0, later.stderr
    assert rows(tmp_path / "out" / "failures.csv") == []


def test_a_bug_in_one_case_does_not_stop_the_others(scans: Path, tmp_path: Path, env: Env):
    done = cohort(scans, tmp_path / "out", {**env, FAIL: "p2=bug"})
    assert done.returncode == 2
    (failure,) = rows(tmp_path / "out" / "failures.csv")
    assert (failure["case"], failure["code"]) == ("p2", "INTERNAL")
    assert attempts(env)["p2"] == 1
    (log,) = (tmp_path / "out" / "logs").iterdir()
    text = log.read_text(encoding="utf-8")
    assert "RuntimeError" in text
    assert "p2" not in text


@pytest.mark.long  # several runs; shorter tests have most of it
def test_a_worker_that_always_crashes_stops_the_run(scans: Path, tmp_path: Path, env: Env):
    names = " ".join(f"p{k}=crash" for k in range(6))
    done = cohort(scans, tmp_path / "out", {**env, FAIL: names})
    assert done.returncode == 2
    assert "The worker ended 5 times without finishing a case." in done.stderr
    assert list((tmp_path / "out" / "locks").iterdir()) == []


def start(source: Path, out: Path, env: Env, *words: str) -> subprocess.Popen[str]:
    """Start a cohort."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command(source, out, *words), env=env, stdout=pipe, stderr=pipe, text=True
    )


def kill_all(process: subprocess.Popen[str]) -> None:
    """Kill a run and its worker at once, as the kernel may when memory runs out."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = children.read_text().split() if children.exists() else []
    process.kill()
    for pid in map(int, workers):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()


def wait_for(process: subprocess.Popen[str], env: Env, segmented: int) -> None:
    """Wait until a number of attempts at cases were made, or until the run ends."""
    while process.poll() is None and sum(attempts(env).values()) < segmented:
        time.sleep(0.01)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_a_run_killed_at_ten_random_moments_ends_with_the_same_bytes(
    scans: Path, tmp_path: Path, env: Env, seed: int
):
    kills, cases = 10, 18
    for k in range(6, cases):
        write_scan(scans / f"p{k}.nii.gz", k)
    assert cohort(scans, tmp_path / "whole", env).returncode == 0
    generator, out = random.Random(seed), tmp_path / "out"
    disturbed = environment(tmp_path / "disturbed")
    killed = 0
    for _ in range(kills):
        process = start(scans, out, disturbed)
        wait_for(process, disturbed, sum(attempts(disturbed).values()) + 1)
        time.sleep(generator.uniform(0, 0.2))
        killed += process.poll() is None
        kill_all(process)
    assert killed == kills
    done = cohort(scans, out, disturbed)
    assert done.returncode == 0, done.stderr
    assert outputs(out) == outputs(tmp_path / "whole")
    # One case may have been in the networks and one in writing.
    assert sum(attempts(disturbed).values()) <= cases + 2 * kills


@pytest.mark.long  # several runs; shorter tests have most of it
def test_a_run_that_is_killed_alone_ends_its_worker(scans: Path, tmp_path: Path, env: Env):
    out, slow = tmp_path / "out", {**env, SLOW_S: "0.5"}
    process = start(scans, out, slow)
    wait_for(process, env, 2)
    process.kill()
    process.communicate()
    assert cohort(scans, out, env).returncode == 0
    deadline = time.monotonic() + 30
    while any((out / "cases").glob(".*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sorted(p.name for p in (out / "cases").iterdir()) == [f"p{k}" for k in range(6)]


def test_ctrl_c_leaves_whole_cases_tables_and_no_locks(scans: Path, tmp_path: Path, env: Env):
    out = tmp_path / "out"
    process = start(scans, out, {**env, SLOW_S: "0.5"})
    wait_for(process, env, 3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors
    assert "Cancelled" in errors
    done = [path for path in (out / "cases").iterdir() if not path.name.startswith(".")]
    assert 1 <= len(done) < 6
    assert [row["case"] for row in rows(out / "cohort.csv")] == sorted(p.name for p in done)
    assert all((path / RECORD_NAME).is_file() for path in done)
    assert list((out / "cases").glob(".*")) == []
    assert list((out / "locks").iterdir()) == []
    assert cohort(scans, out, env, "--cases-only").returncode == 0


def test_two_runs_at_once_share_the_cases(scans: Path, tmp_path: Path, env: Env):
    out, slow = tmp_path / "out", {**env, SLOW_S: "0.3"}
    both = [start(scans, out, slow) for _ in range(2)]
    texts = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert attempts(env) == {f"p{k}": 1 for k in range(6)}
    assert len(rows(out / "cohort.csv")) == 6
    counts = [re.findall(r"(\d+) done", text) for text, _ in texts]
    assert all(sum(map(int, count[1:])) == 6 for count in counts), texts


def test_parts_together_make_the_whole_cohort(scans: Path, tmp_path: Path, env: Env):
    out = tmp_path / "out"
    for number, names in ((2, ["p1", "p3", "p5"]), (1, [f"p{k}" for k in range(6)])):
        assert cohort(scans, out, env, "--part", f"{number}/2").returncode == 0
        assert [row["case"] for row in rows(out / "cohort.csv")] == names
    assert attempts(env) == {f"p{k}": 1 for k in range(6)}


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "a/b"])
def test_a_wrong_part_is_refused(scans: Path, tmp_path: Path, env: Env, part: str):
    assert cohort(scans, tmp_path / "out", env, "--part", part).returncode == 2


@pytest.mark.long  # several runs; shorter tests have most of it
def test_several_workers_share_the_cases(scans: Path, tmp_path: Path, env: Env):
    assert cohort(scans, tmp_path / "one", env).returncode == 0
    more = environment(tmp_path / "more")
    # Paths relative to the working directory, which the workers do not have.
    words = command(Path("in"), Path("two"), "--workers", "2")
    subprocess.run(words, env=more, cwd=tmp_path, check=True, capture_output=True)
    assert attempts(more) == {f"p{k}": 1 for k in range(6)}
    assert outputs(tmp_path / "two") == outputs(tmp_path / "one")


def test_a_missing_model_is_refused_before_the_work(scans: Path, tmp_path: Path, env: Env):
    done = cohort(scans, tmp_path / "out", env, "--model", "none")
    assert done.returncode == 2
    assert "Model 'none' not found" in done.stderr
    assert not (tmp_path / "out").exists()
