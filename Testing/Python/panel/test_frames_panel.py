"""All frames of a sequence in the panel, with Slicer's own sequence browser and a fake worker."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("application", reason="slicer-core or PySide6 is not installed")

import slicer
import vtk
from run_helpers import is_there
from scene_helpers import add_volume
from server_process import local_server
from vtk.util.numpy_support import vtk_to_numpy

from spinemamba.protocol import events

VALUES = ("0", "0.5", "1.5")
IDS = ("V19", "V20", "V21")
SHAPE = (24, 20, 16)


class Scan:
    """A sequence of three volumes in a browser that shows the second."""

    def __init__(self, panel, pump):
        scene = slicer.mrmlScene
        self.panel, self.ui, self.pump = panel, panel.ui, pump
        self.images = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "CT")
        self.images.SetIndexName("time")
        self.images.SetIndexUnit("s")
        for k, value in enumerate(VALUES):
            frame = add_volume(np.full(SHAPE, k, np.int16), np.diag([1.0, 1.0, 1.0 + k, 1.0]), "CT")
            self.images.SetDataNodeAtValue(frame, value)
            scene.RemoveNode(frame)
        self.browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
        self.browser.SetAndObserveMasterSequenceNodeID(self.images.GetID())
        self.browser.SetSelectedItemNumber(1)
        self.volume = self.browser.GetProxyNode(self.images)
        self.ui.inputSelector.setCurrentNode(self.volume)
        self.seen: list[str] = []

    def start(self, frames: str = "All frames") -> None:
        self.ui.framesSelector.setCurrentIndex(self.ui.framesSelector.findText(frames))
        self.ui.segmentButton.click()

    def wait(self) -> None:
        def ended() -> bool:
            self.seen.append(self.ui.statusLabel.text.partition("\n")[0])
            return not self.panel.runs.isRunning()

        self.pump(ended)

    @property
    def output(self):
        return self.ui.outputSelector.currentNode()

    @property
    def results(self):
        return self.browser.GetSequenceNode(self.output)

    def ids(self) -> dict[str, tuple[str, ...]]:
        """Return the segment IDs in each frame of the result."""
        results = self.results
        return {
            results.GetNthIndexValue(k): results.GetNthDataNode(k).GetSegmentation().GetSegmentIDs()
            for k in range(results.GetNumberOfDataNodes())
        }

    def voxels(self) -> list[tuple[bytes, tuple[int, ...], tuple[float, ...]]]:
        """Return labels, extent and grid of each segment in each frame of the result."""
        results, found = self.results, []
        for k in range(results.GetNumberOfDataNodes()):
            segmentation = results.GetNthDataNode(k).GetSegmentation()
            for name in segmentation.GetSegmentIDs():
                segment = segmentation.GetSegment(name)
                labels = segment.GetRepresentation("Binary labelmap")
                matrix = vtk.vtkMatrix4x4()
                labels.GetImageToWorldMatrix(matrix)
                array = vtk_to_numpy(labels.GetPointData().GetScalars())
                mask = array == segment.GetLabelValue()
                grid = tuple(matrix.GetData())
                found.append((mask.tobytes(), labels.GetExtent(), grid))
        return found

    def rows(self) -> int:
        return self.ui.reviewTable.rowCount


@pytest.fixture
def scan(panel, fake_worker, pump):
    return Scan(panel, pump)


def test_frames_are_offered_for_volumes_of_sequences_only(scan, volume):
    assert not scan.ui.framesSelector.isHidden()
    scan.ui.inputSelector.setCurrentNode(volume)
    assert scan.ui.framesSelector.isHidden()
    assert scan.ui.framesSelectorLabel.isHidden()


def test_all_frames_become_a_sequence_in_the_same_browser(scan):
    scan.start()
    assert scan.panel.inputSection.describe().endswith("all-frames")
    scan.wait()
    assert "Finished" in scan.ui.statusLabel.text
    assert "only the current frame" not in scan.ui.statusLabel.text
    for number in (1, 2, 3):
        assert any(text.startswith(f"Frame {number} of 3: ") for text in scan.seen)
    assert scan.ids() == dict.fromkeys(VALUES, IDS)
    assert scan.browser.GetSelectedItemNumber() == 1
    assert scan.browser.GetMasterSequenceNode() is scan.images
    assert (scan.results.GetIndexName(), scan.results.GetIndexUnit()) == ("time", "s")
    assert scan.output.GetName() == "CT spine"
    assert scan.rows() == 3
    # Each frame has the grid of its own image: the slices are 1, 2 and 3 mm thick.
    heights = []
    for item in range(3):
        scan.browser.SetSelectedItemNumber(item)
        bounds = np.zeros(6)
        scan.output.GetRASBounds(bounds)
        heights.append(bounds[5] - bounds[4])
    assert heights == pytest.approx([heights[0], 2 * heights[0], 3 * heights[0]], rel=0.05)


def test_all_frames_over_a_server_are_those_of_a_local_run(
    panel, fake_worker, pump, tmp_path, monkeypatch
):
    from SpineMambaSegmentLib.Setup import TokenStore

    monkeypatch.setattr(TokenStore, "_keyring", lambda: None)
    local = Scan(panel, pump)
    local.start()
    local.wait()
    assert local.ids() == dict.fromkeys(VALUES, IDS)
    expected = local.voxels()
    with local_server(tmp_path / "server") as server:
        remote = Scan(panel, pump)
        remote.ui.outputSelector.setCurrentNode(None)
        remote.ui.serverAddressEdit.text = server.url
        panel.serverSection._onAddress()
        remote.ui.deviceSelector.setCurrentIndex(remote.ui.deviceSelector.findData("server"))
        remote.start()
        remote.wait()
        assert "Made on Ward" in remote.ui.statusLabel.text
        server.wait_until_idle()
    for number in (1, 2, 3):
        assert any(text.startswith(f"Frame {number} of 3: ") for text in remote.seen)
    assert any("on Ward" in text for text in remote.seen), sorted(set(remote.seen))
    assert remote.ids() == dict.fromkeys(VALUES, IDS)
    assert remote.voxels() == expected
    assert list(fake_worker.iterdir()) == []


def test_the_log_of_a_run_over_frames_has_all_of_them(scan):
    scan.start()
    scan.wait()
    assert scan.panel.runs.log().count("a line for the log") == 3


def test_all_frames_are_segmented_by_one_process(scan):
    pids, show = set(), scan.panel.runSection.show

    def spy(event):
        if isinstance(event, events.Hello):
            pids.add(event.pid)
        show(event)

    scan.panel.runSection.show = spy
    scan.start()
    scan.wait()
    assert len(pids) == 1
    assert not [pid for pid in pids if is_there(pid)]


def test_the_table_follows_the_frame(scan):
    scan.start()
    scan.wait()
    scan.ui.reviewTable.selectRow(0)
    scan.ui.approveButton.click()
    assert scan.ui.reviewProgressBar.value == 1
    scan.browser.SetSelectedItemNumber(2)
    scan.pump(lambda: scan.ui.reviewProgressBar.value == 0)
    scan.browser.SetSelectedItemNumber(1)
    scan.pump(lambda: scan.ui.reviewProgressBar.value == 1)
    assert scan.ui.undoButton.enabled


def test_cancel_keeps_the_frames_that_are_finished(scan, monkeypatch, fake_worker):
    for name, value in (("STOP_AT", "segment"), ("HOW", "polite"), ("ONLY_IN", "frame-2")):
        monkeypatch.setenv(name, value)
    scan.start()
    scan.pump(lambda: "Frame 2 of 3: Outlining" in scan.ui.statusLabel.text)
    assert "are kept" in scan.ui.cancelButton.toolTip
    scan.ui.cancelButton.click()
    scan.wait()
    assert "Cancelled. The segments of 1 of 3 frames are finished" in scan.ui.statusLabel.text
    # The browser shows frame 2, which is empty, and not a copy of frame 1.
    assert scan.ids() == {"0": IDS, "0.5": ()}
    assert scan.rows() == 0
    scan.browser.SetSelectedItemNumber(0)
    scan.pump(lambda: scan.rows() == 3)
    assert list(fake_worker.iterdir()) == []


def test_cancel_in_the_first_frame_changes_nothing(scan, monkeypatch):
    monkeypatch.setenv("STOP_AT", "segment")
    before = slicer.mrmlScene.GetNumberOfNodes()
    scan.start()
    scan.pump(lambda: "Frame 1 of 3: Outlining" in scan.ui.statusLabel.text)
    scan.ui.cancelButton.click()
    scan.wait()
    assert scan.ui.statusLabel.text == "Cancelled. Nothing was changed."
    assert slicer.mrmlScene.GetNumberOfNodes() == before
    assert scan.output is None


def test_a_frame_without_spine_is_skipped(scan, monkeypatch):
    for name, value in (("STOP_AT", "segment"), ("HOW", "NO_SPINE"), ("ONLY_IN", "frame-2")):
        monkeypatch.setenv(name, value)
    scan.start()
    scan.wait()
    assert "Finished" in scan.ui.statusLabel.text
    assert "Frame 2 of 3: No spine was found." in scan.ui.statusLabel.text
    assert scan.ids() == {"0": IDS, "0.5": (), "1.5": IDS}


def test_a_sequence_without_spine_fails(scan, monkeypatch):
    for name, value in (("STOP_AT", "segment"), ("HOW", "NO_SPINE")):
        monkeypatch.setenv(name, value)
    scan.start()
    scan.wait()
    assert "No frame could be segmented." in scan.ui.statusLabel.text
    assert scan.output is None


def test_an_error_names_the_frame_and_what_is_kept(scan, monkeypatch):
    for name, value in (("STOP_AT", "segment"), ("HOW", "OOM_HOST"), ("ONLY_IN", "frame-3")):
        monkeypatch.setenv(name, value)
    scan.start()
    scan.wait()
    text = scan.ui.statusLabel.text
    assert "OOM_HOST: Frame 3 of 3: This computer has too little free memory." in text
    assert "The segments of 2 of 3 frames are finished and kept." in text
    assert scan.ids() == {"0": IDS, "0.5": IDS}


def test_a_second_run_keeps_what_is_approved_in_each_frame(scan):
    scan.start()
    scan.wait()
    assert "Finished" in scan.ui.statusLabel.text
    assert scan.rows() == 3
    scan.ui.reviewTable.selectRow(0)
    assert scan.panel.reviewSection.selectedIds() == ["V19"]
    assert scan.ui.approveButton.enabled
    scan.ui.approveButton.click()
    assert scan.ui.reviewProgressBar.value == 1, scan.ui.statusLabel.text
    scan.start()
    scan.wait()
    assert scan.ids() == dict.fromkeys(VALUES, IDS)
    scan.pump(lambda: scan.ui.reviewProgressBar.value == 1)
    assert not scan.ui.undoButton.enabled
    scan.browser.SetSelectedItemNumber(0)
    scan.pump(lambda: scan.ui.reviewProgressBar.value == 0)


def test_a_segmentation_of_another_sequence_is_refused_for_all_frames(scan):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Other")
    scan.ui.framesSelector.setCurrentIndex(1)
    scan.ui.outputSelector.setCurrentNode(node)
    assert not scan.ui.segmentButton.enabled
    assert "Other does not change with the frames" in scan.ui.segmentButton.toolTip
    scan.ui.framesSelector.setCurrentIndex(0)
    assert scan.ui.segmentButton.enabled


def test_one_frame_is_stored_where_it_belongs(scan, monkeypatch):
    scan.start()
    scan.wait()
    before = dict(scan.ids())
    for value in VALUES:
        frame = scan.results.GetDataNodeAtValue(value)
        frame.GetSegmentation().RemoveSegment("V19")
    monkeypatch.setenv("PAUSE_S", "0.01")
    scan.start("Current frame")
    scan.pump(lambda: scan.panel.runs.isRunning())
    # The user looks at another frame meanwhile.
    scan.browser.SetSelectedItemNumber(2)
    scan.wait()
    assert "Finished" in scan.ui.statusLabel.text
    assert {value: len(ids) for value, ids in scan.ids().items()} == {"0": 2, "0.5": 3, "1.5": 2}
    assert set(scan.ids()["0.5"]) == set(before["0.5"])


def test_a_sequence_that_is_deleted_ends_the_run(scan, monkeypatch, fake_worker):
    for name, value in (("STOP_AT", "segment"), ("HOW", "polite"), ("ONLY_IN", "frame-2")):
        monkeypatch.setenv(name, value)
    scan.start()
    scan.pump(lambda: "Frame 2 of 3: Outlining" in scan.ui.statusLabel.text)
    slicer.mrmlScene.RemoveNode(scan.images)
    scan.wait()
    assert "deleted during the run" in scan.ui.statusLabel.text
    assert list(fake_worker.iterdir()) == []


def test_region_and_transform_hold_for_all_frames(scan):
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Move")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 100.0)
    transform.SetMatrixTransformToParent(matrix)
    scan.volume.SetAndObserveTransformNodeID(transform.GetID())
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region")
    roi.SetCenter(107.5, 9.5, 12.0)
    roi.SetSize(11.0, 13.0, 15.0)
    scan.ui.roiSelector.setCurrentNode(roi)
    scan.start()
    scan.wait()
    for item in range(3):
        scan.browser.SetSelectedItemNumber(item)
        bounds = np.zeros(6)
        scan.output.GetRASBounds(bounds)
        margin = np.array([0.5, 0.5, (1 + item) / 2])
        assert (bounds[::2] >= np.array([102.0, 3.0, 4.5]) - margin).all()
        assert (bounds[1::2] <= np.array([113.0, 16.0, 19.5]) + margin).all()
        assert (bounds[1::2] > bounds[::2]).all()


def test_a_region_outside_of_one_frame_is_named_before_the_run(scan, fake_worker):
    roi = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region")
    roi.SetCenter(7.5, 9.5, 40.0)  # above the first frame, which is the lowest
    roi.SetSize(11.0, 13.0, 15.0)
    scan.ui.roiSelector.setCurrentNode(roi)
    scan.start()
    assert not scan.panel.runs.isRunning()
    assert "Frame 1 of 3: The region Region lies outside" in scan.ui.statusLabel.text
    assert list(fake_worker.iterdir()) == []


def test_scripts_wait_for_all_frames(scan):
    from SpineMambaSegmentLib.Runs.SegmentRun import RunOptions

    node = scan.panel.runs.process(scan.volume, None, RunOptions(allFrames=True))
    assert scan.browser.GetSequenceNode(node).GetNumberOfDataNodes() == 3
