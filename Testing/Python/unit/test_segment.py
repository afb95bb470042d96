"""Segmentation of a volume, with networks that threshold the image and with the bundled ones."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spinemamba import segment as segment_module
from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import Code, UserError
from spinemamba.evaluation.compare import compare
from spinemamba.imaging.intensity import LOCAL_MEAN
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.model import LoadedNetwork, Model, load_model
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.find import Instances
from spinemamba.levels.outlines import OtherScan, outlines_of
from spinemamba.levels.pins import Pin
from spinemamba.network.level_sequence import WITNESSES, LevelLogits, LevelNetworkConfig
from spinemamba.phantom import PaintOptions, PhantomOptions, make_phantom, paint_ct
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.segment import SegmentOptions, segment

ORDERS = [*itertools.permutations(range(3))]
SIGNS = [*itertools.product((1, -1), repeat=3)]
ORIENTATIONS = [(ORDERS[k % len(ORDERS)], signs) for k, signs in enumerate(SIGNS)]
"""Every order of the axes and every set of directions; test_orientation.py tests all 48."""


class Threshold(torch.nn.Module):
    """Bright voxels are bone, their interior is core, and all levels are equally likely."""

    def __init__(self, patch_vox: tuple[int, int, int]):
        super().__init__()
        self.config = SimpleNamespace(patch_vox=patch_vox, outputs=len(NETWORK_LEVELS) + 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        bone = (image > 0).float()
        core = 1 - torch.nn.functional.max_pool3d(1 - bone, 3, 1, 1)
        levels = (bone * 20 - 10).expand(-1, len(NETWORK_LEVELS), -1, -1, -1)
        return torch.cat([torch.zeros_like(image), levels, core * 20 - 10], dim=1)


@pytest.fixture(scope="module")
def model() -> Model:
    card = SimpleNamespace(name="threshold", version="1", hash=lambda: "0")
    coarse, fine = (
        LoadedNetwork(Threshold((16, 16, 16)), spacing, torch.device("cpu"))
        for spacing in (4.0, 2.0)
    )
    return Model(card, coarse, fine)


class SaysL1ToL3(torch.nn.Module):
    """A level network that is certain of three levels, whatever it sees."""

    def __init__(self):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(1))
        self.config = LevelNetworkConfig()

    def forward(self, crops: torch.Tensor, gaps: torch.Tensor) -> LevelLogits:
        levels = torch.zeros(len(crops), len(NETWORK_LEVELS) + 1)
        for k, name in enumerate(("L1", "L2", "L3")):
            levels[k, NETWORK_LEVELS.index(name)] = 10.0
        return LevelLogits(levels, torch.zeros(len(crops), WITNESSES))


def blocks() -> Volume:
    """Return three different bright blocks on top of each other in soft tissue."""
    array = np.full((48, 30, 26), 30, np.int16)
    array[:, :4] = -100
    for k, start in enumerate((4, 19, 34)):
        array[start : start + 10, 6 + k : 20 + k, 6 : 19 + k] = 900
    return Volume(array, Geometry(array.shape, (2.0, 2.0, 2.0), (7.0, -30.0, 250.0), np.eye(3)))


def turned(volume: Volume, order: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    """Return the same patient on a grid with permuted and flipped axes."""
    array = volume.array.transpose(order)[tuple(slice(None, None, s) for s in signs)]
    index = np.zeros(3)
    for new, old in enumerate(order):
        if signs[new] < 0:
            index[old] = volume.array.shape[old] - 1
    axes_zyx = np.asarray(volume.geometry.direction_lps)[:, ::-1]
    direction = (axes_zyx[:, list(order)] * signs)[:, ::-1]
    origin = tuple(volume.geometry.to_lps_mm(index))
    spacing = tuple(volume.spacing_mm[old] for old in order)
    return Volume(array.copy(), Geometry(array.shape, spacing, origin, direction))


def test_the_level_network_of_a_model_names_the_vertebrae(model: Model):
    result = segment(blocks(), replace(model, levels=SaysL1ToL3().eval())).result
    assert [entry.name for entry in result.instances] == ["L1", "L2", "L3"]
    assert all(entry.no_vertebra < 0.01 for entry in result.instances)
    assert {entry.no_vertebra for entry in segment(blocks(), model).result.instances} == {None}


def test_a_level_network_that_has_learned_from_ct_does_not_name_mr(model: Model):
    bright = blocks().with_array(blocks().array + 1024)
    options = SegmentOptions(modality="mr")
    plain = segment(bright, model, options).result
    read = segment(bright, replace(model, levels=SaysL1ToL3().eval()), options).result
    assert [entry.no_vertebra for entry in read.instances] == [None] * len(read.instances)
    assert read.labelings == plain.labelings


def small_blocks(size: float = 0.6) -> Volume:
    """Return the blocks of a patient of that size relative to `blocks`."""
    return Volume(blocks().array, blocks().geometry.scaled(size))


def named(model: Model) -> Model:
    """Return a model that is certain of its levels, and so of the size of the vertebrae."""
    return replace(model, levels=SaysL1ToL3().eval())


def test_a_small_patient_is_segmented_like_an_adult_in_true_millimetres(model: Model):
    adult, child = segment(blocks(), named(model)), segment(small_blocks(), named(model))
    assert (child.labels.array != adult.labels.array).mean() < 0.01
    assert child.labels.geometry.matches(small_blocks().geometry)
    for small, large in zip(child.result.instances, adult.result.instances, strict=True):
        assert small.name == large.name
        assert small.volume_ml == pytest.approx(0.6**3 * large.volume_ml, rel=0.1)
        centre = 0.6 * np.array(large.centroid_lps_mm)
        assert np.allclose(small.centroid_lps_mm, centre, atol=0.6)
    assert any("% of an adult's size" in text for text in child.result.warnings)
    assert not any("adult" in text for text in adult.result.warnings)


def fail(*_: object) -> None:
    raise UserError("No spine found.", "", Code.NO_SPINE)


@pytest.mark.parametrize("why", ["no spine in the enlarged image", "another size there"])
def test_an_enlarged_image_that_does_not_confirm_the_size_is_not_used(
    model: Model, monkeypatch: pytest.MonkeyPatch, why: str
):
    stages = {True: segment_module.coarse_stage, False: segment_module.find_instances}

    def coarse(image: Volume, *rest: object) -> object:
        if why.startswith("no spine") and image.spacing_mm[0] > 1.2:
            fail()
        return stages[True](image, *rest)

    def instances(predictions: VoxelPredictions, *rest: object) -> Instances:
        found = stages[False](predictions, *rest)
        enlarged = predictions.image_geometry.spacing_mm[0] > 1.2
        return found.scaled(2.0) if enlarged and why.startswith("another") else found

    monkeypatch.setattr(segment_module, "coarse_stage", coarse)
    monkeypatch.setattr(segment_module, "find_instances", instances)
    child = segment(small_blocks(), named(model))
    assert [item.name for item in child.result.instances] == ["L1", "L2", "L3"]
    assert not any("adult" in text for text in child.result.warnings)


def test_dark_bodies_of_an_mr_are_found_in_its_inverse_with_a_warning(model: Model):
    bodies = blocks().array > 500
    dark = blocks().with_array(np.where(bodies, 30.0, 100.0).astype(np.float32))
    coarse = replace(model.coarse, normalisation=dict(LOCAL_MEAN))
    done = segment(dark, replace(model, coarse=coarse), SegmentOptions(modality="mr"))
    assert len(done.result.instances) == 3
    assert ((done.labels.array > 0) == bodies).mean() > 0.98
    assert any("inverted image" in text for text in done.result.warnings)


def test_three_blocks_are_segmented_as_neighbouring_vertebrae(model: Model):
    done = segment(blocks(), model)
    values = [item.label for item in done.result.instances]
    assert len(values) == 3
    assert set(np.unique(done.labels.array)) == {0, *values}
    bright = blocks().array > 500
    assert ((done.labels.array > 0) == bright).mean() > 0.99
    assert done.result.ambiguous
    assert done.result.modality == "ct"


def other_scan(model: Model, names: tuple[str, ...], shift_mm: float = 0.0) -> OtherScan:
    """Return the blocks as a scan with other levels, in other coordinates if shifted."""
    done = segment(blocks(), model)
    old = [item.label for item in done.result.instances]
    grid = done.labels.geometry
    right, back, up = grid.origin_lps_mm
    grid = replace(grid, origin_lps_mm=(right + shift_mm, back, up))
    outlines = outlines_of(Volume(done.labels.array, grid), dict(zip(old, names, strict=True)))
    return OtherScan("old.nii.gz", outlines)


@pytest.mark.parametrize(("shift_mm", "fixed"), [(0.0, True), (60.0, False)])
def test_levels_of_another_scan_are_fixed_or_evidence(model: Model, shift_mm: float, fixed: bool):
    names = ("T9", "T10", "T11")
    options = SegmentOptions(other=other_scan(model, names, shift_mm))
    result = segment(blocks(), model, options).result
    assert tuple(item.name for item in result.instances) == names
    assert bool(result.fixed_levels) == fixed
    assert result.levels_from.levels == tuple(enumerate(names, start=1))
    assert result.levels_from.method == ("overlap" if fixed else "shape")
    assert segment(blocks(), model).result.levels_from is None


def test_a_level_fixed_by_the_user_overrides_that_of_another_scan(model: Model):
    place = segment(blocks(), model).result.instances[1].centroid_lps_mm
    other = other_scan(model, ("T9", "T10", "T11"), 60.0)
    options = SegmentOptions(pins=(Pin("L2", place_lps_mm=place),), other=other)
    done = segment(blocks(), model, options).result
    assert [item.name for item in done.instances] == ["L1", "L2", "L3"]
    assert any("L2 instead of T10" in text for text in done.warnings)


def test_every_orientation_of_the_grid_gives_the_same_labels(model: Model):
    expected = segment(blocks(), model).labels
    for order, signs in ORIENTATIONS:
        image = turned(blocks(), order, signs)
        labels = segment(image, model).labels
        assert labels.geometry == image.geometry
        back = turned(expected, order, signs)
        assert np.array_equal(labels.array, back.array), (order, signs)


def test_positions_in_the_result_do_not_depend_on_the_grid(model: Model):
    expected = [i.centroid_lps_mm for i in segment(blocks(), model).result.instances]
    other = segment(turned(blocks(), (2, 0, 1), (-1, 1, -1)), model).result.instances
    np.testing.assert_allclose([i.centroid_lps_mm for i in other], expected, atol=1e-6)


def test_a_pinned_level_sets_all_levels_and_is_in_the_result(model: Model):
    free = segment(blocks(), model).result
    place = free.instances[1].centroid_lps_mm
    pinned = segment(blocks(), model, SegmentOptions(pins=(Pin("T9", place_lps_mm=place),))).result
    assert [item.name for item in pinned.instances] == ["T8", "T9", "T10"]
    assert pinned.fixed_levels == ((2, "T9"),)
    with pytest.raises(UserError, match="No vertebra is near"):
        segment(blocks(), model, SegmentOptions(pins=(Pin("T9", place_lps_mm=(999.0, 0, 0)),)))


def test_an_image_without_spine_is_refused(model: Model):
    dark = blocks().with_array(np.minimum(blocks().array, 100))
    dark.array[:, :2] = -1000
    with pytest.raises(UserError, match="No spine found") as caught:
        segment(dark, model)
    assert caught.value.code is Code.NO_SPINE


def test_progress_never_decreases_and_can_stop_the_run(model: Model):
    events: list[tuple[str, float]] = []
    segment(blocks(), model, progress=lambda stage, fraction: events.append((stage, fraction)))
    stages = list(dict.fromkeys(stage for stage, _ in events))
    assert stages == ["locate", "segment", "instances", "levels", "restore"]
    for stage in stages:
        fractions = [f for s, f in events if s == stage]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1

    def stop(stage: str, fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(blocks(), model, progress=stop)


@pytest.fixture(scope="module")
def starter() -> Model:
    return load_model(find_model(DEFAULT))


@pytest.mark.slow
def test_the_bundled_model_finds_the_vertebrae_of_a_phantom(starter: Model):
    view = {"spacing_mm": (2.0, 2.0, 2.0), "scale": 0.75, "margin_mm": 9.0, "tight": True}
    phantom = make_phantom(11, PhantomOptions(first="L1", last="L4", **view))
    done = segment(phantom.image, starter, SegmentOptions(quality="fast"))
    score = compare(done.labels, phantom.labels)
    assert score.bone_dice > 0.75
    assert len(done.result.instances) >= 4


@pytest.mark.slow
def test_the_bundled_model_finds_no_spine_in_soft_tissue(starter: Model):
    phantom = make_phantom(11, PhantomOptions(first="L2", last="L3", spacing_mm=(3.0, 3.0, 3.0)))
    soft = phantom.tissues.with_array(np.where(phantom.tissues.array > 0, 3, 0).astype(np.uint8))
    image = paint_ct(soft, np.random.default_rng(0), PaintOptions(noise_hu=10.0))
    with pytest.raises(UserError) as caught:
        segment(soft.with_array(image), starter, SegmentOptions(modality="ct", quality="fast"))
    assert caught.value.code is Code.NO_SPINE


@pytest.mark.parametrize("keep", [False, True])
def test_a_loose_piece_is_left_out_unless_it_is_wanted(model: Model, keep: bool):
    image, at = blocks(), (38, 23, 14)  # one voxel beyond the lowest block in y
    image.array[at] = 900
    found = segment(image, model, SegmentOptions(modality="ct", keep_pieces=keep))
    assert (found.labels.array[at] > 0) == keep
    voxels = [k for bone in found.result.left_out for a, b in bone.spans() for k in range(a, b)]
    assert voxels == ([] if keep else [int(np.ravel_multi_index(at, image.array.shape))])
