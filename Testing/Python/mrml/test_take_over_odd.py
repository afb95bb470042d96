"""Odd segmentations of other software are taken over exactly, or refused with a reason."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")

import vtk  # noqa: E402
from foreign_spines import LABELMAP, SOURCES, TO_RAS, add_foreign, make_image  # noqa: E402
from review_helpers import NAMES, everything, label_array, oriented, spine_labels  # noqa: E402

from spinemamba.anatomy.labels import BY_NAME  # noqa: E402
from spinemamba.common.errors import UserError  # noqa: E402
from SpineMambaSegmentLib.Review import TakeOver  # noqa: E402
from SpineMambaSegmentLib.Review.LevelActions import ShiftLevels  # noqa: E402
from SpineMambaSegmentLib.Review.SegmentState import APPROVED  # noqa: E402
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Review.ShapeActions import Delete, Merge, SplitByPlane  # noqa: E402
from SpineMambaSegmentLib.Review.StatusActions import ApproveRest, SetStatus  # noqa: E402
from SpineMambaSegmentLib.Scene.Grid import gridOf  # noqa: E402
from SpineMambaSegmentLib.Scene.Ownership import vertebraIds  # noqa: E402
from SpineMambaSegmentLib.Scene.SurfaceSource import vertebraeOf  # noqa: E402

GERMAN_BODIES = {"T": "BWK", "L": "LWK"}
GERMAN = {"T": "Brustwirbel", "L": "Lendenwirbel"}
FRACTIONAL = "Fractional labelmap"
MOST_SECONDS = 2.0


@pytest.fixture
def volume(make_volume):
    return make_volume(make_image(), TO_RAS)


def named(words: dict[str, str], between: str = "") -> Callable:
    def name_of(level: str):
        name = "Kreuzbein" if level == "Sacrum" else f"{words[level[0]]}{between}{level[1:]}"
        return f"s_{level}", name, ""

    return name_of


def total_segmentator(volume):
    return add_foreign(volume, SOURCES["TotalSegmentator"])


def add_segment(node, name: str, array: np.ndarray | None = None) -> str:
    """Add a segment in a label map of its own; without voxels if there is no array."""
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(0.9, 0.8, 0.7)
    if array is not None:
        segment.AddRepresentation(LABELMAP, oriented(array.astype(np.uint8), TO_RAS))
        segment.SetLabelValue(1)
    node.GetSegmentation().AddSegment(segment, name)
    return name


def with_empty(volume):
    node = total_segmentator(volume)
    node.GetSegmentation().AddEmptySegment("vertebrae_T10", "vertebrae_T10")
    return node


def with_empty_of_its_own(volume):
    node = total_segmentator(volume)
    segment = slicer.vtkSegment()
    segment.SetName("vertebrae_T10")
    segment.AddRepresentation(LABELMAP, slicer.vtkOrientedImageData())
    node.GetSegmentation().AddSegment(segment, "vertebrae_T10")
    node.GetSegmentation().SetSegmentIndex("vertebrae_T10", 0)
    return node


def with_others(*names: str) -> Callable:
    def make(volume):
        node = total_segmentator(volume)
        for k, name in enumerate(names):
            block = np.zeros(spine_labels().shape)
            block[4 + 2 * k : 6 + 2 * k, :3, :3] = 1
            add_segment(node, name, block)
        return node

    return make


def under_a_mask_of_all(volume):
    node = total_segmentator(volume)
    add_segment(node, "bone", spine_labels() > 0)
    return node


def stored_as(kind: type, factor: int = 1) -> Callable:
    """Return a function that stores the shared label map with another type and other values."""

    def make(volume):
        node = total_segmentator(volume)
        segmentation = node.GetSegmentation()
        labels = spine_labels().astype(kind)
        labels[2:40, 16:20, 2:14] = 90
        image = oriented(labels * kind(factor), TO_RAS)
        for segment_id in segmentation.GetSegmentIDs():
            segment = segmentation.GetSegment(segment_id)
            segment.AddRepresentation(LABELMAP, image)
            segment.SetLabelValue(segment.GetLabelValue() * factor)
        return node

    return make


def placed(matrix: np.ndarray) -> Callable:
    """Return a function that moves voxels of segmentation and volume; their order is the same."""

    def make(volume):
        node = total_segmentator(volume)
        placed_at = vtk.vtkMatrix4x4()
        placed_at.DeepCopy(matrix.ravel())
        volume.SetIJKToRASMatrix(placed_at)
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        node.GetSegmentation().GetSegment("liver").GetRepresentation(
            LABELMAP
        ).SetImageToWorldMatrix(placed_at)
        return node

    return make


def under_a_transform(volume):
    node = total_segmentator(volume)
    moved = slicer.vtkMRMLLinearTransformNode()
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(2, 3, 300.0)
    moved.SetMatrixTransformToParent(matrix)
    volume.GetScene().AddNode(moved)
    node.SetAndObserveTransformNodeID(moved.GetID())
    return node


def on_a_coarser_grid(volume):
    node = total_segmentator(volume)
    fine = np.diag([1.0, 1.0, 1.0, 1.0])
    fine[:3, 3] = -1.5
    placed_at = vtk.vtkMatrix4x4()
    placed_at.DeepCopy(fine.ravel())
    image = vtk.vtkImageData()
    image.SetDimensions(*(4 * n for n in make_image().shape[::-1]))
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    volume.SetAndObserveImageData(image)
    volume.SetIJKToRASMatrix(placed_at)
    return node


TURN = np.array([[0.8, 0.6, 0, 5], [-0.6, 0.8, 0, -7], [0, 0, 1, 9], [0, 0, 0, 1.0]])
TAKEN: dict[str, Callable] = {
    "German words": lambda v: add_foreign(v, named(GERMAN, " ")),
    "German bodies": lambda v: add_foreign(v, named(GERMAN_BODIES)),
    "IDs with spaces": lambda v: add_foreign(v, lambda n: (f"my {n} / ü", f" {n} ", "")),
    "an empty segment": with_empty,
    "an empty label map": with_empty_of_its_own,
    "a label map for each segment": lambda v: add_foreign(
        v, SOURCES["TotalSegmentator"], separate=True
    ),
    "discs, ribs and nerves": with_others(
        "L1-L2 disc", "disc_L3_L4", "rib L1", "rib_left_4", "nerve root L5", "L4 endplate"
    ),
    "a mask that covers all": under_a_mask_of_all,
    "values above 255": stored_as(np.uint16, 40),
    "signed values": stored_as(np.int16),
    "32-bit values": stored_as(np.int32),
    "mirrored": placed(np.diag([-4.0, 4.0, 4.0, 1.0])),
    "axes of LPS": placed(np.diag([-4.0, -4.0, 4.0, 1.0])),
    "oblique": placed(TURN @ TO_RAS),
    "another transform": under_a_transform,
    "a coarser grid": on_a_coarser_grid,
}


@pytest.mark.parametrize("odd", TAKEN)
def test_an_odd_spine_is_taken_over_and_reviewed(volume, odd: str):
    node = TAKEN[odd](volume)
    segmentation = node.GetSegmentation()
    voxels = label_array(node)
    names = {i: segmentation.GetSegment(i).GetName() for i in segmentation.GetSegmentIDs()}
    found = TakeOver.candidates(node)
    assert [one for one in found if one.reason] == []
    levels = {one.segmentId: one.level for one in found if one.level}
    TakeOver.takeOver(node, levels, volume)
    assert label_array(node) == voxels
    assert {i: segmentation.GetSegment(i).GetName() for i in voxels} == names
    session = ReviewSession(node, volume)
    empty = [i for i, s in session.spine.states.items() if not s.mask.count()]
    assert tuple(s.level for i, s in session.spine.states.items() if i not in empty) == NAMES
    full = [i for i in session.spine.ids if i not in empty]
    flags = [session.spine.states[i].tag("SpineMamba.FlagNames") for i in full]
    assert not any("cut_by_image" in text for text in flags)
    others = set(voxels) - set(vertebraIds(node))
    # Every kind of action and its undo leave all other segments as they were.
    for action in (Delete((full[1],)), Merge((full[2], full[3])), ShiftLevels(-1)):
        before = everything(node)
        session.apply(action)
        assert all(label_array(node)[i] == voxels[i] for i in others)
        session.undo()
        assert everything(node) == before
    if empty:
        session.apply(Delete(tuple(empty)))
    session.apply(SetStatus(tuple(full), APPROVED))
    assert [v.level for v in vertebraeOf(node) if v.reviewed] == list(NAMES)


def test_an_empty_vertebra_is_not_approved(volume):
    node = with_empty(volume)
    levels = {one.segmentId: one.level for one in TakeOver.candidates(node) if one.level}
    TakeOver.takeOver(node, levels, volume)
    with pytest.raises(UserError, match="vertebrae_T10 is empty"):
        ReviewSession(node, volume).apply(ApproveRest())


def test_only_empty_segments_are_taken_over_without_a_result(volume):
    node = volume.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "Empty")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.GetSegmentation().AddEmptySegment("L1", "L1")
    TakeOver.takeOver(node, {"L1": "L1"}, volume)
    session = ReviewSession(node, volume)
    assert session.spine.chain == ("L1",)
    assert session.spine.grid.isSameAs(gridOf(volume))


def fractional(volume):
    node = total_segmentator(volume)
    node.GetSegmentation().SetSourceRepresentationName(FRACTIONAL)
    return node


def with_the_same_number_twice(volume):
    return add_foreign(volume, lambda n: (f"s{n}", "Segment_20" if n[0] == "L" else n, ""))


REFUSED = {
    "fractional": (fractional, {"vertebrae_L1": "L1"}, "fractional"),
    "two of one level": (
        total_segmentator,
        {"vertebrae_L1": "L1", "vertebrae_L2": "L1"},
        "would all be L1",
    ),
    "nothing chosen": (total_segmentator, {}, "No segment has a level"),
}


@pytest.mark.parametrize("odd", REFUSED)
def test_what_cannot_be_reviewed_is_refused_unchanged(volume, odd: str):
    make, levels, message = REFUSED[odd]
    node = make(volume)
    with pytest.raises(UserError, match=message):
        TakeOver.takeOver(node, levels, volume)
    assert vertebraIds(node) == []


def test_numbers_that_occur_twice_are_no_levels(volume):
    node = with_the_same_number_twice(volume)
    with pytest.raises(UserError, match="Several segments have the same number"):
        TakeOver.levelsByNumber(node)


def test_a_sacrum_in_parts_is_mentioned(volume):
    node = with_others("vertebrae_S2", "vertebrae_S3")(volume)
    node.GetSegmentation().GetSegment("sacrum").SetName("vertebrae_S1")
    found = {one.name: one for one in TakeOver.candidates(node)}
    assert found["vertebrae_S1"].level == "Sacrum"
    assert "vertebrae_S2, vertebrae_S3 is left out" in found["vertebrae_S1"].reason
    assert (found["vertebrae_S2"].level, found["vertebrae_S2"].reason) == ("", "")


def test_hundreds_of_segments_are_listed_at_once(volume):
    node = total_segmentator(volume)
    for k in range(300):
        segment = slicer.vtkSegment()
        segment.SetName(f"L{1 + k % 5}")
        node.GetSegmentation().AddSegment(segment, f"x{k}")
    before = time.perf_counter()
    found = TakeOver.candidates(node)
    assert time.perf_counter() - before < MOST_SECONDS
    assert len(found) == 309
    assert sum(bool(one.reason) for one in found) == 305


def test_a_new_vertebra_lies_where_it_was_drawn(volume):
    node = on_a_coarser_grid(volume)
    levels = {one.segmentId: one.level for one in TakeOver.candidates(node) if one.level}
    TakeOver.takeOver(node, levels, volume)
    session = ReviewSession(node, volume)
    middle = session.spine.centerRas("vertebrae_L1")
    session.apply(SplitByPlane("vertebrae_L1", tuple(middle), (0.0, 0.0, 1.0), "L6"))
    (added,) = set(vertebraIds(node)) - set(levels)
    whole = (spine_labels() == BY_NAME["L1"].value).sum()
    states = session.spine.states
    assert states[added].mask.count() + states["vertebrae_L1"].mask.count() == whole
    assert session.spine.centerRas(added)[2] < middle[2]
    assert gridOf(volume).size != session.spine.grid.size
