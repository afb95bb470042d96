"""The worker as a process: events, cancelling, crashes and clean-up."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from fake_worker_process import LAUNCHER, STAND_IN, collect, is_gone, left_in, start

from spinemamba.common.progress import STAGES
from spinemamba.protocol import events
from spinemamba.protocol.worker_client import JOB_NAME, LOG_NAME


@pytest.fixture
def python(tmp_path: Path, repository: Path) -> str:
    """An interpreter that runs the fake worker instead of the real one."""
    package = str(repository / "SpineMambaSegment")
    (tmp_path / "stand_in.py").write_text(STAND_IN.format(package=package), encoding="utf-8")
    path = tmp_path / "python.sh"
    path.write_text(
        textwrap.dedent(f"""\
            #!/bin/sh
            exec "{sys.executable}" "{tmp_path}/stand_in.py" "$3"
            """)
    )
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def launched(tmp_path: Path, python: str) -> str:
    """The same worker behind a launcher that forwards stdin, as PythonSlicer does."""
    (tmp_path / "launcher.py").write_text(LAUNCHER, encoding="utf-8")
    path = tmp_path / "launcher.sh"
    path.write_text(
        textwrap.dedent(f"""\
            #!/bin/sh
            exec "{sys.executable}" "{tmp_path}/launcher.py" "{tmp_path}/stand_in.py" "$3"
            """)
    )
    path.chmod(0o755)
    return str(path)


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")


def test_a_run_reports_progress_in_order_and_ends_with_a_complete_file(tmp_path, python):
    worker = start(tmp_path, python)
    found = collect(worker, events.Finished)
    assert isinstance(found[0], events.Hello)
    overall = [e.overall for e in found if isinstance(e, events.Progress)]
    assert overall == sorted(overall)
    assert overall[-1] == pytest.approx(1.0)
    assert worker.wait(10) == 0
    assert Path(found[-1].labels).read_bytes() == b"labels"
    assert [e.message for e in found if isinstance(e, events.Warning)] == ["all is well"]


def test_the_end_of_a_slow_interpreter_is_not_waited_for(tmp_path, python, monkeypatch):
    monkeypatch.setenv("EXIT_S", "1.0")
    worker = start(tmp_path, python)
    longest_s, found = 0.0, []
    while not any(isinstance(event, events.Finished) for event in found):
        start_s = time.monotonic()
        found += worker.new_events()
        longest_s = max(longest_s, time.monotonic() - start_s)
        time.sleep(0.01)
    assert not worker.is_running()
    assert longest_s < 0.8


def test_output_of_python_and_c_goes_to_the_log_not_to_the_events(tmp_path, python):
    worker = start(tmp_path, python)
    collect(worker, events.Finished)
    worker.wait(10)
    assert {"chatter", "murmur in C"} <= set(worker.log.read_text().splitlines())


@pytest.mark.parametrize("stage", STAGES)
def test_cancelling_at_any_stage_leaves_no_process_and_only_the_log(
    tmp_path, python, monkeypatch, stage
):
    monkeypatch.setenv("STOP_AT", stage)
    monkeypatch.setenv("HOW", "polite")
    worker = start(tmp_path, python)
    collect(worker, stage)
    worker.cancel()
    assert is_gone(worker.pid)
    assert left_in(worker) == {LOG_NAME}
    assert not any(isinstance(e, events.Finished | events.Failed) for e in worker.new_events())


@pytest.mark.parametrize("how", ["deaf", "busy"])
def test_an_unresponsive_worker_is_killed_after_the_grace_period(
    tmp_path, python, monkeypatch, how
):
    monkeypatch.setenv("GRACE_S", "60")
    monkeypatch.setenv("STOP_AT", "segment")
    monkeypatch.setenv("HOW", how)
    worker = start(tmp_path, python)
    collect(worker, "segment")
    started = time.monotonic()
    worker.cancel(grace_s=0.3)
    assert time.monotonic() - started < 3
    assert is_gone(worker.pid)
    assert left_in(worker) == {LOG_NAME}


@pytest.mark.parametrize("how", ["polite", "deaf"])
def test_cancelling_reaches_the_worker_behind_a_launcher(tmp_path, launched, monkeypatch, how):
    # A grace period so long that only the parent can have ended it.
    monkeypatch.setenv("GRACE_S", "60")
    monkeypatch.setenv("STOP_AT", "segment")
    monkeypatch.setenv("HOW", how)
    worker = start(tmp_path, launched)
    hello = collect(worker, "segment")[0]
    assert hello.pid != worker.pid
    worker.cancel(grace_s=0.5)
    assert is_gone(worker.pid)
    assert is_gone(hello.pid)
    assert left_in(worker) == {LOG_NAME}


def test_partial_files_in_another_folder_are_deleted_too(tmp_path, python, monkeypatch):
    monkeypatch.setenv("STOP_AT", "write")
    monkeypatch.setenv("HOW", "abort")
    other = tmp_path / "reports"
    other.mkdir()
    worker = start(tmp_path, python, result=other / "result.json")
    collect(worker, events.Failed)
    assert left_in(worker) == {LOG_NAME}
    assert not list(other.iterdir())


def test_a_launcher_that_waits_for_the_end_of_stdin_does_not_block(tmp_path, launched):
    worker = start(tmp_path, launched)
    collect(worker, events.Finished)
    assert worker.wait(1) == 0
    assert not worker.is_running()


def test_a_crash_without_output_becomes_one_failed_event(tmp_path, python, monkeypatch):
    monkeypatch.setenv("STOP_AT", "locate")
    monkeypatch.setenv("HOW", "abort")
    worker = start(tmp_path, python)
    failed = collect(worker, events.Failed)[-1]
    assert failed.code == "CRASH"
    assert "-6" in failed.message
    assert left_in(worker) == {LOG_NAME}
    assert worker.new_events() == []


@pytest.mark.parametrize(
    "failure",
    [("bug", "INTERNAL", 1, "inside"), ("user", "INPUT_BAD", 2, "too dark")],
    ids=["bug", "user"],
)
def test_failures_give_message_and_remedy_and_leave_no_file(tmp_path, python, monkeypatch, failure):
    how, code, exit_code, says = failure
    monkeypatch.setenv("STOP_AT", "restore")
    monkeypatch.setenv("HOW", how)
    worker = start(tmp_path, python)
    failed = collect(worker, events.Failed)[-1]
    assert worker.wait(10) == exit_code
    assert (failed.code, says in failed.message) == (code, True)
    assert "secret" not in failed.message
    assert left_in(worker) == {LOG_NAME}


def test_the_log_of_a_failure_has_the_traceback_but_no_patient_name(tmp_path, python, monkeypatch):
    monkeypatch.setenv("STOP_AT", "restore")
    monkeypatch.setenv("HOW", "bug")
    worker = start(tmp_path, python)
    collect(worker, events.Failed)
    log = worker.log.read_text()
    assert log.rstrip().endswith("RuntimeError")
    assert ", in run\n" in log
    # Messages of libraries contain values from files.
    assert "secret value in '" not in log
    assert "Doe" not in log


@pytest.mark.parametrize("how", ["polite", "deaf", "busy"])
@pytest.mark.parametrize("way", ["python", "launched"])
def test_a_worker_ends_and_cleans_up_when_its_parent_is_killed(
    tmp_path, request, monkeypatch, way, how
):
    python, repository = (request.getfixturevalue(name) for name in (way, "repository"))
    monkeypatch.setenv("STOP_AT", "segment")
    monkeypatch.setenv("HOW", how)
    folder = tmp_path / "run"
    folder.mkdir()
    script = textwrap.dedent(f"""\
        import sys, time
        sys.path.insert(0, {str(repository / "SpineMambaSegment")!r})
        from pathlib import Path
        from spinemamba.protocol import events
        from spinemamba.protocol.job import SegmentJob
        from spinemamba.protocol.worker_client import WorkerProcess
        folder = Path({str(folder)!r})
        job = SegmentJob(folder / "i", folder / "o.nrrd")
        worker = WorkerProcess.start(job, folder, {python!r})
        while True:
            for event in worker.new_events():
                if isinstance(event, events.Hello):
                    pid = event.pid
                if isinstance(event, events.Progress) and event.stage == "segment":
                    print(pid, flush=True)
            time.sleep(0.01)
        """)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert is_gone(pid)
    # The parent, which deletes the job file, has been killed.
    assert {path.name for path in folder.iterdir()} == {LOG_NAME, JOB_NAME}
