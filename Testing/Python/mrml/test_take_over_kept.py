"""Spines that were taken over: out of the review again, in sequences, and beside runs."""

from __future__ import annotations

import pytest

slicer = pytest.importorskip("slicer")

import numpy as np  # noqa: E402
from foreign_spines import SOURCES, TO_RAS, add_foreign, make_image  # noqa: E402
from review_helpers import NAMES, everything, label_array, oriented, spine_labels  # noqa: E402

from spinemamba.anatomy.labels import BY_NAME  # noqa: E402
from spinemamba.common.errors import UserError  # noqa: E402
from SpineMambaSegmentLib.Review import Log, TakeOver  # noqa: E402
from SpineMambaSegmentLib.Review.LevelActions import SetLevel  # noqa: E402
from SpineMambaSegmentLib.Review.Pins import PinLevel  # noqa: E402
from SpineMambaSegmentLib.Review.SegmentState import APPROVED, TAGS  # noqa: E402
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Review.Sessions import ReviewSessions  # noqa: E402
from SpineMambaSegmentLib.Review.StatusActions import Release, SetStatus  # noqa: E402
from SpineMambaSegmentLib.Scene import Inputs, Provenance, Segments, WriteMark  # noqa: E402
from SpineMambaSegmentLib.Scene.Ownership import madeIds, vertebraIds  # noqa: E402

TERMINOLOGY = slicer.vtkSegment.GetTerminologyEntryTagName()


@pytest.fixture
def volume(make_volume):
    return make_volume(make_image(), TO_RAS)


def levels_of(node) -> dict[str, str]:
    return {one.segmentId: one.level for one in TakeOver.candidates(node) if one.level}


def taken_over(volume, source: str) -> ReviewSession:
    node = add_foreign(volume, SOURCES[source], separate=source == "DICOM SEG")
    TakeOver.takeOver(node, levels_of(node), volume)
    return ReviewSession(node, volume)


@pytest.mark.parametrize("source", SOURCES)
def test_one_vertebra_leaves_the_review_as_it_came(volume, source: str):
    session = taken_over(volume, source)
    node, ids = session.node, session.spine.ids
    before, voxels = everything(node), label_array(node)
    session.apply(Release((ids[2],)))
    assert vertebraIds(node) == [i for i in ids if i != ids[2]]
    assert label_array(node) == voxels
    segment = node.GetSegmentation().GetSegment(ids[2])
    left = {n for n in TAGS if Provenance.tagOf(segment, n)} - {TERMINOLOGY}
    assert left == {"SpineMamba.TakenOver"}
    assert levels_of(node) == {ids[2]: NAMES[2]}
    assert Log.read(node)[-1]["action"] == "Take out of the review"
    session.undo()
    assert everything(node) == before
    session.redo()
    assert ids[2] not in session.spine.states
    TakeOver.takeOver(node, levels_of(node), volume)
    assert ReviewSession(node, volume).spine.chain == NAMES
    assert label_array(node) == voxels


def test_a_released_vertebra_with_our_code_is_not_taken_for_that_of_a_run(volume):
    session = taken_over(volume, "another site")
    head = session.spine.ids[0]
    session.apply(SetLevel(head, "T9"))
    session.apply(Release((head,)))
    assert head == f"V{BY_NAME['T11'].value}"
    assert madeIds(session.node) == []
    assert levels_of(session.node) == {head: "T9"}
    voxels = label_array(session.node)[head]
    Segments.addSegments(oriented(spine_labels(), TO_RAS), session.node, volume)
    assert label_array(session.node)[head] == voxels


def test_undo_of_a_release_puts_back_the_voxels_too(volume):
    session = taken_over(volume, "TotalSegmentator")
    node, head = session.node, session.spine.ids[0]
    before = everything(node)
    session.apply(Release((head,)))
    labels = spine_labels()
    block = np.zeros_like(labels)
    block[:4, :3, :3] = 1
    segment = node.GetSegmentation().GetSegment(head)
    segment.AddRepresentation(TakeOver.SharedLabelmap.LABELMAP, oriented(block, TO_RAS))
    segment.SetLabelValue(1)
    session.undo()
    assert everything(node)["voxels"] == before["voxels"]


def test_a_released_vertebra_is_no_longer_fixed(volume):
    session = taken_over(volume, "TotalSegmentator")
    third = session.spine.ids[2]
    session.apply(PinLevel(third, "L1"))
    session.apply(Release((third,)))
    assert not session.node.GetAttribute("SpineMamba.Pins")
    session.undo()
    assert "L1" in session.node.GetAttribute("SpineMamba.Pins")


def test_an_approved_vertebra_and_one_of_a_run_stay_in_the_review(volume):
    session = taken_over(volume, "TotalSegmentator")
    head = session.spine.ids[0]
    session.apply(SetStatus((head,), APPROVED))
    with pytest.raises(UserError, match="is approved"):
        session.apply(Release((head,)))
    made = volume.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "Made")
    Segments.addSegments(oriented(spine_labels(), TO_RAS), made, volume)
    with pytest.raises(UserError, match="from a run of this program"):
        ReviewSession(made, volume).apply(Release(("V20",)))


class Frames:
    """A sequence of two foreign spines in a browser that shows the first."""

    def __init__(self, volume, saves: bool):
        scene = volume.GetScene()
        self.logic = slicer.vtkSlicerSequencesLogic()
        self.logic.SetMRMLScene(scene)
        self.sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Spines")
        self.browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
        for k in range(2):
            node = add_foreign(volume, SOURCES["TotalSegmentator"])
            self.sequence.SetDataNodeAtValue(node, str(k))
            scene.RemoveNode(node)
        before = self.browser.StartModify()
        self.browser.SetAndObserveMasterSequenceNodeID(self.sequence.GetID())
        self.browser.SetSaveChanges(self.sequence, saves)
        self.browser.EndModify(before)
        self.node = self.browser.GetProxyNode(self.sequence)


@pytest.mark.parametrize("saves", [True, False], ids=["save changes", "discard changes"])
def test_each_frame_is_taken_over_and_reviewed_by_itself(volume, saves: bool):
    frames = Frames(volume, saves)
    sessions, node = ReviewSessions(lambda: None), frames.node
    TakeOver.takeOver(node, levels_of(node), volume)
    first = sessions.watch(node, "A. Reader")
    ids = first.spine.ids
    assert len(ids) == len(NAMES)
    first.apply(SetStatus((ids[0],), APPROVED))
    first.apply(Release((ids[1],)))
    frames.browser.SetSelectedItemNumber(1)
    assert sessions.watch(node, "A. Reader").spine.states == {}
    assert len(levels_of(node)) == len(NAMES)
    TakeOver.takeOver(node, levels_of(node), volume)
    sessions.drop(node)  # as the panel does
    frames.browser.SetSelectedItemNumber(0)
    again = sessions.watch(node, "A. Reader")
    assert again.spine.ids == [ids[0], *ids[2:]]
    assert again.spine.approved() == [ids[0]]
    assert Log.read(node)[0]["action"] == "Take over (8)"
    frames.browser.SetSelectedItemNumber(1)
    assert len(sessions.watch(node, "A. Reader").spine.ids) == len(NAMES)


def test_no_run_writes_into_a_taken_over_frame(volume):
    frames = Frames(volume, True)
    TakeOver.takeOver(frames.node, levels_of(frames.node), volume)
    with pytest.raises(UserError, match="taken over, which no run replaces"):
        Inputs.checkSegmentation(frames.node, volume)


def test_nothing_is_taken_over_while_a_run_is_going_to_write(volume):
    node = add_foreign(volume, SOURCES["TotalSegmentator"])
    before = everything(node)
    mark = WriteMark.place(node, volume)
    with pytest.raises(UserError, match="is going to write"):
        TakeOver.takeOver(node, levels_of(node), volume)
    assert everything(node) == before
    WriteMark.remove(mark)
    TakeOver.takeOver(node, levels_of(node), volume)
    assert len(vertebraIds(node)) == len(NAMES)


def test_undo_in_the_segment_editor_takes_no_approval_back(volume):
    node = add_foreign(volume, SOURCES["TotalSegmentator"])
    history = slicer.vtkSegmentationHistory()
    history.SetSegmentation(node.GetSegmentation())
    history.SaveState()
    TakeOver.takeOver(node, levels_of(node), volume)
    session = ReviewSession(node, volume)
    assert session.undoTitle == ""
    head = session.spine.ids[0]
    session.apply(SetStatus((head,), APPROVED))
    voxels = label_array(node)
    assert history.RestorePreviousState()
    session.absorb()
    assert session.spine.approved() == [head]
    assert label_array(node) == voxels
    # The others were restored as they were before they were taken over, and are offered again.
    assert set(levels_of(node)) == {SOURCES["TotalSegmentator"](name)[0] for name in NAMES[1:]}
