"""Cancel at every stage leaves no process and no file."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
from run_helpers import is_there, put_python_slicer

from spinemamba.common.progress import STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_cancel_at_any_stage_leaves_no_process_file_or_node(watched, monkeypatch, stage):
    monkeypatch.setenv("STOP_AT", stage)
    nodes = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    watched.start(stage)
    assert watched.ui.cancelButton.enabled
    watched.ui.cancelButton.click()
    assert not watched.ui.cancelButton.enabled
    assert not watched.ui.segmentButton.enabled
    watched.wait()
    assert watched.ui.statusLabel.text == "Cancelled. Nothing was changed."
    assert watched.ui.segmentButton.enabled
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == nodes
    watched.assert_nothing_left()


def test_cancel_right_after_the_start_starts_no_worker(watched):
    watched.ui.segmentButton.click()
    assert list(watched.folder.iterdir()) != []
    watched.ui.cancelButton.click()
    watched.wait()
    assert watched.ui.statusLabel.text == "Cancelled. Nothing was changed."
    assert watched.pids == []
    assert list(watched.folder.iterdir()) == []


def test_during_import_cancel_is_disabled_and_closing_the_scene_is_safe(watched):
    watched.start("write")
    watched.pump(lambda: watched.panel.runs.run.isImporting)
    watched.panel.refresh()
    assert not watched.ui.cancelButton.enabled
    assert watched.ui.cancelButton.toolTip == "The run is about to end"
    slicer.mrmlScene.Clear(0)
    assert not watched.panel.runs.isRunning()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    watched.assert_nothing_left()


def test_a_worker_that_ignores_cancel_is_killed_after_three_seconds(watched, monkeypatch):
    monkeypatch.setenv("STOP_AT", "segment")
    monkeypatch.setenv("HOW", "deaf")
    monkeypatch.setenv("GRACE_S", "60")
    watched.start("segment")
    started = time.monotonic()
    watched.ui.cancelButton.click()
    assert time.monotonic() - started < 0.1
    watched.wait()
    assert 2.5 < time.monotonic() - started < 5.0
    watched.assert_nothing_left()


def test_cancel_reaches_the_worker_behind_a_launcher(watched, monkeypatch, tmp_path, repository):
    sys.path.append(str(repository / "Testing" / "Python" / "helpers"))
    from fake_worker_process import LAUNCHER

    (tmp_path / "launcher.py").write_text(LAUNCHER, encoding="utf-8")
    worker = Path(__file__).with_name("fake_worker.py")
    command = f'exec "{sys.executable}" "{tmp_path}/launcher.py" "{worker}" "$@"'
    put_python_slicer(monkeypatch, tmp_path / "launcher", command)
    monkeypatch.setenv("STOP_AT", "segment")
    watched.start("segment")
    launcher = watched.panel.runs.run._worker.pid
    assert launcher not in watched.pids
    watched.ui.cancelButton.click()
    watched.wait()
    assert not is_there(launcher)
    watched.assert_nothing_left()


def test_twenty_cancelled_runs_leave_no_thread_file_or_node(watched, monkeypatch):
    monkeypatch.setenv("STOP_AT", "read")
    watched.start("read")
    watched.ui.cancelButton.click()
    watched.wait()
    before = (threading.active_count(), open_files(), count_nodes())
    for _ in range(20):
        watched.start("read")
        watched.ui.cancelButton.click()
        watched.wait()
    after = (threading.active_count(), open_files(), count_nodes())
    assert after == before
    watched.assert_nothing_left()


def open_files() -> int:
    """Return how many files this process has open, pipes included."""
    folder = Path("/proc/self/fd") if Path("/proc/self/fd").exists() else Path("/dev/fd")
    return len(list(folder.iterdir()))


def count_nodes() -> int:
    return slicer.mrmlScene.GetNumberOfNodes()
