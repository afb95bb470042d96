"""Whole bodies: cases, patches, levels more and less, and what they look like in CT."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_body import NAMES, SPACING_MM, body_volumes, vertebra_top

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.imaging.resample import grid_with_spacing, resample_box
from spinemamba.imaging.volume import Volume
from spinemamba.phantom.tissue import Tissue
from spinemamba.training.data.bodies import Body, body_case
from spinemamba.training.data.case_store import CaseStore
from spinemamba.training.data.dataset import IGNORE_INDEX, Case, make_case
from spinemamba.training.data.deform import LevelVariant, draw_bend, draw_variant
from spinemamba.training.data.depth import UNITS_PER_MM
from spinemamba.training.data.patches import PatchOptions, draw_patch
from spinemamba.training.data.sampling import SamplingPoints
from spinemamba.training.data.slices import draw_slices
from spinemamba.training.data.structures import (
    AORTA,
    BONES,
    LUNGS,
    MOST_STRUCTURES,
    STRUCTURE,
    VERTEBRAE,
    rib_numbers,
    similar_tissues,
    without_rib,
)
from spinemamba.training.synthesis.options import CT_ONLY, SynthesisOptions
from spinemamba.training.synthesis.organs import fill_organs
from spinemamba.training.synthesis.paint import paint

STILL = PatchOptions(
    (40, 40, 40), turned=0, scaled=0, on_spine=1, mirror=0, narrow=0, bend_mm=0, variant=0
)
PLAIN_CT = replace(CT_ONLY, implants=0, blurred_painted=0, sharpened=0, low_resolution=0)
PLAIN_CT = replace(PLAIN_CT, tilted_contrast=0, noisy=0)


@pytest.fixture(scope="module")
def body() -> Case:
    return body_case(Body("body", *body_volumes()), SPACING_MM)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_structure_looks_like_a_tissue():
    expected = set(range(STRUCTURE + 1, STRUCTURE + MOST_STRUCTURES + 1))
    assert set(similar_tissues()) == expected
    assert max(Tissue) < STRUCTURE
    assert max(expected) < 256
    assert not set(BONES) & set(VERTEBRAE)
    assert rib_numbers(1) == (92, 104)
    assert rib_numbers(12) == (103, 115)


def test_a_body_keeps_its_structures_and_fills_the_rest(body: Case):
    _, structures = body_volumes()
    organ = torch.from_numpy(structures.array > 0)
    found = body.tissues[organ]
    kept = (found == STRUCTURE + torch.from_numpy(structures.array)[organ]).float().mean()
    assert kept > 0.95  # plaques are in the wall of the aorta
    assert Tissue.CALCIFICATION in found
    outside = body.tissues[torch.from_numpy(structures.array == 0) & (body.target == 0)]
    assert {Tissue.FAT, Tissue.MUSCLE} & set(outside.tolist())
    ribs = torch.from_numpy(np.isin(structures.array, BONES))
    assert (body.other_depth[ribs] > -UNITS_PER_MM).all()
    assert (body.beside[ribs] > 0).float().mean() > 0.1
    assert not body.beside[body.target > 0].any()


def test_patches_are_also_centred_where_ribs_touch_the_spine(body: Case):
    anchors = body.anchors.long()
    at_ribs = body.target[tuple(anchors.T)] == 0
    assert 0.1 < at_ribs.float().mean() <= 0.25
    assert (body.beside[tuple(anchors[at_ribs].T)] > 0).all()


def test_a_vertebra_without_a_label_is_neither_bone_nor_background():
    labels, structures = body_volumes()
    cut = labels.array == 17  # T10
    structures.array[cut] = 34
    labels.array[cut] = 0
    case = body_case(Body("cut", labels, structures), SPACING_MM)
    assert (case.target[torch.from_numpy(cut)] == IGNORE_INDEX).all()
    assert (case.other_depth[torch.from_numpy(cut)] > -UNITS_PER_MM).all()


def test_a_body_is_saved_and_read_back_equal(body: Case, tmp_path):
    store = CaseStore(tmp_path, SPACING_MM)
    again = store.add(body, store.path_of(body.name, "key")).opened()
    assert again.spacing_mm == body.spacing_mm
    for field in ("tissues", "depth", "other_depth", "beside", "bone"):
        assert torch.equal(getattr(again, field), getattr(body, field))
    assert again.known_image is None


def hu_of(case: Case, seed: int, options: SynthesisOptions = PLAIN_CT) -> tuple:
    patch = draw_patch(case, STILL, seeded(seed))
    return patch, (paint(patch, seeded(seed), options) + 1) * 750 - 250


@pytest.mark.parametrize("seed", range(4))
def test_a_painted_body_has_the_densities_of_ct(body: Case, seed: int):
    patch, hu = hu_of(body, seed)
    spine = patch.depth_mm > 1
    assert hu[spine].mean() > 60
    ribs = patch.other_depth_mm > 0
    if ribs.any():
        assert hu[ribs].mean() > hu[patch.tissues == STRUCTURE + 80].mean() + 20
    lung = patch.tissues == STRUCTURE + LUNGS[0]
    if lung.any():
        assert hu[lung].mean() < -150  # the window ends at -250 HU
    aorta = patch.tissues == STRUCTURE + AORTA
    if aorta.any():
        assert 10 < hu[aorta].mean() < 420


def test_phases_of_contrast_medium_brighten_arteries_most():
    arteries, veins, organs = [], [], []
    for seed in range(60):
        means, spreads = torch.zeros(256), torch.zeros(256)
        fill_organs(means, spreads, seeded(seed))
        arteries.append(float(means[STRUCTURE + AORTA]))
        veins.append(float(means[STRUCTURE + 63]))
        organs.append(float(means[STRUCTURE + 5]))
    assert min(arteries) < 60
    assert max(arteries) > 250
    assert np.mean(arteries) > np.mean(veins) > np.mean(organs)


def test_an_image_known_in_part_is_shown_there_and_painted_elsewhere():
    labels, structures = body_volumes()
    hu = np.where(labels.array > 0, 400, 0)
    hu[: vertebra_top("L1")] = 0  # nothing is known below
    image = Volume(hu.astype(np.int16), labels.geometry)
    case = body_case(Body("part", labels, structures, image, 200.0), SPACING_MM)
    patch, painted = hu_of(case, 1, replace(PLAIN_CT, known_shown=1.0))
    known = patch.known_image > 0.99
    assert known.any()
    assert (painted[known] - 400).abs().max() < 1
    hidden = (patch.known_image == 0) & (patch.depth_mm > 1)
    assert painted[hidden].mean() < 250


@pytest.mark.parametrize("options", [CT_ONLY, replace(CT_ONLY, ct=0, mr=1), replace(CT_ONLY, ct=0)])
def test_a_body_can_be_painted_in_every_contrast(body: Case, options: SynthesisOptions):
    patch = draw_patch(body, PatchOptions((24, 24, 24), thick=0.5), seeded(3))
    image = paint(patch, seeded(4), options)
    assert image.isfinite().all()
    assert image.std() > 0.01


def test_equal_seeds_draw_equal_patches_of_a_body(body: Case):
    options = PatchOptions((24, 24, 24), thick=0.5, variant=1.0)
    one, other = (draw_patch(body, options, seeded(5)) for _ in "ab")
    assert torch.equal(one.target, other.target)
    assert torch.equal(one.bone, other.bone)
    assert torch.equal(paint(one, seeded(6)), paint(other, seeded(6)))


def test_coarse_voxels_show_cortex_as_a_mean(body: Case):
    coarse = body_case(Body("body", *body_volumes()), 6.0)
    assert coarse.tissues is not None
    patch = draw_patch(coarse, replace(STILL, size_vox=(20, 20, 20)), seeded(1))
    hu = (paint(patch, seeded(1), PLAIN_CT) + 1) * 750 - 250
    assert 30 < hu[patch.target > 0].mean() < 700


@pytest.mark.parametrize("removed", [True, False])
def test_a_level_is_removed_or_shown_twice(body: Case, removed: bool):
    channel = {name: NETWORK_LEVELS.index(name) + 1 for name in NAMES}
    above, own = body.centres[channel["T11"]], body.centres[channel["T12"]]
    step = own - above
    variant = LevelVariant("T12", removed, (above + own) / 2 if removed else own + step / 2, step)
    rows = torch.arange(body.target.shape[0] - 1.0, -1, -1)
    line = torch.stack([rows, torch.full_like(rows, 26), torch.full_like(rows, 32)], dim=-1)
    source = variant.source(line).round().long()
    inside = (source[:, 0] >= 0) & (source[:, 0] < body.target.shape[0])
    found = body.target[tuple(source[inside].T)]
    order = [k for k, before in zip(found, [0, *found[:-1]], strict=True) if k and k != before]
    names = [NETWORK_LEVELS[k - 1] for k in order]
    usual = ["T10", "T11", "T12", "L1", "L2", "L3"]
    assert names == (["T10", "T11", "L1", "L2", "L3"] if removed else [*usual[:3], *usual[2:]])
    below = body.centres[channel["L1"]]
    assert torch.allclose(variant.source(variant.shown(below)), below, atol=1e-4)
    assert variant.shown(own).isnan().all()
    assert torch.equal(variant.shown(above), above)


def test_variants_need_the_end_of_a_region(body: Case):
    drawn = {draw_variant(body.centres, seeded(seed)) is None for seed in range(20)}
    assert drawn == {True, False}  # T12 is there, L5 is not
    assert draw_variant(torch.full((26, 3), torch.nan), seeded()) is None


def test_the_ribs_of_a_removed_level_are_removed(body: Case):
    left, right = rib_numbers(12)
    tissues, depth_mm, gone = without_rib(body.tissues, body.other_depth.float() / 16, 12)
    assert not torch.isin(tissues, torch.tensor([STRUCTURE + left, STRUCTURE + right])).any()
    was = torch.isin(body.tissues, torch.tensor([STRUCTURE + left, STRUCTURE + right]))
    assert (depth_mm[was] < -4).all()
    others = torch.isin(body.tissues, torch.tensor([STRUCTURE + n for n in rib_numbers(11)]))
    assert torch.equal(depth_mm[others], body.other_depth.float()[others] / 16)
    assert not gone[others].any()


def test_offsets_of_a_bent_body_point_to_its_cores(body: Case):
    options = replace(STILL, bend_mm=2.0, turned=1.0, scaled=1.0, mirror=1.0)
    for seed in range(3):
        patch = draw_patch(body, options, seeded(seed))
        grid = torch.stack(torch.meshgrid(*[torch.arange(40.0) - 19.5] * 3, indexing="ij"))
        for level in patch.target[patch.core > 0].unique():
            core = (patch.core > 0) & (patch.target == level)
            rows = core.nonzero()
            if level == IGNORE_INDEX or rows.min() < 1 or rows.max() > 38:
                continue
            ends = (grid + patch.offset)[:, core].mean(dim=1)
            assert torch.linalg.norm(ends - grid[:, core].mean(dim=1)) < 1.0


def test_a_bend_is_smooth_and_small():
    bend = draw_bend(1.6, seeded(1))
    points = torch.rand(500, 3, generator=seeded(2)) * 200
    moved = bend.at(points)
    assert moved.abs().max() < 20
    assert (bend.at(points + 1.0) - moved).abs().max() < 1.0


def points_of(labels: Volume, spacing_mm: float, parallel: bool) -> SamplingPoints:
    """Return the voxels of a grid over labels, as points in voxels of the labels."""
    size = spacing_mm / SPACING_MM
    shape = grid_with_spacing(labels.geometry, spacing_mm).shape
    lines = [torch.arange(float(n)) * size + (size - 1) / 2 for n in shape]
    last = torch.tensor(labels.array.shape) - 1.0
    points = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).minimum(last)
    return SamplingPoints(points, (size,) * 3, parallel, torch.zeros(3), last)


@pytest.mark.parametrize("spacing_mm", [3.0, 4.5, 6.0])
def test_a_parallel_patch_is_resampled_as_a_scan_is(spacing_mm: float):
    labels, _ = body_volumes()
    hu = np.random.default_rng(1).normal(100, 50, labels.array.shape).astype(np.float32)
    grid = grid_with_spacing(labels.geometry, spacing_mm)
    wanted = torch.from_numpy(resample_box(hu, labels.geometry, grid))
    found = points_of(labels, spacing_mm, parallel=True).linear(torch.from_numpy(hu))
    torch.testing.assert_close(found, wanted, atol=1e-2, rtol=1e-4)
    turned = points_of(labels, spacing_mm, parallel=False).linear(torch.from_numpy(hu))
    inner = (slice(4, -4),) * 3
    assert (turned - wanted)[inner].abs().mean() < 0.35 * wanted.std()


def test_listed_cases_keep_their_voxels_down_to_a_limit():
    labels, _ = body_volumes()
    assert make_case("own", labels, 6.0, finest_mm=SPACING_MM).spacing_mm == (3.0, 3.0, 3.0)
    assert make_case("own", labels, 6.0, finest_mm=4.0).spacing_mm == (4.0, 4.0, 4.0)
    assert make_case("cubic", labels, 6.0).spacing_mm == (6.0, 6.0, 6.0)


@pytest.mark.parametrize("axis", range(3))
def test_thick_slices_are_means_over_their_thickness(axis: int):
    for seed in range(40):
        slices = draw_slices((5.0, 5.0), 1.0, (60, 60, 60), seeded(seed))
        if slices.axis == axis:
            break
    assert torch.allclose(slices.weights.sum(dim=1), torch.ones(60), atol=1e-5)
    step = torch.zeros(60, 60, 60)
    step.movedim(axis, 0)[30:] = 1.0
    line = slices.of(step).movedim(axis, 0)[:, 30, 30]
    between = (line > 0.02) & (line < 0.98)
    assert 3 <= int(between.sum()) <= 11
    assert line.sum() == pytest.approx(30, abs=1.5)
    constant = torch.full((60, 60, 60), 7.0)
    torch.testing.assert_close(slices.of(constant), constant)


def test_thick_slices_reach_the_share_of_bone_but_not_the_levels(body: Case):
    thick = replace(STILL, thick=1.0, thickness_mm=(12.0, 12.0))
    plain, means = (draw_patch(body, options, seeded(2)) for options in (STILL, thick))
    assert torch.equal(plain.target, means.target)
    assert means.slices is not None
    torch.testing.assert_close(means.bone, means.slices.of(plain.bone))
    assert not torch.allclose(plain.bone, means.bone, atol=0.1)
