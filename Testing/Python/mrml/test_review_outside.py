"""Changes made outside the review: Slicer's own undo, its table of segments, and other modules."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from review_helpers import (  # noqa: E402
    SHAPE,
    add_spine,
    everything,
    oriented,
    result_of,
    spine_labels,
)

from spinemamba.anatomy.labels import BY_NAME  # noqa: E402
from spinemamba.anatomy.terminology import terminology_entry  # noqa: E402
from SpineMambaSegmentLib.Review import Log  # noqa: E402
from SpineMambaSegmentLib.Review.LevelActions import ShiftLevels  # noqa: E402
from SpineMambaSegmentLib.Review.Pins import PinLevel  # noqa: E402
from SpineMambaSegmentLib.Review.SegmentState import (  # noqa: E402
    APPROVED,
    AT_TAG,
    BY_TAG,
    CORRECTED,
    FLAGGED,
    NOT_STARTED,
)
from SpineMambaSegmentLib.Review.Session import (  # noqa: E402
    MANUAL_EDIT,
    RESTORED,
    STATUS_EDIT,
    ReviewSession,
)
from SpineMambaSegmentLib.Review.ShapeActions import Delete  # noqa: E402
from SpineMambaSegmentLib.Review.StatusActions import SetStatus  # noqa: E402

STROKE = np.zeros(SHAPE, np.uint8)
STROKE[38:46, 10:14, 12:14] = 1
"""Beside the body of L2, V21."""

Logic = slicer.vtkSlicerSegmentationsModuleLogic


@pytest.fixture
def editor(make_volume, monkeypatch: pytest.MonkeyPatch):
    """A review, and Slicer's Segment Editor on the same segmentation, with its history."""
    if "qt" not in sys.modules:
        monkeypatch.setitem(sys.modules, "qt", ModuleType("qt"))
    from SpineMambaSegmentLib.Panel.Review import ReviewEditor

    seconds = itertools.count()
    monkeypatch.setattr(Log, "now", lambda: f"2026-01-01T00:00:{next(seconds):02}+00:00")

    volume = make_volume(spine_labels().astype(np.int16), np.eye(4))
    node = add_spine(volume, spine_labels(), result_of())
    logic, history = slicer.vtkSlicerSegmentEditorLogic(), slicer.vtkSegmentationHistory()
    logic.SetMRMLScene(volume.GetScene())
    parameters = ReviewEditor.editorNode(volume.GetScene())
    logic.SetSegmentEditorNode(parameters)
    parameters.SetAndObserveSegmentationNode(node)
    parameters.SetAndObserveSourceVolumeNode(volume)
    logic.SetSegmentationHistory(history)
    history.SetSegmentation(node.GetSegmentation())
    history.SetMaximumNumberOfStates(10)
    ReviewEditor.protectNeighbours(parameters, False)

    def paint(segment_id: str, voxels: np.ndarray = STROKE) -> None:
        logic.SaveStateForUndo()
        parameters.SetSelectedSegmentID(segment_id)
        mode = logic.ModificationModeAdd
        image = oriented(voxels, np.eye(4))
        logic.ModifySegmentByLabelmap(node, segment_id, image, mode, True, False)

    session = ReviewSession(node, volume, "R. Viewer")
    segment = node.GetSegmentation().GetSegment
    return SimpleNamespace(
        session=session, node=node, logic=logic, history=history, paint=paint, segment=segment
    )


def states(editor) -> dict:
    return dict(editor.session.spine.states)


def actions(editor) -> list[str]:
    return [item["action"] for item in Log.read(editor.node)]


def approve(editor, *ids: str) -> None:
    editor.session.apply(SetStatus(ids, APPROVED))


def test_undo_in_the_segment_editor_keeps_approvals_and_their_names(editor):
    editor.paint("V21")
    editor.session.absorb()
    approve(editor, "V20", "V21")
    known = states(editor)
    editor.logic.Undo()
    assert (
        not editor.segment("V21").HasTag(AT_TAG) if hasattr(slicer.vtkSegment, "HasTag") else True
    )
    assert editor.session.absorb() == []
    assert states(editor) == known
    assert actions(editor)[-1] == RESTORED
    restored = Log.read(editor.node)[-1]["changes"]
    assert {row["segment"] for row in restored} == {"V20", "V21"}
    assert {row["status_after"] for row in restored} == {"completed"}
    (text,) = editor.session.takeNotices()
    assert "L1, L2" in text
    assert editor.session.takeNotices() == []
    editor.logic.Redo()
    editor.session.absorb()
    assert states(editor) == known


def test_undo_in_the_segment_editor_takes_back_only_what_is_not_approved(editor):
    editor.paint("V22")
    editor.session.absorb()
    editor.session.apply(ShiftLevels(1))
    approve(editor, "V20")
    known = states(editor)
    editor.logic.Undo()
    changed = editor.session.absorb()
    after = states(editor)
    assert after["V20"] == known["V20"]
    assert after["V20"].name == "L2"
    assert "V20" not in changed
    assert after["V19"].name == "T12"
    assert editor.session.undoTitle == MANUAL_EDIT
    editor.session.undo()
    assert states(editor) == known


def test_undo_in_the_segment_editor_does_not_approve(editor):
    approve(editor, "V21")
    editor.paint("V22")
    editor.session.absorb()
    editor.session.apply(SetStatus(("V21",), CORRECTED))
    known = states(editor)["V21"]
    editor.logic.Undo()
    assert Logic.GetSegmentStatus(editor.segment("V21")) == Logic.Completed
    editor.session.absorb()
    assert states(editor)["V21"] == known


def test_a_deleted_vertebra_that_undo_brings_back_is_not_approved(editor):
    approve(editor, "V21")
    editor.paint("V22")
    editor.session.absorb()
    editor.session.apply(SetStatus(("V21",), CORRECTED))
    editor.session.apply(Delete(("V21",)))
    editor.logic.Undo()
    editor.session.absorb()
    state = states(editor)["V21"]
    assert (state.status, state.tag(BY_TAG), state.tag(AT_TAG)) == (CORRECTED, "", "")


def rename(editor) -> None:
    editor.segment("V21").SetName("Rib")


def recolor(editor) -> None:
    editor.segment("V21").SetColor(1.0, 0.0, 0.0)


def retag(editor) -> None:
    editor.segment("V21").SetTag("SpineMamba.Flags", "Something else.")


def recode(editor) -> None:
    segment = editor.segment("V21")
    segment.SetTag(segment.GetTerminologyEntryTagName(), "nothing")


def erase(editor) -> None:
    Logic.ClearSegment(editor.node, "V21")


def remove(editor) -> None:
    editor.node.GetSegmentation().RemoveSegment("V21")


def overpaint(editor) -> None:
    parameters = editor.logic.GetSegmentEditorNode()
    parameters.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
    parameters.SetOverwriteMode(parameters.OverwriteAllSegments)
    editor.paint("V20", (spine_labels() == 21).astype(np.uint8))


CHANGES = [rename, recolor, retag, recode, erase, remove, overpaint]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_an_approved_vertebra_is_put_back_after_any_change(editor, change: Callable):
    approve(editor, "V21")
    known, order = everything(editor.node), states(editor)["V21"]
    change(editor)
    editor.session.absorb()
    assert states(editor)["V21"] == order
    now = everything(editor.node)
    index = known["order"].index("V21")
    assert now["order"] == known["order"]
    for key in ("names", "colors", "tags"):
        assert now[key][index] == known[key][index]
    assert now["voxels"]["V21"] == known["voxels"]["V21"]
    assert RESTORED in actions(editor)
    assert "L2" in " ".join(editor.session.takeNotices())


@pytest.mark.parametrize(
    "change", [rename, recolor, retag, erase, remove], ids=lambda c: c.__name__
)
def test_other_vertebrae_may_be_changed_and_the_change_undone(editor, change: Callable):
    known = everything(editor.node)
    change(editor)
    assert editor.session.absorb() == ["V21"]
    assert RESTORED not in actions(editor)
    assert editor.session.undoTitle == MANUAL_EDIT
    editor.session.undo()
    assert everything(editor.node) == known


def test_an_approval_given_in_slicers_table_gets_reviewer_and_time(editor):
    Logic.SetSegmentStatus(editor.segment("V21"), Logic.Completed)
    editor.session.absorb()
    state = states(editor)["V21"]
    assert state.status == APPROVED
    assert state.tag(BY_TAG) == "R. Viewer"
    assert state.tag(AT_TAG)
    assert editor.session.undoTitle == STATUS_EDIT


@pytest.mark.parametrize("status", [NOT_STARTED, FLAGGED, CORRECTED])
def test_an_approval_may_be_withdrawn_in_slicers_table(editor, status: int):
    approve(editor, "V21")
    Logic.SetSegmentStatus(editor.segment("V21"), status)
    assert editor.session.absorb() == ["V21"]
    state = states(editor)["V21"]
    assert (state.status, state.tag(BY_TAG), state.tag(AT_TAG)) == (status, "", "")
    assert actions(editor)[-1] == STATUS_EDIT
    editor.session.undo()
    assert states(editor)["V21"].status == APPROVED
    assert states(editor)["V21"].tag(AT_TAG)


def test_a_new_segment_without_a_row_is_announced_once(editor):
    segment = slicer.vtkSegment()
    segment.SetName("Part of L2")
    editor.node.GetSegmentation().AddSegment(segment)
    editor.session.absorb()
    assert [t for t in editor.session.takeNotices() if "Part of L2" in t]
    editor.session.absorb()
    assert editor.session.takeNotices() == []


def test_a_fixed_level_ends_when_the_vertebra_is_renamed_elsewhere(editor):
    editor.session.apply(PinLevel("V21", "L2"))
    assert "V21" in editor.node.GetAttribute("SpineMamba.Pins")
    editor.segment("V21").SetName("L3")
    segment = editor.segment("V21")
    tag = segment.GetTerminologyEntryTagName()
    segment.SetTag(tag, terminology_entry(BY_NAME["L3"]))
    editor.session.absorb()
    assert "V21" not in (editor.node.GetAttribute("SpineMamba.Pins") or "")
    editor.session.undo()
    assert "V21" in editor.node.GetAttribute("SpineMamba.Pins")


def test_the_reviews_undo_takes_a_stroke_back_after_other_steps(editor):
    known = everything(editor.node)
    editor.paint("V21")
    assert editor.session.absorb() == ["V21"]
    approve(editor, "V21")
    editor.session.undo()
    editor.session.undo()
    assert everything(editor.node) == known


def test_without_states_slicers_editor_saves_and_restores_nothing(editor):
    editor.logic.SetMaximumNumberOfUndoStates(0)
    editor.paint("V21")
    editor.session.absorb()
    approve(editor, "V21")
    known = everything(editor.node)
    assert not editor.logic.CanUndo()
    assert everything(editor.node) == known
