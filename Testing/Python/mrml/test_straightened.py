"""The straightened spine of a scene, with current segments and names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from review_helpers import add_spine  # noqa: E402 - after the skip

from spinemamba.common.stepwise import run_to_end  # noqa: E402
from spinemamba.phantom import PhantomOptions, make_phantom  # noqa: E402
from SpineMambaSegmentLib.Scene import Segments  # noqa: E402
from SpineMambaSegmentLib.Scene.Files import writeVolume  # noqa: E402
from SpineMambaSegmentLib.Scene.Straightened import (  # noqa: E402
    painted,
    ribsInSteps,
    spread,
    straightened,
)


@pytest.fixture
def segmented(scene, make_volume, tmp_path: Path):
    """A CT of three vertebrae, segmented as it truly is."""
    options = PhantomOptions(first="L1", last="L3", spacing_mm=(3.0, 2.0, 2.0), tight=True)
    phantom = make_phantom(3, options)
    matrix = np.diag([-2.0, -2.0, 3.0, 1.0])
    matrix[:3, 3] = np.array(phantom.image.geometry.origin_lps_mm) * [-1, -1, 1]
    volume = make_volume(phantom.image.array, matrix)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    writeVolume(make_volume(phantom.labels.array.astype(np.int16), matrix), tmp_path / "t.nrrd")
    Segments.readSegmentation(tmp_path / "t.nrrd", node, volume)
    return volume, node


@pytest.fixture
def whole_body(scene, make_volume):
    """A function that adds a CT or MR of the lower chest in its whole width, and its segments."""

    def make(modality: str):
        options = PhantomOptions(
            first="T11", last="L1", spacing_mm=(3.0, 2.0, 2.0), modality=modality
        )
        phantom = make_phantom(3, options)
        matrix = np.diag([-2.0, -2.0, 3.0, 1.0])
        matrix[:3, 3] = np.array(phantom.image.geometry.origin_lps_mm) * [-1, -1, 1]
        volume = make_volume(phantom.image.array, matrix)
        return volume, add_spine(volume, phantom.labels.array.astype(np.uint8))

    return make


def test_the_rib_view_has_the_head_on_top_and_ribs_beside_their_bodies(whole_body):
    straight = run_to_end(ribsInSteps(*whole_body("ct")))
    (strip,) = straight.strips
    assert straight.names == ("T11", "T12", "L1")
    assert straight.narrow == ()
    for number, (row, column) in strip.marks.items():
        assert strip.numbers[round(row), round(column)] == number
        right, left = strip.joints[number]
        assert right[0] == left[0] < row
        assert column - right[1] == pytest.approx(36)
        assert left[1] - column == pytest.approx(36)
    rows = [strip.marks[number][0] for number in (1, 2, 3)]
    assert rows == sorted(rows)
    # The ribs of T11 are bright beside it; nothing is at the height of L1 beyond its processes.
    for side in (-60, 60):
        bright = [
            strip.grey[round(row) - 12 : round(row) + 22, round(column) + side].max()
            for row, column in strip.marks.values()
        ]
        assert bright[0] > 0.3 > bright[2]


def test_a_click_far_beside_the_spine_selects_the_vertebra_at_its_height(whole_body):
    straight = run_to_end(ribsInSteps(*whole_body("ct")))
    (strip,) = straight.strips
    for number, segment_id in enumerate(straight.ids, start=1):
        row = strip.marks[number][0]
        assert straight.segmentAt(strip, row, 2.0) == segment_id


@pytest.mark.parametrize(
    ("modality", "known", "strips"), [("mr", "auto", 0), ("ct", "mr", 0), ("ct", "ct", 1)]
)
def test_there_is_no_rib_view_of_mr(whole_body, modality: str, known: str, strips: int):
    straight = run_to_end(ribsInSteps(*whole_body(modality), known))
    assert len(straight.strips) == strips
    assert straight.names == ("T11", "T12", "L1")


def test_without_vertebrae_there_is_no_rib_view(whole_body):
    volume, node = whole_body("ct")
    node.GetSegmentation().RemoveAllSegments()
    assert run_to_end(ribsInSteps(volume, node)) is None


def test_each_body_is_marked_with_its_current_name(segmented):
    volume, node = segmented
    node.GetSegmentation().GetSegment("V21").SetName("L6")
    straight = straightened(volume, node)
    assert straight.ids == ("V20", "V21", "V22")
    assert straight.names == ("L1", "L6", "L3")
    for strip in (straight.side, straight.front):
        rows = [strip.marks[number][0] for number in (1, 2, 3)]
        assert rows == sorted(rows)
        for number, (row, column) in strip.marks.items():
            assert strip.numbers[round(row), round(column)] == number


def test_a_click_beside_a_vertebra_selects_it(segmented):
    volume, node = segmented
    straight = straightened(volume, node)
    row, column = straight.side.marks[2]
    assert straight.segmentAt(straight.side, row, column) == "V21"
    assert straight.segmentAt(straight.side, row, 0.0) == "V21"
    assert straight.segmentAt(straight.side, -50.0, 1e4) == "V20"


def test_an_edited_vertebra_is_drawn_again(segmented):
    volume, node = segmented
    before = straightened(volume, node)
    node.GetSegmentation().RemoveSegment("V22")
    after = straightened(volume, node)
    assert set(np.unique(after.side.numbers)) == {0, 1, 2}
    assert len(after.side.grey) < len(before.side.grey)
    for segment_id in ("V20", "V21"):
        node.GetSegmentation().RemoveSegment(segment_id)
    assert straightened(volume, node) is None


def test_only_vertebrae_are_coloured_and_the_chosen_one_more(segmented):
    volume, node = segmented
    straight = straightened(volume, node)
    plain = painted(straight, straight.side).astype(int)
    chosen = painted(straight, straight.side, "V21").astype(int)
    numbers = straight.side.numbers
    assert (np.ptp(plain[numbers == 0], axis=-1) == 0).all()
    assert (np.ptp(plain[numbers == 2], axis=-1) > 0).any()
    changed = (plain != chosen).any(axis=-1)
    assert changed.any()
    assert set(np.unique(numbers[changed])) == {2}


def test_the_strips_use_the_window_of_the_slice_views(segmented):
    volume, node = segmented
    volume.CreateDefaultDisplayNodes()
    display = volume.GetScalarVolumeDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(1.0, 5000.0)
    assert straightened(volume, node).side.grey.max() == 0.0


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ([], []),
        ([5.0], [5.0]),
        ([0.0, 20.0], [0.0, 20.0]),
        ([10.0, 14.0], [6.0, 18.0]),
        ([10.0, 10.0, 10.0], [-2.0, 10.0, 22.0]),
        ([0.0, 30.0, 34.0, 60.0], [0.0, 26.0, 38.0, 60.0]),
    ],
)
def test_names_that_would_overlap_are_moved_apart(positions, expected):
    assert spread(positions, 12.0) == pytest.approx(expected)
