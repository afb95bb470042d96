"""Actions are single steps, and undo restores every byte."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")

from review_helpers import SHAPE, add_spine, everything, label_array, result_of, spine_labels  # noqa: E402

from spinemamba.anatomy.labels import BY_NAME  # noqa: E402
from spinemamba.common.errors import UserError  # noqa: E402
from SpineMambaSegmentLib.Review import (  # noqa: E402
    Log,
    SharedLabelmap,
)
from SpineMambaSegmentLib.Review.LevelActions import (  # noqa: E402
    InsertLevel,
    MarkVariant,
    SetLevel,
    ShiftLevels,
    SwapLevels,
)
from SpineMambaSegmentLib.Review.Mask import Mask  # noqa: E402
from SpineMambaSegmentLib.Review.SegmentState import APPROVED, CORRECTED, FLAGGED  # noqa: E402
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Review.ShapeActions import (  # noqa: E402
    Delete,
    FillHoles,
    Merge,
    RemoveIslands,
    SetMask,
    SplitByPlane,
    SplitBySeeds,
)
from SpineMambaSegmentLib.Review.StatusActions import ApproveRest, SetStatus  # noqa: E402
from SpineMambaSegmentLib.Scene import Provenance  # noqa: E402
from SpineMambaSegmentLib.Scene.Segments import SURFACE  # noqa: E402


@pytest.fixture
def node(make_volume):
    """A spine of eight blocks with surfaces, as after a run."""
    labels = spine_labels()
    labels[33, 11, 8] = 0  # a hole
    volume = make_volume(labels.astype(np.int16), np.eye(4))
    node = add_spine(volume, labels, result_of())
    node.CreateClosedSurfaceRepresentation()
    return node


@pytest.fixture
def session(node) -> ReviewSession:
    return ReviewSession(node, reviewer="Dr. Test")


def whole_box():
    return tuple(slice(0, n) for n in SHAPE)


def split_mask() -> Mask:
    return Mask.of(np.ones((4, 4, 4), bool), (0, 10, 6))


ACTIONS = {
    "shift": ShiftLevels(-1),
    "shift a part": ShiftLevels(1, "V24", "tail"),
    "name": SetLevel("V18", "T9"),
    "swap": SwapLevels("V20", "V21"),
    "T13": InsertLevel("V19", "T13"),
    "L6": InsertLevel("V24", "L6"),
    "T11 only": InsertLevel("V19", "T11"),
    "variant": MarkVariant("V24", "sacralised L5"),
    "approve": SetStatus(("V20", "V21"), APPROVED),
    "merge": Merge(("V20", "V21")),
    "delete": Delete(("V22",)),
    "plane": SplitByPlane("V20", (8.0, 8.0, 49.0), (0.0, 0.0, 1.0), "L6"),
    "holes": FillHoles(("V21", "V22", "V23")),
    "add": SetMask("", split_mask(), "L6"),
    "take from a neighbour": SetMask("V20", Mask.of(np.ones((20, 6, 6), bool), (30, 9, 5))),
    "beyond the label map": SetMask("V20", Mask.of(np.ones((4, 30, 30), bool), (44, -5, -5))),
}


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
def test_undo_and_redo_of_every_action_restore_every_byte(session, node, action):
    before = everything(node)
    assert session.apply(action)
    after = everything(node)
    assert after != before
    session.undo()
    assert everything(node) == before
    session.redo()
    assert everything(node) == after


@pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())
def test_surfaces_follow_every_action(session, node, action):
    session.apply(action)
    segmentation = node.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        surface = segmentation.GetSegment(segment_id).GetRepresentation(SURFACE)
        voxels = session.spine.states[segment_id].mask
        bounds = np.array(surface.GetBounds()).reshape(3, 2)
        first = np.array(voxels.first[::-1])
        last = first + voxels.shape[::-1]
        np.testing.assert_allclose(bounds, np.stack([first, last], 1) - 0.5, atol=1.5)


def test_level_actions_change_names_but_not_voxels_and_ids(session, node):
    before = label_array(node)
    session.apply(ShiftLevels(-1))
    assert session.spine.chain == ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "Sacrum")
    assert label_array(node) == before
    segment = node.GetSegmentation().GetSegment("V20")
    assert segment.GetName() == "T12"
    assert "T12 vertebra" in Provenance.tagOf(segment, segment.GetTerminologyEntryTagName())
    assert segment.GetColor() == pytest.approx([c / 255 for c in BY_NAME["T12"].color])


def test_an_approved_vertebra_keeps_its_name_and_its_voxels(session, node):
    session.apply(SetStatus(("V21",), APPROVED))
    before = everything(node)
    for action in (
        ShiftLevels(1),
        Delete(("V21",)),
        Merge(("V20", "V21")),
        SwapLevels("V20", "V21"),
    ):
        with pytest.raises(UserError, match="L2 is approved"):
            session.apply(action)
    assert everything(node) == before
    own = session.spine.states["V21"].mask
    session.apply(SetMask("V20", Mask.of(np.ones((30, 8, 8), bool), (20, 8, 4))))
    assert session.spine.states["V21"].mask == own
    assert not session.spine.states["V20"].mask.overlap(own)


def test_two_vertebrae_never_get_the_same_level(session, node):
    before = everything(node)
    with pytest.raises(UserError, match="Two vertebrae would be L3"):
        session.apply(SetLevel("V20", "L3"))
    assert everything(node) == before


def test_reviewer_and_time_are_tags_of_the_segment_and_are_saved(session):
    session.apply(SetStatus(("V20",), APPROVED))
    state = session.spine.states["V20"]
    assert state.tag("SpineMamba.ReviewedBy") == "Dr. Test"
    assert state.tag("SpineMamba.ReviewedAt").startswith("20")
    session.apply(SetStatus(("V20",), CORRECTED))
    session.apply(SetMask("V20", split_mask()))
    assert session.spine.states["V20"].tag("SpineMamba.ReviewedBy") == ""


def test_a_corrected_vertebra_is_no_longer_flagged(session):
    assert session.spine.states["V20"].status == FLAGGED
    with pytest.raises(UserError, match="Flagged: L1"):
        session.apply(ApproveRest())
    session.apply(SetStatus(("V20",), APPROVED))
    session.apply(ApproveRest())
    assert session.spine.approved() == session.spine.ids


def test_seeds_split_merged_vertebrae(make_volume):
    labels = spine_labels()
    labels[labels == 21] = 20
    node = add_spine(make_volume(labels.astype(np.int16), np.eye(4)), labels)
    session = ReviewSession(node)
    session.apply(SplitBySeeds("V20", ((7.0, 11.0, 41.0), (8.0, 12.0, 49.0))))
    truth = spine_labels()
    new = next(i for i in session.spine.ids if session.spine.states[i].level == "L2")
    for segment_id, value in (("V20", 20), (new, 21)):
        found = session.spine.states[segment_id].mask.inBox(whole_box())
        overlap = 2 * (found & (truth == value)).sum()
        assert overlap / (found.sum() + (truth == value).sum()) > 0.95


def test_removing_islands_keeps_the_largest_component(session, node):
    mask = session.spine.states["V20"].mask
    box = mask.array()
    grown = np.pad(box, ((0, 0), (0, 0), (0, 3)))
    grown[2, 2, -1] = True
    session.apply(SetMask("V20", Mask.of(grown, mask.first)))
    session.apply(RemoveIslands(("V20",)))
    assert session.spine.states["V20"].mask == mask


def test_edits_in_the_segment_editor_become_a_step(session, node):
    before = everything(node)
    image = SharedLabelmap.imageOf(node, "V20")
    voxels = SharedLabelmap.voxelsOf(image)
    voxels[voxels == 20] = 0
    image.Modified()
    node.GetSegmentation().GetSegment("V22").SetName("L3, checked")
    assert set(session.absorb()) == {"V20", "V22"}
    assert session.undoTitle == "Edited by hand"
    session.undo()
    assert everything(node) == before


def test_other_segments_keep_every_voxel(session, node, make_volume):
    segmentation = node.GetSegmentation()
    segmentation.AddEmptySegment("Tumour", "Tumour")
    image = SharedLabelmap.imageOf(node, "V20")
    segment = segmentation.GetSegment("Tumour")
    segment.AddRepresentation(SharedLabelmap.LABELMAP, image)
    segment.SetLabelValue(99)
    SharedLabelmap.voxelsOf(image)[50:54, 0:3, 0:3] = 99
    image.Modified()
    own = label_array(node)["Tumour"]
    session.absorb()
    session.apply(SetMask("V20", Mask.of(np.ones((20, 10, 10), bool), (40, 0, 0))))
    assert label_array(node)["Tumour"] == own


def test_the_log_records_action_time_and_reviewer_and_is_append_only(session, node):
    session.apply(Delete(("V22",)))
    session.undo()
    session.apply(ShiftLevels(-1))
    lines = Log.csvText(node).splitlines()
    assert lines[0].startswith("time,action,reviewer,segment,level_before")
    assert lines[1].split(",")[1:6] == ["Delete", "Dr. Test", "V22", "L3", ""]
    assert lines[2].split(",")[1:6] == ["Undo: Delete", "Dr. Test", "V22", "", "L3"]
    assert len(lines) == 1 + 1 + 1 + 7
    assert "Spine" not in "".join(lines)
