"""Levels from another segmentation of the scene, or from a file, as one step of the review."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")

from review_helpers import add_spine, everything, result_of, spine_labels  # noqa: E402

from spinemamba.anatomy.labels import BY_NAME  # noqa: E402
from spinemamba.anatomy.terminology import segment_info  # noqa: E402
from spinemamba.common.errors import UserError  # noqa: E402
from spinemamba.imaging.seg_nrrd import write_labels  # noqa: E402
from SpineMambaSegmentLib.Review.LevelsFrom import (  # noqa: E402
    TakeLevels,
    otherSegmentations,
    scanFrom,
    scanOf,
)
from SpineMambaSegmentLib.Review.Pins import PinLevel, pinsOf, resultOf  # noqa: E402
from SpineMambaSegmentLib.Review.SegmentState import APPROVED  # noqa: E402
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Review.StatusActions import SetStatus  # noqa: E402
from SpineMambaSegmentLib.Scene.Grid import gridOf  # noqa: E402
from SpineMambaSegmentLib.Scene.Straightened import volumeOf  # noqa: E402

NAMES = ("T10", "T11", "T12", "L1", "L2", "L3")
OTHER = ("T11", "T12", "L1", "L2", "L3", "L4")
MATRIX = np.diag([4.0, 4.0, 4.0, 1])


@pytest.fixture
def volume(make_volume):
    """The image of both segmentations."""
    return make_volume(spine_labels(NAMES).astype(np.int16), MATRIX)


@pytest.fixture
def node(volume):
    """Vertebrae of a run that are named one level too high."""
    return add_spine(volume, spine_labels(NAMES), result_of(NAMES))


@pytest.fixture
def other(volume, node):
    """The same vertebrae with other names."""
    return add_spine(volume, spine_labels(OTHER))


def test_levels_of_another_segmentation_are_taken_in_one_step(node, other):
    session = ReviewSession(node)
    before, voxels = everything(node), [s.mask for s in session.spine.states.values()]
    session.apply(TakeLevels(scanOf(other)))
    assert session.spine.chain == OTHER
    assert tuple(pinsOf(session.spine).values()) == OTHER
    assert [s.mask for s in session.spine.states.values()] == voxels
    record = resultOf(session.spine).levels_from
    assert (record.method, record.status) == ("overlap", "found")
    assert record.source == other.GetName()
    session.undo()
    assert everything(node) == before
    session.redo()
    assert session.spine.chain == OTHER


def test_levels_of_a_file_are_taken(node, volume, tmp_path: Path):
    labels = volumeOf(spine_labels(OTHER), gridOf(volume))
    infos = [segment_info(BY_NAME[name].value) for name in OTHER]
    write_labels(labels, tmp_path / "old.seg.nrrd", infos)
    scene = volume.GetScene()
    before = scene.GetNumberOfNodes()
    for name in ("old.seg.nrrd", "old_result.json"):
        session = ReviewSession(node)
        session.apply(TakeLevels(scanFrom(tmp_path / name, scene)))
        assert session.spine.chain == OTHER
        assert resultOf(session.spine).levels_from.source == name
        session.undo()
    assert scene.GetNumberOfNodes() == before


@pytest.mark.parametrize("name", ["missing.seg.nrrd", "old.nii.gz", "text.seg.nrrd"])
def test_a_file_that_cannot_be_read_is_refused(volume, tmp_path: Path, name: str):
    (tmp_path / "text.seg.nrrd").write_text("text")
    before = volume.GetScene().GetNumberOfNodes()
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        scanFrom(tmp_path / name, volume.GetScene())
    assert volume.GetScene().GetNumberOfNodes() == before


@pytest.mark.parametrize(
    "decide", [PinLevel("V19", "T12"), SetStatus(("V19",), APPROVED)], ids=["pin", "approval"]
)
def test_fixed_and_approved_levels_are_not_overruled_in_silence(node, other, decide):
    session = ReviewSession(node)
    session.apply(decide)
    before = everything(node)
    with pytest.raises(UserError, match="No spine can have these levels"):
        session.apply(TakeLevels(scanOf(other)))
    assert everything(node) == before


def test_another_spine_is_refused_and_nothing_changes(node, make_volume):
    labels = spine_labels(OTHER)
    labels[:, :, : labels.shape[2] // 2] = 0
    foreign = add_spine(make_volume(labels.astype(np.int16), np.diag([9.0, 3.0, 5.0, 1])), labels)
    session = ReviewSession(node)
    before = everything(node)
    with pytest.raises(UserError, match=r"is found in|must be compared"):
        session.apply(TakeLevels(scanOf(foreign)))
    assert everything(node) == before


def test_an_unclear_alignment_is_refused_and_nothing_changes(node, other):
    scan, away_mm = scanOf(other), np.array((90.0, 0.0, 0.0))
    outlines = tuple(
        replace(
            outline,
            points_lps_mm=outline.points_lps_mm + away_mm,
            centre_lps_mm=outline.centre_lps_mm + away_mm,
        )
        for outline in scan.outlines
    )
    session = ReviewSession(node)
    before = everything(node)
    with pytest.raises(UserError, match=r"nearly as well|must be compared|is found in"):
        session.apply(TakeLevels(replace(scan, outlines=outlines)))
    assert everything(node) == before


def test_only_segmentations_with_vertebrae_are_offered(node, other, volume):
    volume.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "Empty")
    assert otherSegmentations(node) == [other]
    assert otherSegmentations(other) == [node]
    empty = volume.GetScene().GetFirstNodeByName("Empty")
    with pytest.raises(UserError, match="Empty has no vertebrae"):
        scanOf(empty)
