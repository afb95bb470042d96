"""Labels, anatomy and determinism of whole phantoms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from spinemamba.anatomy.labels import BY_NAME, BY_VALUE
from spinemamba.phantom import Phantom, PhantomOptions, Tissue, make_phantom, random_options

COARSE = (3.0, 3.0, 3.0)


def names_in(phantom: Phantom) -> set[str]:
    return {BY_VALUE[v].name for v in np.unique(phantom.labels.array) if v}


@pytest.fixture(scope="module")
def whole() -> Phantom:
    return make_phantom(1, PhantomOptions(spacing_mm=(2.0, 2.0, 2.0), tight=True))


def centre_mm(phantom: Phantom, name: str) -> np.ndarray:
    voxels = np.argwhere(phantom.labels.array == BY_NAME[name].value)
    return phantom.labels.geometry.to_lps_mm(voxels).mean(axis=0)


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not():
    options = PhantomOptions("L1", "L3", spacing_mm=COARSE)
    first, again, other = (make_phantom(seed, options) for seed in (5, 5, 6))
    for part in ("image", "labels", "tissues"):
        assert getattr(first, part).array.tobytes() == getattr(again, part).array.tobytes()
    assert first.image.array.tobytes() != other.image.array.tobytes()


def test_a_whole_spine_has_every_level(whole: Phantom):
    assert names_in(whole) == set(PhantomOptions().all_levels)


def test_every_label_is_one_piece(whole: Phantom):
    for name in names_in(whole):
        mask = whole.labels.array == BY_NAME[name].value
        assert ndimage.label(mask)[1] == 1, name


def test_levels_are_in_order_from_top_to_bottom(whole: Phantom):
    heights = [centre_mm(whole, name)[2] for name in PhantomOptions().all_levels]
    assert all(np.diff(heights) < 0)


VOLUME_ML = {
    "C3": 11,
    "C7": 15,
    "T2": 19,
    "T6": 22,
    "T9": 28,
    "T12": 38,
    "L1": 42,
    "L3": 55,
    "L5": 57,
}
"""Means of VerSe 004, 009, 010 and of LIDC-IDRI-0001."""


@pytest.mark.parametrize("name", VOLUME_ML)
def test_volumes_are_in_the_range_of_real_vertebrae(whole: Phantom, name: str):
    scale = whole.scale**3
    voxels = np.count_nonzero(whole.labels.array == BY_NAME[name].value)
    assert voxels * 8 / 1000 == pytest.approx(VOLUME_ML[name] * scale, rel=0.25)


def test_bodies_do_not_touch(whole: Phantom):
    """In front of the canal, voxels of different vertebrae are never neighbours."""
    labels = whole.labels.array
    for upper, lower in (("C4", "C5"), ("T5", "T6"), ("L2", "L3")):
        masks = [labels == BY_NAME[n].value for n in (upper, lower)]
        touching = ndimage.binary_dilation(masks[0]) & masks[1]
        canal = np.isin(whole.tissues.array, (Tissue.CANAL, Tissue.CORD))
        for z, y, _ in np.argwhere(touching):
            rows = np.flatnonzero(canal[z].any(axis=1))
            assert y >= rows.min() - 1


def test_all_bone_of_the_spine_is_labelled_and_only_that(whole: Phantom):
    bone = np.isin(whole.tissues.array, (Tissue.CORTICAL, Tissue.TRABECULAR))
    assert np.array_equal(bone, whole.labels.array > 0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (PhantomOptions("T11", "L1", thoracic=13), {"T11", "T12", "T13", "L1"}),
        (PhantomOptions("T10", "L1", thoracic=11), {"T10", "T11", "L1"}),
        (PhantomOptions("L4", "Sacrum", lumbar=6), {"L4", "L5", "L6", "Sacrum"}),
        (PhantomOptions("L3", "Sacrum", lumbar=4), {"L3", "L4", "Sacrum"}),
    ],
    ids=["T13", "no T12", "L6", "no L5"],
)
def test_spines_may_have_an_additional_or_missing_vertebra(
    options: PhantomOptions, expected: set[str]
):
    options = PhantomOptions(**{**vars(options), "spacing_mm": COARSE, "tight": True})
    assert names_in(make_phantom(2, options)) == expected


def test_a_cropped_field_of_view_ends_in_the_middle_of_bodies():
    cut = make_phantom(3, PhantomOptions("T12", "L3", spacing_mm=COARSE, cut=True))
    for name, row in (("T12", -1), ("L3", 0)):
        assert (cut.labels.array[row] == BY_NAME[name].value).any()


def test_a_field_of_view_with_the_head_has_an_unlabelled_skull():
    view = PhantomOptions("C1", "C4", spacing_mm=COARSE, cut=True, beyond_mm=(60.0, 0.0))
    head = make_phantom(3, view)
    above = np.isin(head.labels.array, BY_NAME["C1"].value).any(axis=(1, 2)).nonzero()[0].max() + 1
    assert (head.labels.array.shape[0] - above) * COARSE[0] > 35
    assert (head.tissues.array[above:] == Tissue.SKULL).any()
    assert not head.labels.array[above:].any()


def test_random_fields_of_view_often_begin_at_the_head():
    drawn = [random_options(np.random.default_rng(seed)) for seed in range(200)]
    assert 0.1 < np.mean([o.first == "C1" and o.beyond_mm[0] > 20 for o in drawn]) < 0.3


def test_an_uncropped_field_of_view_contains_complete_vertebrae():
    whole = make_phantom(3, PhantomOptions("T12", "L3", spacing_mm=COARSE))
    labels = whole.labels.array
    for axis in range(3):
        assert not np.take(labels, (0, -1), axis).any()


def test_lateral_curves_bend_the_chain():
    def bend_mm(cobb_deg: float) -> float:
        options = PhantomOptions("T8", "L4", spacing_mm=COARSE, scoliosis_deg=cobb_deg, tight=True)
        phantom = make_phantom(4, options)
        return float(np.ptp([centre_mm(phantom, n)[0] for n in options.levels]))

    assert bend_mm(50) > bend_mm(0) + 8


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match="L6"):
        PhantomOptions(first="L6")
    with pytest.raises(ValueError, match="14"):
        PhantomOptions(thoracic=14)
    with pytest.raises(ValueError, match="below"):
        PhantomOptions(first="L2", last="L1")


def test_random_options_are_always_possible():
    rng = np.random.default_rng(0)
    counts = [len(random_options(rng).levels) for _ in range(300)]
    assert min(counts) >= 5
    assert np.median(counts) == pytest.approx(11, abs=2)
