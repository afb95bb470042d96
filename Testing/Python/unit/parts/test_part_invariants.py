"""What holds for every division into parts, whatever the labels: nothing lost, sides, pieces."""

from __future__ import annotations

import numpy as np
import pytest
from label_maps import cropped_to_labels
from scipy import ndimage

from spinemamba.anatomy import parts as anatomy
from spinemamba.anatomy.labels import BY_NAME
from spinemamba.anatomy.parts import CANAL, DISC, LEVEL_FACTOR, Part
from spinemamba.imaging.volume import Volume
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.parts.spine import SpineParts, divide_spine
from spinemamba.phantom import Phantom, PhantomOptions, make_phantom
from spinemamba.planning.plan_spine import plan_spine

PAIRS = (
    anatomy.PEDICLES,
    anatomy.LAMINAE,
    anatomy.TRANSVERSE,
    anatomy.SUPERIOR,
    anatomy.INFERIOR,
    anatomy.LATERAL_MASSES,
    anatomy.ALAE,
)
REAL = (
    "lidc/lidc0001_seg.nii.gz",
    "totalsegmentator/s0327_maskonly_seg.nii.gz",
    "totalsegmentator/ts_example_seg.nii.gz",
    "verse/gl003_maskonly_seg.nii.gz",
    "verse/verse004_maskonly_seg.nii.gz",
    "verse/verse005_seg.nii.gz",
    "verse/verse006_seg.nii.gz",
    "verse/verse008_seg.nii.gz",
    "verse/verse009_maskonly_seg.nii.gz",
    "verse/verse010_maskonly_seg.nii.gz",
    "verse/verse012_seg.nii.gz",
)
VIEWS = {
    "scoliosis of 60 degrees": {"first": "T11", "last": "L2", "scoliosis_deg": 60.0},
    "slices of 4 mm": {"first": "L3", "last": "L4", "spacing_mm": (4.0, 0.9, 0.9)},
    "thin slices": {"first": "L3", "last": "L3", "spacing_mm": (0.6, 1.2, 1.2)},
    "cut at both ends": {"first": "T12", "last": "L2", "cut": True},
    "fused facet joints": {"first": "L2", "last": "L3", "arthrosis": 1.0},
    "head end": {"first": "C1", "last": "C2"},
    "sacrum": {"first": "L5", "last": "Sacrum"},
}


def made(**options: object) -> Phantom:
    whole = {"spacing_mm": (1.5, 1.5, 1.5), "tight": True, **options}
    return make_phantom(5, PhantomOptions(**whole))


def assert_holds(labels: Volume, done: SpineParts) -> None:
    """Assert what holds for every division."""
    values, parts = labels.array, done.labels.array
    inside = np.isin(values, [v.vertebra.value for v in done.vertebrae])
    assert np.array_equal(parts[inside] // LEVEL_FACTOR, values[inside])
    assert np.isin(parts[inside] % LEVEL_FACTOR, [part.value for part in anatomy.PARTS]).all()
    outside = np.unique(parts[~inside] % LEVEL_FACTOR)
    assert {*outside.tolist()} <= {0, DISC.value, CANAL.value}
    for vertebra in done.vertebrae:
        name = vertebra.vertebra.name
        own = anatomy.OWN_PARTS.get(name, anatomy.TYPICAL)
        given = {*np.unique(vertebra.parts.array).tolist()} - {0, anatomy.UNDIVIDED.value}
        # Each part that the level has is given, or has a reason.
        allowed = {part.value for part in (*own, anatomy.BODY)}
        assert given <= allowed, name
        said = {part.value for part in vertebra.missing}
        assert {part.value for part in own} <= given | said, name
        assert_in_one_piece(vertebra.parts.array, name)
        assert_sides(vertebra)


def assert_in_one_piece(parts: np.ndarray, name: str) -> None:
    """Assert that each part is connected, unless the vertebra itself is not."""
    loose = ndimage.label(parts > 0, np.ones((3, 3, 3)))[1] - 1
    for value in np.setdiff1d(parts, (0, anatomy.UNDIVIDED.value)):
        pieces = ndimage.label(parts == value, np.ones((3, 3, 3)))[1]
        assert pieces <= 1 + loose, (name, value, pieces)


def assert_sides(vertebra: object) -> None:
    """Assert that left parts lie to the left of right parts along the vertebra's own axis."""
    for left, right in PAIRS:
        both = [vertebra.points_lps_mm(part) for part in (left, right)]
        if not all(map(len, both)):
            continue
        across = both[0].mean(axis=0) - both[1].mean(axis=0)
        axis = np.array([1.0, 0, 0]) if vertebra.frame is None else vertebra.frame.axes_lps[0]
        assert across @ axis > 5, (vertebra.vertebra.name, left.key)


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_lost_or_on_the_wrong_side_in_a_phantom(view):
    labels = made(**VIEWS[view]).labels
    assert_holds(labels, divide_spine(labels))


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [*REAL[:2], *(pytest.param(path, marks=pytest.mark.long) for path in REAL[2:])]
)
def test_nothing_is_lost_or_on_the_wrong_side_in_real_labels(shared_data, path):
    labels = cropped_to_labels(read_vertebra_labels(shared_data / path).volume)
    assert_holds(labels, divide_spine(labels))


def test_a_block_vertebra_loses_no_voxel():
    phantom = made(first="L2", last="L3")
    gap = ndimage.binary_closing(phantom.labels.array > 0, iterations=4)
    upper, lower = (BY_NAME[name].value for name in ("L2", "L3"))
    nearest = ndimage.distance_transform_edt(
        phantom.labels.array == 0, return_distances=False, return_indices=True
    )
    fused = np.where(gap, phantom.labels.array[tuple(nearest)], 0)
    assert set(np.unique(fused)) == {0, upper, lower}
    labels = phantom.labels.with_array(fused.astype(np.uint8))
    assert_holds(labels, divide_spine(labels))


def test_a_laminectomy_leaves_the_body_and_loses_no_voxel():
    phantom = made(first="L2", last="L3")
    labels = phantom.labels.array.copy()
    placed = phantom.chain[0]
    index = np.argwhere(labels == BY_NAME[placed.name].value)
    local = phantom.labels.geometry.to_lps_mm(index) - placed.frame.origin
    x, y, _ = np.asarray(placed.frame.axes) @ local.T
    removed = (np.abs(x) < 9) & (y > placed.shape.canal_y)
    labels[tuple(index[removed].T)] = 0
    operated = phantom.labels.with_array(labels)
    done = divide_spine(operated)
    assert_holds(operated, done)
    first = done.vertebrae[0]
    assert first.mask(anatomy.BODY).any()
    assert "does not close" in first.missing[anatomy.SPINOUS]
    assert not done.vertebrae[1].missing


def test_the_mirror_image_has_the_mirrored_parts():
    labels = made(first="L3", last="L3").labels
    done = divide_spine(labels).labels.array % LEVEL_FACTOR
    mirrored = divide_spine(labels.with_array(np.ascontiguousarray(labels.array[..., ::-1])))
    other = mirrored.labels.array[..., ::-1] % LEVEL_FACTOR
    swap = np.arange(LEVEL_FACTOR)
    for left, right in PAIRS:
        swap[[left.value, right.value]] = right.value, left.value
    inside = labels.array > 0
    assert (swap[other[inside]] == done[inside]).mean() > 0.97


def test_parts_and_plan_have_the_same_pedicles():
    labels = made(first="L2", last="L3").labels
    done, planned = divide_spine(labels), plan_spine(labels).plan.pedicles
    found = 0
    for vertebra in done.vertebrae:
        for pedicle in vertebra.pedicles.values():
            name = vertebra.vertebra.name, pedicle.side
            other = next(p for p in planned if (p.level, p.side) == name)
            place = vertebra.frame.to_lps(pedicle.isthmus_mm)
            assert place == pytest.approx(np.array(other.isthmus_lps_mm), abs=0.05)
            found += 1
    assert found == sum(pedicle.width_mm is not None for pedicle in planned) == 4


def test_every_own_part_is_a_part_of_the_table():
    table: set[Part] = {*anatomy.PARTS}
    assert all({*parts} <= table for parts in anatomy.OWN_PARTS.values())
