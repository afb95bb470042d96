"""Review of a segmentation that changes with the frames of a sequence, in Slicer's own browser."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from review_helpers import add_spine, everything, label_array, spine_labels  # noqa: E402
from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

from spinemamba.common.errors import UserError  # noqa: E402 - after the skip
from SpineMambaSegmentLib.Review import Log, SharedLabelmap  # noqa: E402
from SpineMambaSegmentLib.Review.LevelActions import ShiftLevels  # noqa: E402
from SpineMambaSegmentLib.Review.SegmentState import APPROVED  # noqa: E402
from SpineMambaSegmentLib.Review.Session import MANUAL_EDIT  # noqa: E402
from SpineMambaSegmentLib.Review.Sessions import ReviewSessions  # noqa: E402
from SpineMambaSegmentLib.Review.StatusActions import SetStatus  # noqa: E402
from SpineMambaSegmentLib.Scene import Frames  # noqa: E402

NAMES = (("L1", "L2", "L3"), ("L1", "L2", "L3"), ("L2", "L3", "L4"))


class Browsed:
    """A sequence of three segmentations in a browser; the second is shifted, the third renamed."""

    def __init__(self, scene, make_volume, saves: bool):
        self.logic = slicer.vtkSlicerSequencesLogic()
        self.logic.SetMRMLScene(scene)
        self.sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Spines")
        self.browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
        for k, names in enumerate(NAMES):
            labels = np.roll(spine_labels(names), 2 * (k == 1), axis=1)
            volume = make_volume(labels.astype(np.int16), np.eye(4))
            node = add_spine(volume, labels)
            self.sequence.SetDataNodeAtValue(node, str(10 * k))
            scene.RemoveNode(node)
        before = self.browser.StartModify()
        self.browser.SetAndObserveMasterSequenceNodeID(self.sequence.GetID())
        self.browser.SetSaveChanges(self.sequence, saves)
        self.browser.EndModify(before)
        self.node = self.browser.GetProxyNode(self.sequence)
        self.told: list[int] = []
        self.sessions = ReviewSessions(lambda: self.told.append(1))

    def go_to(self, item: int):
        self.browser.SetSelectedItemNumber(item)
        return self.sessions.watch(self.node, "A. Reader")


@pytest.fixture(params=[True, False], ids=["save changes", "discard changes"])
def browsed(scene, make_volume, request):
    return Browsed(scene, make_volume, request.param)


def test_a_change_of_the_frame_is_no_brush_stroke(browsed):
    for item in (0, 1):
        session = browsed.go_to(item)
        session.apply(SetStatus(tuple(session.spine.states), APPROVED))
    first = browsed.go_to(0)
    before = [label_array(browsed.node)]
    browsed.browser.SetSelectedItemNumber(1)
    before.append(label_array(browsed.node))
    assert before[0] != before[1]
    # The session of the first frame is not told yet that another frame is shown.
    assert first.absorb() == []
    assert label_array(browsed.node) == before[1]
    for item in (0, 1, 0):
        session = browsed.go_to(item)
        assert session.absorb() == []
        assert label_array(browsed.node) == before[item]
        assert MANUAL_EDIT not in [entry["action"] for entry in Log.read(browsed.node)]


def test_each_frame_keeps_its_review_and_its_undo(browsed):
    session = browsed.go_to(0)
    session.apply(ShiftLevels(-1))
    session.apply(SetStatus(("V20",), APPROVED))
    kept = everything(browsed.node)
    log = Log.read(browsed.node)
    other = browsed.go_to(2)
    assert other is not session
    assert other.spine.chain == ("L2", "L3", "L4")
    assert Log.read(browsed.node) == []
    other.apply(SetStatus(("V21",), APPROVED))
    assert browsed.go_to(0) is session
    assert everything(browsed.node) == kept
    assert Log.read(browsed.node) == log
    session.undo()
    session.undo()
    assert session.spine.chain == ("L1", "L2", "L3")
    assert browsed.go_to(2).spine.approved() == ["V21"]
    # A new session reads the same from the nodes alone, as after loading the scene.
    browsed.sessions.clear()
    assert browsed.go_to(2).spine.approved() == ["V21"]
    assert [entry["action"] for entry in Log.read(browsed.node)] == ["Approve"]


def test_a_brush_stroke_is_kept_in_its_frame(browsed):
    session = browsed.go_to(1)
    session.apply(SetStatus(("V21",), APPROVED))
    image = SharedLabelmap.imageOf(browsed.node, "V20")
    value = browsed.node.GetSegmentation().GetSegment("V20").GetLabelValue()
    vtk_to_numpy(image.GetPointData().GetScalars())[:40] = value
    image.Modified()
    changed = session.absorb()
    assert "V20" in changed
    stroke = label_array(browsed.node)
    browsed.go_to(0)
    assert browsed.go_to(1).absorb() == []
    assert label_array(browsed.node) == stroke


def test_the_panel_is_told_of_each_frame(browsed):
    browsed.go_to(0)
    for item in (1, 2, 0):
        browsed.told.clear()
        browsed.browser.SetSelectedItemNumber(item)
        assert browsed.told


def test_no_action_is_applied_to_another_frame(browsed):
    session = browsed.go_to(0)
    session.apply(SetStatus(("V20",), APPROVED))
    browsed.browser.SetSelectedItemNumber(1)
    before = everything(browsed.node)
    with pytest.raises(UserError, match="shows another frame"):
        session.apply(SetStatus(("V21",), APPROVED))
    assert session.undo() == []
    assert session.redo() == []
    assert everything(browsed.node) == before


def test_a_frame_that_the_browser_copies_from_the_last_one_gets_its_own(browsed):
    images = browsed.node.GetScene().AddNewNodeByClass("vtkMRMLSequenceNode", "CTs")
    volume = slicer.vtkMRMLScalarVolumeNode()
    for value in ("0", "10", "15", "20"):
        images.SetDataNodeAtValue(volume, value)
    browsed.browser.SetAndObserveMasterSequenceNodeID(images.GetID())
    browsed.browser.AddSynchronizedSequenceNode(browsed.sequence)
    browsed.browser.AddProxyNode(browsed.node, browsed.sequence, False)
    session = browsed.go_to(2)  # index value 15, shown as 10
    session.apply(SetStatus(("V20",), APPROVED))
    assert browsed.go_to(2).spine.approved() == ["V20"]
    assert browsed.go_to(1).spine.approved() == []


def test_a_segmentation_outside_sequences_has_no_frame(scene, make_volume):
    labels = spine_labels()
    volume = make_volume(labels.astype(np.int16), np.eye(4))
    node = add_spine(volume, labels)
    assert Frames.frameOf(node) is None
    assert Frames.framesOf(node) == []
    Frames.keep(node)
    scene.RemoveNode(node)
    assert Frames.frameOf(node) is None
