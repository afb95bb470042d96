"""Vertebrae divided into parts: nothing is lost, borders are right, gaps have reasons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exact_parts import GROUPS, SEPARATE, TPTBOX, dice, exact_parts, scores, voxels_of

from spinemamba.anatomy import parts as anatomy
from spinemamba.anatomy.labels import BY_NAME
from spinemamba.anatomy.parts import DISC, LEVEL_FACTOR, part_value
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.volume import Volume
from spinemamba.parts.spine import SpineParts, divide_spine
from spinemamba.phantom import Phantom, PhantomOptions, Tissue, make_phantom


def phantom_of(first: str, last: str, spacing_mm: tuple[float, ...], seed: int) -> Phantom:
    return make_phantom(
        seed, PhantomOptions(first=first, last=last, spacing_mm=spacing_mm, tight=True)
    )


@pytest.fixture(scope="module")
def lumbar() -> tuple[Phantom, SpineParts]:
    phantom = phantom_of("L2", "L3", (1.0, 1.0, 1.0), 1)
    return phantom, divide_spine(phantom.labels)


@pytest.fixture(scope="module")
def ends() -> dict[str, SpineParts]:
    views = {"upper": ("C1", "C3"), "lower": ("L5", "Sacrum")}
    return {
        name: divide_spine(phantom_of(*levels, (2.0, 1.5, 1.5), 3).labels)
        for name, levels in views.items()
    }


def means_of(phantom: Phantom, done: SpineParts) -> dict[str, float]:
    """Return the mean score of each vertebra."""
    out = {}
    for level in (v.vertebra.name for v in done.vertebrae):
        index = voxels_of(phantom, level)
        found = done.labels.array[tuple(index.T)] % LEVEL_FACTOR
        out[level] = float(
            np.mean(list(scores(found, exact_parts(phantom, level, index)).values()))
        )
    return out


def assert_nothing_lost(labels: Volume, done: SpineParts) -> None:
    """Assert that the voxels of each vertebra, and no others, have a part of it."""
    inside = labels.array > 0
    levels = done.labels.array // LEVEL_FACTOR
    parts = done.labels.array % LEVEL_FACTOR
    assert np.array_equal(levels[inside], labels.array[inside])
    assert np.isin(parts[inside], [part.value for part in anatomy.PARTS]).all()
    outside = {*np.unique(parts[~inside]).tolist()} - {0}
    assert outside <= {DISC.value, anatomy.CANAL.value}


def test_each_voxel_of_a_vertebra_has_exactly_one_part(lumbar):
    phantom, done = lumbar
    assert_nothing_lost(phantom.labels, done)
    assert done.labels.geometry == phantom.labels.geometry
    for vertebra in done.vertebrae:
        assert not vertebra.missing
        assert set(np.unique(vertebra.parts.array)) == {
            0,
            *(part.value for part in anatomy.TYPICAL),
        }


def test_parts_of_lumbar_phantoms_agree_with_exact_ones(lumbar):
    means = means_of(*lumbar)
    assert min(means.values()) >= 0.9, means
    assert np.mean(list(means.values())) >= 0.92, means


@pytest.mark.parametrize(
    ("first", "last", "spacing_mm", "least"),
    [
        ("T5", "T8", (1.0, 1.0, 1.0), 0.87),
        ("T10", "L1", (1.0, 1.0, 1.0), 0.83),
        ("C3", "C6", (1.0, 1.0, 1.0), 0.74),
        ("L1", "L4", (2.5, 0.8, 0.8), 0.84),
    ],
)
def test_parts_of_phantoms_agree_with_exact_ones(first, last, spacing_mm, least):
    phantom = phantom_of(first, last, spacing_mm, 2)
    done = divide_spine(phantom.labels)
    assert_nothing_lost(phantom.labels, done)
    means = means_of(phantom, done)
    assert min(means.values()) >= least, means


def test_a_flipped_image_has_the_same_parts(lumbar):
    phantom, done = lumbar
    grid = phantom.labels.geometry
    array = phantom.labels.array[::-1].transpose(0, 2, 1)
    axes = np.asarray(grid.direction_lps)[:, [1, 0, 2]] * (1, 1, -1)
    corner = grid.to_lps_mm(np.array([grid.shape[0] - 1, 0, 0]))
    z, y, x = grid.spacing_mm
    turned = replace(
        grid,
        shape=array.shape,
        spacing_mm=(z, x, y),
        origin_lps_mm=tuple(map(float, corner)),
        direction_lps=axes,
    )
    again = divide_spine(Volume(np.ascontiguousarray(array), turned))
    back = again.labels.array.transpose(0, 2, 1)[::-1]
    assert np.array_equal(back, done.labels.array)


def test_left_and_right_are_the_patients(lumbar):
    _, done = lumbar
    for pair in (anatomy.PEDICLES, anatomy.TRANSVERSE, anatomy.SUPERIOR, anatomy.INFERIOR):
        for vertebra in done.vertebrae:
            left, right = (vertebra.points_lps_mm(part)[:, 0].mean() for part in pair)
            assert left > right + 15


def test_an_endplate_is_a_shell_of_two_millimetres(lumbar):
    _, done = lumbar
    for vertebra in done.vertebrae:
        for part in anatomy.ENDPLATES.values():
            places = vertebra.frame.to_local(vertebra.points_lps_mm(part))
            area_mm2 = len(np.unique(np.rint(places[:, :2]), axis=0))
            assert len(places) * vertebra.parts.geometry.voxel_mm3 / area_mm2 == pytest.approx(
                2, abs=0.5
            )


def test_pedicles_have_their_place_and_section(lumbar):
    _, done = lumbar
    for vertebra in done.vertebrae:
        assert set(vertebra.pedicles) == {"left", "right"}
        for part in anatomy.PEDICLES:
            pedicle = vertebra.pedicles[part.side]
            sign = 1 if part.side == "left" else -1
            assert sign * pedicle.isthmus_mm[0] > 10
            assert pedicle.front_mm[1] < pedicle.isthmus_mm[1] <= pedicle.back_mm[1] + 1
            assert 60 < pedicle.area_mm2 < 250
            places = vertebra.frame.to_local(vertebra.points_lps_mm(part))
            assert np.linalg.norm(places - pedicle.isthmus_mm, axis=1).min() < 3


def test_disc_and_canal_lie_between_the_vertebrae(lumbar):
    phantom, done = lumbar
    disc = np.argwhere(done.labels.array == part_value("L2", DISC))
    middle = done.labels.geometry.to_lps_mm(disc).mean(axis=0)
    upper, lower = (v.frame.centre_lps_mm for v in done.vertebrae)
    assert upper[2] > middle[2] > lower[2]
    assert np.linalg.norm(middle - (upper + lower) / 2) < 5
    assert done.lower == {"L2": "L3"}
    canal = done.labels.array == anatomy.CANAL.value
    heights = np.flatnonzero(canal.any(axis=(1, 2)))
    assert len(heights) == np.ptp(heights) + 1
    tissues = phantom.tissues.array[canal]
    assert np.isin(tissues, (Tissue.CANAL, Tissue.CORD, Tissue.FAT)).mean() > 0.85


def test_c1_c2_and_the_sacrum_have_parts_of_their_own(ends):
    upper, lower = ends["upper"], ends["lower"]
    atlas, axis, sacrum = upper.vertebrae[0], upper.vertebrae[1], lower.vertebrae[-1]
    for done in (atlas, axis, sacrum):
        assert not done.missing
        values = set(np.unique(done.parts.array)) - {0, anatomy.UNDIVIDED.value}
        assert values == {part.value for part in anatomy.OWN_PARTS[done.vertebra.name]}
    assert not atlas.mask(anatomy.UNDIVIDED).any()
    names = {segment.name for segment in (*upper.segments(), *lower.segments())}
    assert {"C1 anterior arch", "C2 dens", "Sacrum left ala", "L5-Sacrum disc"} <= names
    assert not any("disc" in name for name in names if "C1" in name)


def test_the_parts_of_c1_surround_its_ring(ends):
    atlas = ends["upper"].vertebrae[0]

    def middle(part: anatomy.Part) -> np.ndarray:
        return atlas.points_lps_mm(part).mean(axis=0)

    front, back = middle(anatomy.ANTERIOR_ARCH), middle(anatomy.POSTERIOR_ARCH)
    masses = [middle(part) for part in anatomy.LATERAL_MASSES]
    tips = [middle(part) for part in anatomy.TRANSVERSE]
    assert back[1] - front[1] > 20
    assert tips[0][0] > masses[0][0] + 8 > masses[1][0] + 30 > tips[1][0] + 38
    ratio = (
        atlas.mask(anatomy.LATERAL_MASSES[0]).sum() / atlas.mask(anatomy.LATERAL_MASSES[1]).sum()
    )
    assert ratio == pytest.approx(1, abs=0.15)


def test_the_dens_stands_on_the_body_of_c2(ends):
    axis = ends["upper"].vertebrae[1]
    dens, body = axis.points_lps_mm(anatomy.DENS), axis.points_lps_mm(anatomy.BODY)
    assert dens[:, 2].min() > body[:, 2].mean()
    assert np.ptp(dens[:, 0]) < 18
    assert 8 < np.ptp(dens[:, 2]) < 25
    left, right = (axis.points_lps_mm(part)[:, 0] for part in anatomy.SUPERIOR)
    assert left.min() > dens[:, 0].mean() > right.max()


def test_a_cut_vertebra_is_divided_as_far_as_it_shows():
    phantom = phantom_of("L2", "L3", (1.5, 1.5, 1.5), 4)
    index = voxels_of(phantom, "L3")[:, 0]
    keep = slice(int(np.percentile(index, 35)), None)
    grid = phantom.labels.geometry
    origin = grid.to_lps_mm(np.array([keep.start, 0, 0]))
    array = np.ascontiguousarray(phantom.labels.array[keep])
    cut = Volume(array, replace(grid, shape=array.shape, origin_lps_mm=tuple(map(float, origin))))
    done = divide_spine(cut)
    assert_nothing_lost(cut, done)
    lower = done.vertebrae[-1]
    assert lower.vertebra.cut_sides
    assert "cut by the image" in lower.missing.values()
    body = lower.mask(anatomy.BODY, *anatomy.ENDPLATES.values())
    assert body.sum() > 0.3 * (lower.parts.array > 0).sum()


def test_an_arch_that_is_open_stays_undivided():
    phantom = phantom_of("L2", "L3", (1.5, 1.5, 1.5), 4)
    labels = phantom.labels.array.copy()
    for placed in phantom.chain:
        index = voxels_of(phantom, placed.name)
        places = phantom.labels.geometry.to_lps_mm(index) - placed.frame.origin
        behind = places @ np.asarray(placed.frame.axes)[1] > placed.shape.canal_y + 2
        labels[tuple(index[behind].T)] = 0
    done = divide_spine(phantom.labels.with_array(labels))
    for vertebra in done.vertebrae:
        assert set(np.unique(vertebra.parts.array)) >= {anatomy.BODY.value}
        assert "does not close" in vertebra.missing[anatomy.SPINOUS]
        assert vertebra.mask(anatomy.UNDIVIDED).any()


REAL = (("ct", "ct_vertebra_seg", {}), ("mr", "mr_instance_seg", {5: 21, 6: 22, 7: 23}))


@pytest.mark.parametrize(("kind", "file", "names"), REAL, ids=["ct", "mr"])
def test_parts_of_a_real_vertebra_agree_with_tptbox(shared_data, kind, file, names):
    folder = shared_data / "tptbox"
    labels = read_labels(folder / f"{file}.nii.gz")
    if names:
        named = np.zeros(labels.array.shape, np.uint8)
        for instance, value in names.items():
            named[labels.array == instance] = value
        labels = labels.with_array(named)
    truth = read_labels(folder / f"{kind}_subregion_seg.nii.gz").array
    done = divide_spine(labels)
    assert_nothing_lost(labels, done)
    whole = labels.array == BY_NAME["L3"].value
    found = done.labels.array[whole] % LEVEL_FACTOR
    result = {
        name: dice(
            np.isin(found, [part.value for part in parts]), np.isin(truth[whole], TPTBOX[name])
        )
        for name, parts in GROUPS.items()
    }
    assert np.mean(list(result.values())) >= 0.88, result
    assert min(result.values()) >= 0.78, result


def test_disc_and_canal_of_a_real_mr_agree_with_tptbox(shared_data):
    folder = shared_data / "tptbox"
    instances = read_labels(folder / "mr_instance_seg.nii.gz")
    named = np.zeros(instances.array.shape, np.uint8)
    for instance, value in REAL[1][2].items():
        named[instances.array == instance] = value
    truth = read_labels(folder / "mr_subregion_seg.nii.gz").array
    done = divide_spine(instances.with_array(named))
    disc = done.labels.array == part_value("L3", DISC)
    assert dice(disc, instances.array == 106) >= 0.8
    canal = done.labels.array == anatomy.CANAL.value
    along = next(a for a in range(3) if np.ptp(np.argwhere(canal), axis=0)[a] > 25)
    shown = canal.any(axis=tuple(a for a in range(3) if a != along), keepdims=True)
    assert dice(canal, np.isin(truth, (60, 61)) & shown) >= 0.85


def test_the_groups_name_every_part_once():
    values = [part.value for parts in SEPARATE.values() for part in parts]
    assert len(values) == len(set(values))
    assert {*values} == {part.value for part in anatomy.TYPICAL}


def test_a_spine_that_lies_otherwise_than_its_header_says_has_the_same_parts(lumbar):
    phantom, done = lumbar
    grid = phantom.labels.geometry
    turn = np.diag([1.0, -1.0, -1.0])
    header = replace(
        grid,
        direction_lps=turn @ np.asarray(grid.direction_lps),
        origin_lps_mm=tuple(map(float, turn @ np.asarray(grid.origin_lps_mm))),
    )
    again = divide_spine(Volume(phantom.labels.array, header))
    assert not again.stance.as_header
    assert np.array_equal(again.labels.array, done.labels.array)
    assert again.labels.geometry == header
