"""Vertebrae of two scans of a patient: other voxels, view and pose, other patients, doubt."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import UserError
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.resample import grid_with_spacing
from spinemamba.imaging.truncation import crop_volume
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.instances.find import Instance
from spinemamba.levels.outlines import LEVELS, OtherScan, Outline, outlines_of
from spinemamba.levels.scan_evidence import (
    check_decided,
    fixed_levels,
    levels_from,
    match_warnings,
    with_scan_evidence,
)
from spinemamba.levels.scan_match import match_scans
from spinemamba.phantom import PhantomOptions, make_phantom

PATIENT = {"scale": 1.0, "kyphosis": 1.0, "scoliosis_deg": 5.0}


@cache
def phantom(
    seed: int, first: str, last: str, spacing_mm: tuple[float, ...], scale: float = 1.0
) -> Volume:
    """Return labels of a patient, the same one for the same seed and size."""
    patient = {**PATIENT, "scale": scale}
    options = PhantomOptions(first=first, last=last, spacing_mm=spacing_mm, **patient)
    return canonical(make_phantom(seed, options).labels)[0]


def moved(labels: Volume, degrees: tuple[float, float, float]) -> Volume:
    """Return labels in another pose: rotated about x, y and z, and shifted."""
    rotation, old = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix(), labels.geometry
    origin = tuple(rotation @ np.array(old.origin_lps_mm) + (30.0, -20.0, 50.0))
    grid = Geometry(old.shape, old.spacing_mm, origin, rotation @ np.asarray(old.direction_lps))
    return Volume(labels.array, grid)


def nameless(labels: Volume) -> tuple[Outline, ...]:
    return outlines_of(labels, dict.fromkeys(LEVELS))


def named(labels: Volume, **settings) -> OtherScan:
    return OtherScan("old.nii.gz", outlines_of(labels, LEVELS), **settings)


def true_levels(numbers) -> dict[int, str]:
    return {number: LEVELS[number] for number in numbers}


WHOLE = (2.0, 1.5, 1.5)
POSES = {
    "rotated about x": (10.0, 0.0, 0.0),
    "rotated about z": (0.0, 0.0, 10.0),
    "oblique": (8.0, -5.0, 6.0),
}


@pytest.mark.parametrize("pose", POSES)
def test_another_pose_voxel_size_and_view_are_matched_by_shape(pose: str):
    new = moved(phantom(1, "T11", "L3", (3.0, 2.0, 2.0)), POSES[pose])
    match = match_scans(nameless(new), named(phantom(1, "T8", "L5", WHOLE)))
    assert (match.method, match.status) == ("shape", "found")
    assert match.levels == true_levels((18, 19, 20, 21, 22))
    assert match.offset == 3
    assert match.other_score_mm > 1.35 * match.score_mm


def test_thick_slices_are_matched():
    new = moved(phantom(1, "T11", "L3", (5.0, 2.0, 2.0)), (5.0, 0.0, 0.0))
    match = match_scans(nameless(new), named(phantom(1, "T8", "L5", WHOLE)))
    assert match.status == "found"
    assert match.levels == true_levels((18, 19, 20, 21, 22))


def test_a_partial_overlap_names_the_common_vertebrae_only():
    new = moved(phantom(1, "L3", "Sacrum", (2.0, 2.0, 2.0)), (0.0, 5.0, 0.0))
    match = match_scans(nameless(new), named(phantom(1, "T8", "L5", WHOLE)))
    assert match.status == "found"
    assert match.levels == true_levels((22, 23, 24))


@pytest.mark.parametrize(
    ("frames", "method"),
    [
        ((None, None), "overlap"),
        (("a", None), "overlap"),
        (("a", "a"), "overlap"),
        (("a", "b"), "shape"),
    ],
    ids=["unknown", "one known", "equal", "different"],
)
def test_the_same_coordinates_are_matched_by_overlap(frames, method: str):
    ours, theirs = frames
    old = named(same_place(phantom(1, "T8", "L5", WHOLE)), frame=theirs)
    new = nameless(same_place(phantom(1, "T11", "L3", (3.0, 2.0, 2.0))))
    match = match_scans(new, old, ours)
    assert (match.method, match.status) == (method, "found")
    assert match.levels == true_levels((18, 19, 20, 21, 22))


def same_place(labels: Volume) -> Volume:
    """Return labels shifted so that the centre of L1 is at the origin of the coordinates."""
    inside = np.argwhere(labels.array == 20)
    centre = labels.geometry.to_lps_mm(inside.mean(axis=0))
    origin = tuple(np.array(labels.geometry.origin_lps_mm) - centre)
    return replace(labels, geometry=replace(labels.geometry, origin_lps_mm=origin))


def rows_of(labels: Volume, start: float, end: float) -> Volume:
    """Return a part of labels, given as shares of their height."""
    height, rows, columns = labels.array.shape
    part = slice(int(start * height), int(end * height))
    return crop_volume(labels, (part, slice(0, rows), slice(0, columns)))


def test_vertebrae_cut_by_the_image_are_named_by_overlap():
    whole = phantom(1, "T8", "L5", WHOLE)
    part = rows_of(whole, 0.25, 0.75)
    match = match_scans(nameless(part), named(whole))
    assert match.method == "overlap"
    assert match.levels == true_levels(match.levels)
    assert {outline.number for outline in nameless(part)} == set(match.levels)


def test_a_speck_at_the_edge_of_the_other_scan_does_not_name_its_neighbour():
    ours = copies(3, 0.0)
    top_mm, right_mm = ours[0].points_lps_mm, np.array((0.8, 0.0, 0.0))
    cut = replace(ours[0], level="L1", points_lps_mm=top_mm + right_mm, is_whole=False)
    # Points on the upper surface of ours, which the other scan takes for the vertebra above.
    speck_mm = top_mm[np.argsort(-top_mm[:, 2])[:80]]
    speck = replace(ours[0], level="T12", points_lps_mm=speck_mm, is_whole=False)
    rest = [replace(one, level=level) for one, level in zip(ours[1:], ("L2", "L3"), strict=True)]
    match = match_scans(ours, OtherScan("old.nii.gz", (speck, cut, *rest)))
    assert match.method == "overlap"
    assert match.levels == {1: "L1", 2: "L2", 3: "L3"}


@pytest.mark.parametrize("seed", [2, 5])
@pytest.mark.parametrize("degrees", [(0.0, 0.0, 0.0), (10.0, 0.0, 0.0)])
def test_another_patient_is_refused(seed: int, degrees):
    new = moved(phantom(seed, "T11", "L4", (2.0, 2.0, 2.0), 0.9), degrees)
    with pytest.raises(UserError, match=r"No vertebra of this scan is found in old.nii.gz: .* mm"):
        match_scans(nameless(new), named(phantom(1, "T8", "L5", WHOLE)))


def test_too_few_whole_vertebrae_are_refused():
    new = moved(phantom(1, "L1", "L2", (2.0, 2.0, 2.0)), (10.0, 0.0, 0.0))
    with pytest.raises(UserError, match="this scan has 2 whole vertebrae and the other 10"):
        match_scans(nameless(new), named(phantom(1, "T8", "L5", WHOLE)))


@cache
def copies(count: int, shift_mm: float) -> tuple[Outline, ...]:
    """Return copies of one vertebra at equal distances."""
    one = next(o for o in outlines_of(phantom(1, "T8", "L5", WHOLE), LEVELS) if o.level == "L1")
    levels = ("T12", "L1", "L2", "L3", "L4", "L5")
    places_mm = [np.array((0.0, shift_mm, -35.0 * k)) for k in range(count)]
    return tuple(
        replace(
            one,
            number=k + 1,
            level=levels[k],
            points_lps_mm=one.points_lps_mm + place_mm,
            centre_lps_mm=one.centre_lps_mm + place_mm,
        )
        for k, place_mm in enumerate(places_mm)
    )


def test_vertebrae_that_all_look_alike_leave_the_match_undecided():
    other = OtherScan("old.nii.gz", copies(6, 0.0))
    match = match_scans(copies(4, 20.0), other)
    assert match.status == "undecided"
    assert match.levels != match.other_levels
    with pytest.raises(UserError, match=r"not taken from old.nii.gz: .* fits, and .* nearly as"):
        check_decided(match, other)
    (warning,) = match_warnings(match, other, {})
    assert "nearly as well" in warning
    assert fixed_levels(match, other, {2: "L4"}) == {2: "L4"}


@pytest.mark.parametrize(
    ("in_doubt", "shift", "fixed"), [(False, 0.0, True), (True, 0.0, False), (False, 10.0, False)]
)
def test_only_certain_levels_at_the_same_place_are_fixed(in_doubt: bool, shift, fixed: bool):
    whole = phantom(1, "T8", "L5", WHOLE)
    other = named(whole, in_doubt=in_doubt)
    match = match_scans(nameless(moved(whole, (shift, 0, 0)) if shift else whole), other)
    assert levels_from(match, other).fixed == fixed
    pins = fixed_levels(match, other, {20: "L2"})
    assert pins == ({**true_levels(range(15, 25)), 20: "L2"} if fixed else {20: "L2"})
    warned = match_warnings(match, other, true_levels(match.levels))
    assert len(warned) == int(in_doubt)


def test_evidence_changes_the_probabilities_of_matched_vertebrae(flat_instances):
    whole = phantom(1, "T8", "L5", WHOLE)
    other = named(whole)
    match = match_scans(nameless(moved(whole, (10.0, 0.0, 0.0))), other)
    items = with_scan_evidence(flat_instances, match, other)
    assert [max(item.level_probabilities) > 0.9 for item in items] == [True, False]
    assert sum(items[0].level_probabilities) == pytest.approx(1.0)


@pytest.fixture
def flat_instances():
    """Instances without knowledge of levels: T8, which is matched, and one that is not."""
    even = (1 / len(NETWORK_LEVELS),) * len(NETWORK_LEVELS)
    return [Instance(n, (0.0, 0.0, 0.0), 30.0, even, False, ()) for n in (15, 99)]


def test_levels_that_the_solver_does_not_follow_are_told():
    whole = phantom(1, "T8", "L5", WHOLE)
    match = match_scans(nameless(whole), named(whole))
    names = {**true_levels(range(15, 24)), 24: None}
    (warning,) = match_warnings(match, named(whole), names)
    assert "no vertebra instead of L5" in warning


REAL = {
    "lidc0001": ("lidc/lidc0001_seg.nii.gz", (0.5, 1.0)),
    "ts_example": ("totalsegmentator/ts_example_seg.nii.gz", (0.4, 1.0)),
}


@pytest.mark.long
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("degrees", [(0.0, 0.0, 0.0), (10.0, 0.0, 5.0)])
def test_a_part_of_a_real_spine_is_found_in_the_whole(name: str, degrees, shared_data: Path):
    file, (start, end) = REAL[name]
    whole = canonical(read_labels(shared_data / file))[0]
    part = rows_of(whole, start, end)
    grid = grid_with_spacing(part.geometry, 2.0)
    index = np.indices(grid.shape).reshape(3, -1).T
    at = np.rint(part.geometry.to_index_zyx(grid.to_lps_mm(index))).astype(int)
    at = np.clip(at, 0, np.array(part.array.shape) - 1)
    new = Volume(part.array[tuple(at.T)].reshape(grid.shape), grid)
    new = moved(new, degrees) if any(degrees) else new
    match = match_scans(nameless(new), named(whole))
    assert match.status == "found"
    assert match.method == ("shape" if any(degrees) else "overlap")
    assert match.levels == true_levels(match.levels)
    assert len(match.levels) >= 3


@pytest.mark.long
@pytest.mark.parametrize("other", ["verse/verse012_seg", "verse/verse010_maskonly_seg"])
def test_a_real_scan_of_another_patient_is_refused(other: str, shared_data: Path):
    whole = read_labels(shared_data / "totalsegmentator/s0327_maskonly_seg.nii.gz")
    new = read_labels(shared_data / f"{other}.nii.gz")
    with pytest.raises(UserError, match="No vertebra of this scan is found"):
        match_scans(nameless(new), named(whole))
