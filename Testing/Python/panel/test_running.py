"""Events during a run: scene changes, crashes, quitting, reloading."""

from __future__ import annotations

import io
import logging
import sys
import time
import unittest
from types import SimpleNamespace

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
from run_helpers import is_there

from spinemamba.common.errors import UserError
from spinemamba.protocol import events


def test_closing_the_scene_ends_the_run_before_its_nodes_are_removed(watched, monkeypatch):
    monkeypatch.setenv("STOP_AT", "segment")
    watched.start("segment")
    slicer.mrmlScene.Clear(0)
    assert not watched.panel.runs.isRunning()
    assert "scene was closed" in watched.ui.statusLabel.text
    assert not watched.ui.segmentButton.enabled
    watched.assert_nothing_left()


def test_closing_the_scene_lets_go_of_the_last_run_and_keeps_its_log(watched):
    watched.start("segment")
    watched.wait()
    slicer.mrmlScene.Clear(0)
    assert watched.panel.runs.run is None
    assert "a line for the log" in watched.panel.runs.log()


def test_deleting_the_input_ends_the_run_with_a_message(watched, volume, monkeypatch):
    monkeypatch.setenv("STOP_AT", "segment")
    watched.start("segment")
    slicer.mrmlScene.RemoveNode(volume)
    watched.wait()
    assert "was deleted during the run" in watched.ui.statusLabel.text
    watched.assert_nothing_left()


def test_changing_the_grid_of_the_input_ends_the_run_with_a_message(watched, volume, monkeypatch):
    monkeypatch.setenv("PAUSE_S", "0.02")
    watched.start("segment")
    volume.SetOrigin(5.0, 0.0, 0.0)
    watched.wait()
    assert "was replaced during the run" in watched.ui.statusLabel.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    watched.assert_nothing_left()


def test_a_transform_set_during_the_run_moves_the_segments_too(watched, volume, monkeypatch):
    monkeypatch.setenv("PAUSE_S", "0.02")
    watched.start("segment")
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    watched.wait()
    node = watched.ui.outputSelector.currentNode()
    assert node.GetTransformNodeID() == transform.GetID()


def test_deleting_the_output_during_a_run_creates_a_new_one(watched, monkeypatch):
    monkeypatch.setenv("PAUSE_S", "0.02")
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Old")
    watched.ui.outputSelector.setCurrentNode(output)
    watched.start("segment")
    slicer.mrmlScene.RemoveNode(output)
    watched.wait()
    node = watched.ui.outputSelector.currentNode()
    assert node.GetName() == "Doe John spine"
    assert node.GetSegmentation().GetNumberOfSegments() == 3


def test_a_second_press_does_nothing_and_a_second_start_is_refused(watched, volume, monkeypatch):
    monkeypatch.setenv("PAUSE_S", "0.02")
    watched.start("locate")
    watched.panel.segment()
    with pytest.raises(ValueError, match="another run is in progress"):
        watched.panel.runs.start(volume)
    watched.wait()
    assert len(watched.pids) == 1


def test_reloading_the_module_ends_the_run(watched, monkeypatch):
    monkeypatch.setenv("STOP_AT", "segment")
    watched.start("segment")
    kept = dict(sys.modules)
    name = "SpineMambaSegmentLib.Panel.Panel"
    try:
        watched.panel.widget.onReload()
        assert sys.modules[name] is not kept[name]
        assert watched.panel.frame.self() is not watched.panel.widget
    finally:
        sys.modules.update(kept)  # the other tests go on with the same classes
    assert slicer.app.reloaded[-1] == "SpineMambaSegment"
    watched.assert_nothing_left()


def test_quitting_slicer_ends_the_run_and_the_probe(watched, monkeypatch):
    monkeypatch.setenv("STOP_AT", "segment")
    watched.start("segment")
    monkeypatch.setenv("PAUSE_S", "60")
    watched.panel.setupSection.check()
    probe = watched.panel.setupSection._probe._process.pid
    assert is_there(probe)
    slicer.app.aboutToQuit.emit()
    assert not is_there(probe)
    watched.assert_nothing_left()


@pytest.mark.parametrize(
    ("how", "says"),
    [("crash", "CRASH: The background process ended"), ("fail", "INTERNAL: Something went wrong")],
)
def test_a_worker_that_dies_is_reported_with_a_remedy(watched, monkeypatch, how, says):
    monkeypatch.setenv("STOP_AT", "locate")
    monkeypatch.setenv("HOW", how)
    watched.start("locate")
    watched.wait()
    assert says in watched.ui.statusLabel.text
    assert "include the copied text" in watched.ui.statusLabel.text
    assert "secret" not in watched.ui.statusLabel.text
    assert watched.ui.segmentButton.enabled
    if how == "fail":
        assert "RuntimeError" in watched.panel.runs.log()
    watched.assert_nothing_left()


def test_a_silent_worker_is_reported_once_and_not_killed(watched, monkeypatch):
    from SpineMambaSegmentLib.Runs import WorkerRun

    monkeypatch.setattr(WorkerRun, "SILENT_S", 0.2)
    monkeypatch.setenv("STOP_AT", "segment")
    monkeypatch.setenv("HOW", "deaf")
    watched.start("segment")
    watched.pump(lambda: "No message from the background process" in watched.ui.statusLabel.text)
    assert watched.panel.runs.isRunning()
    watched.panel.runs.stopNow()


def test_an_event_of_an_old_run_is_ignored(watched, monkeypatch):
    monkeypatch.setenv("STOP_AT", "segment")
    watched.start("segment")
    old = watched.panel.runs.run
    watched.panel.runs.stopNow()
    watched.panel.runSection.say("quiet")
    old._early.append(events.Warning("from the past"))
    watched.panel.frame.repaint()
    slicer.app.processEvents()
    assert watched.ui.statusLabel.text == "quiet"


def test_a_warning_of_the_worker_stays_in_view_to_the_end(watched, monkeypatch):
    monkeypatch.setenv("WARN", "The run continues on the CPU.")
    watched.start("read")
    watched.wait()
    assert watched.ui.statusLabel.text.endswith("The run continues on the CPU.")


def test_scripts_can_wait_or_get_events(watched, volume, module):
    logic = module.SpineMambaSegmentLogic()
    node = logic.process(volume)
    assert node.GetSegmentation().GetNumberOfSegments() == 3
    received = []
    run = logic.start(volume, node, received.append)
    watched.pump(lambda: not run.isRunning())
    assert isinstance(received[0], events.Hello)
    assert isinstance(received[-1], events.Finished)
    assert run.segmentationNode is node
    with pytest.raises(UserError, match="No input volume"):
        logic.process(None)


def test_a_script_that_is_interrupted_leaves_neither_process_nor_file(
    volume, module, fake_worker, monkeypatch
):
    from SpineMambaSegmentLib.Runs import WorkerRun

    monkeypatch.setenv("STOP_AT", "segment")
    monkeypatch.setenv("HOW", "polite")
    workers, start = [], WorkerRun.WorkerProcess.start

    def spy(*arguments):
        workers.append(start(*arguments))
        return workers[-1]

    def interrupt(seconds):
        if workers:
            raise KeyboardInterrupt

    monkeypatch.setattr(WorkerRun.WorkerProcess, "start", spy)
    monkeypatch.setattr(
        WorkerRun, "time", SimpleNamespace(sleep=interrupt, monotonic=time.monotonic)
    )
    with pytest.raises(KeyboardInterrupt):
        module.SpineMambaSegmentLogic().process(volume)
    assert len(workers) == 1
    assert not is_there(workers[0].pid)
    assert list(fake_worker.iterdir()) == []


def run_self_test(module, *names: str) -> str:
    """Run tests of the module file as unittest does, and return what they told the user."""
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(module.SpineMambaSegmentTest)
    chosen = [case for case in suite if not names or case._testMethodName in names]
    assert len(chosen) >= max(len(names), 1)
    with unittest.TestCase().assertLogs() as logged:
        logging.info("start")
        result = unittest.TextTestRunner(stream=io.StringIO()).run(unittest.TestSuite(chosen))
    assert result.wasSuccessful(), result.failures + result.errors
    return "\n".join(logged.output)


QUICK = ("test_labelsBecomeNamedSegments", "test_logicIsMade", "test_panelIsShownAndLeft")


def test_the_self_test_passes_without_a_main_window(module, panel):
    assert "there is no main window" in run_self_test(module, *QUICK)


def test_the_self_test_shows_and_leaves_the_panel(module, main_window, panel):
    slicer.util.selectModule("Volumes")
    assert "no main window" not in run_self_test(module, *QUICK)
    assert slicer.util.selectedModule() == "Volumes"


def test_the_self_test_names_missing_packages(module, panel, monkeypatch):
    missing = [SimpleNamespace(name="torch")]
    monkeypatch.setattr(module, "missingPackages", lambda pyproject: missing)
    assert "not installed: torch" in run_self_test(module, "test_syntheticSpineIsSegmented")


@pytest.mark.slow
def test_the_self_test_segments_a_synthetic_spine(module, panel, real_worker):
    assert "not installed" not in run_self_test(module, "test_syntheticSpineIsSegmented")
    assert list(real_worker.iterdir()) == []
