"""Saving and restoring the review: scene file, and .seg.nrrd with its JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")

from review_helpers import add_spine, oriented, result_of, spine_labels  # noqa: E402

from spinemamba.anatomy.numbering_rules import shift  # noqa: E402
from spinemamba.common.errors import UserError  # noqa: E402
from SpineMambaSegmentLib.Review import (  # noqa: E402
    Log,
    ReviewFile,
)
from SpineMambaSegmentLib.Review.Display import (  # noqa: E402
    banner,
    progress,
    rowsOf,
)
from SpineMambaSegmentLib.Review.LevelActions import ShiftLevels  # noqa: E402
from SpineMambaSegmentLib.Review.Mask import Mask  # noqa: E402
from SpineMambaSegmentLib.Review.Pins import PinLevel, pinsOf, resultOf  # noqa: E402
from SpineMambaSegmentLib.Review.SegmentState import APPROVED  # noqa: E402
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Review.ShapeActions import Delete, SetMask  # noqa: E402
from SpineMambaSegmentLib.Review.StatusActions import SetStatus, TakeDecision  # noqa: E402
from SpineMambaSegmentLib.Scene import (  # noqa: E402
    Files,
    Segments,
)

TILTED = np.array(
    [[-0.8, 0.1, 0.0, 40.0], [0.1, 0.79, 0.2, -30.0], [0.0, -0.2, 1.2, 100.0], [0, 0, 0, 1.0]]
)


@pytest.fixture
def volume(make_volume):
    return make_volume(spine_labels().astype(np.int16), TILTED)


@pytest.fixture
def session(volume) -> ReviewSession:
    """A review in the middle: corrected, pinned, approved, logged."""
    node = add_spine(volume, spine_labels(), result_of())
    session = ReviewSession(node, volume, "Dr. Test")
    session.apply(Delete(("V18",)))
    session.apply(ShiftLevels(-1, "V22", "head"))
    session.apply(SetMask("V23", Mask.of(np.ones((5, 6, 6), bool), (23, 9, 5))))
    session.apply(PinLevel("V24", "L5"))
    session.apply(SetStatus(("V24", "V22"), APPROVED))
    return session


def facts(session: ReviewSession) -> dict:
    """Return all that a reader of the table can tell, and what lies behind it."""
    spine = session.spine
    return {
        "rows": rowsOf(spine),
        "places": {i: spine.centerRas(i).round(3).tolist() for i in spine.ids},
        "voxels": {i: s.mask.packed for i, s in spine.states.items()},
        "tags": {i: s.tags for i, s in spine.states.items()},
        "pins": pinsOf(spine),
        "log": Log.read(session.node),
        "result": resultOf(spine),
        "progress": progress(spine),
        "banner": banner(spine),
    }


def test_a_saved_scene_restores_the_review(session, scene, tmp_path: Path):
    wanted = facts(session)
    path = str(tmp_path / "case.mrb")
    # What unpacks .mrb files belongs to the application.
    cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
    cache.SetRemoteCacheDirectory(str(tmp_path))
    manager.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(manager)
    assert scene.WriteToMRB(path, None)
    scene.Clear(0)
    assert scene.ReadFromMRB(path, True)
    node = scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    again = ReviewSession(node, reviewer="Dr. Test")
    assert facts(again) == wanted
    again.apply(SetStatus(("V21",), APPROVED))
    assert progress(again.spine)[0] == wanted["progress"][0] + 1


def test_a_segmentation_file_and_its_json_restore_the_review(session, scene, tmp_path: Path):
    wanted = facts(session)
    Files.writeSegmentation(session.node, tmp_path / "spine.seg.nrrd")
    ReviewFile.write(session.node, tmp_path / "spine_review.json")
    scene.Clear(0)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(tmp_path / "spine.seg.nrrd"))
    assert storage.ReadData(node)
    ReviewFile.read(node, tmp_path / "spine_review.json")
    again = ReviewSession(node, reviewer="Dr. Test")
    assert facts(again) == wanted
    again.apply(ShiftLevels(-1, "V19", "head"))


def test_a_damaged_or_foreign_file_changes_nothing(session, tmp_path: Path):
    node, wanted = session.node, facts(session)
    path = tmp_path / "x_review.json"
    for text in (
        "",
        "{",
        "[]",
        '{"schema": 3}',
        '{"schema": 2}',
        '{"schema":1,"result":{"a":1},"pins":{},"log":[]}',
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="is not the review of a segmentation"):
            ReviewFile.read(node, path)
    path.write_text(json.dumps({"schema": 1, "result": None, "pins": {"V1": "C1"}, "log": []}))
    with pytest.raises(UserError, match="another segmentation"):
        ReviewFile.read(node, path)
    assert facts(session) == wanted


def test_the_decision_of_a_triage_gives_names_and_status(volume, tmp_path: Path):
    session = ReviewSession(add_spine(volume, spine_labels(), result_of()), volume, "Dr. Test")
    names = [state.level for state in session.spine.states.values()]
    after = list(shift(names, -1))
    levels = [
        {"id": k, "before": old, "after": new}
        for k, (old, new) in enumerate(zip(names, after, strict=True), start=1)
        if old != new
    ]
    decision = {"case": "a", "run_id": "r", "result_sha256": "0" * 64, "status": "approved"}
    decision |= {"levels": levels, "note": "", "time": "2026-01-01T00:00:00Z"}
    path = tmp_path / "review.json"
    path.write_text(json.dumps({"schema": 1, "reviewer": "Ada", "decisions": [decision]}))
    session.apply(TakeDecision(ReviewFile.decisionIn(path, session.spine)))
    states = session.spine.states.values()
    assert [state.level for state in states] == after
    assert {state.status for state in states} == {APPROVED}
    path.write_text(json.dumps({"schema": 1, "reviewer": "Ada", "decisions": []}))
    with pytest.raises(UserError, match="no decision about this segmentation"):
        ReviewFile.decisionIn(path, session.spine)
    ReviewFile.write(session.node, tmp_path / "x_review.json")
    assert ReviewFile.decisionIn(tmp_path / "x_review.json", session.spine) is None


def test_a_file_that_cannot_be_written_is_reported_and_leaves_nothing(session, tmp_path: Path):
    with pytest.raises(UserError, match="cannot be written"):
        ReviewFile.write(session.node, tmp_path / "missing" / "x_review.json")
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_keeps_approved_vertebrae(session, volume):
    before = {i: session.spine.states[i] for i in session.spine.approved()}
    labels = spine_labels()
    Segments.addSegments(oriented(labels, TILTED), session.node, volume)
    after = ReviewSession(session.node, volume).spine
    assert {i: after.states[i] for i in before} == before
    assert len(after.states) == 8
