"""Real vertebral shapes in phantoms, and painting of cortical bone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.phantom import PhantomOptions, ShapeBank, make_phantom
from spinemamba.phantom.damage import crushed, laminectomy
from spinemamba.training.data.dataset import make_case
from spinemamba.training.data.depth import REACH_MM, UNITS_PER_MM, bone_depth_mm, pack_depth
from spinemamba.training.data.patches import PatchOptions, draw_patch
from spinemamba.training.data.phantom_cases import phantom_case
from spinemamba.training.data.vertebra_shapes import extract_shapes, load_shapes, save_shapes
from spinemamba.training.synthesis.implants import METAL, add_implants
from spinemamba.training.synthesis.paint import paint

LUMBAR = PhantomOptions(first="L1", last="L4", spacing_mm=(1.5, 1.5, 1.5), scale=1.0, tight=True)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(3, LUMBAR)


@pytest.fixture(scope="module")
def bank(phantom) -> ShapeBank:
    return ShapeBank(extract_shapes(phantom.labels, "phantom3", ("L2", "L3")))


def labels_of(array: np.ndarray, spacing_mm: tuple[float, float, float]) -> Volume:
    return Volume(array, Geometry(array.shape, spacing_mm, (0.0, 0.0, 0.0), tuple(np.eye(3).flat)))


def test_depth_is_half_a_voxel_at_the_surface_and_negative_outside():
    array = np.zeros((7, 7, 7), np.uint8)
    array[2:5, 2:5, 2:5] = 20
    depth = bone_depth_mm(labels_of(array, (2.0, 2.0, 2.0)))
    assert depth[2, 3, 3] == 1.0  # half of 2 mm
    assert depth[3, 3, 3] == 3.0
    assert depth[1, 3, 3] == -1.0


def test_touching_vertebrae_have_a_surface_between_them():
    array = np.zeros((8, 5, 5), np.uint8)
    array[:4], array[4:] = 20, 21
    depth = bone_depth_mm(labels_of(array, (1.0, 1.0, 1.0)))
    assert (depth[3:5, 2, 2] == 0.5).all()
    assert depth[1, 2, 2] == 2.5


def test_an_image_without_bone_has_the_maximum_depth():
    depth = bone_depth_mm(labels_of(np.zeros((3, 3, 3), np.uint8), (1.0, 1.0, 1.0)))
    assert (depth == -REACH_MM).all()
    assert (pack_depth(depth) == -127).all()
    assert pack_depth(np.array([0.5]))[0] == UNITS_PER_MM / 2


def test_an_extracted_vertebra_keeps_its_volume_and_orientation(phantom, bank: ShapeBank):
    assert [shape.name for shape in bank.shapes] == ["L2", "L3"]
    for shape in bank.shapes:
        voxel_ml = np.prod(phantom.labels.spacing_mm) / 1000
        true_ml = (phantom.labels.array == BY_NAME[shape.name].value).sum() * voxel_ml
        own_ml = (shape.distance < 0).sum() * shape.spacing_mm**3 / 1000
        assert own_ml == pytest.approx(true_ml, rel=0.06)
        _, y, x = np.argwhere(shape.distance < 0).mean(axis=0) * shape.spacing_mm
        assert y + shape.low_mm[1] > 3.0  # the arch shifts the centre behind that of the core
        assert abs(x + shape.low_mm[0]) < 2.0


def test_shapes_are_unchanged_after_writing_and_reading(tmp_path: Path, bank: ShapeBank):
    save_shapes(bank.shapes, tmp_path / "shapes.safetensors")
    back = load_shapes(tmp_path / "shapes.safetensors").shapes
    for one, other in zip(bank.shapes, back, strict=True):
        assert replace(one, distance=None) == replace(other, distance=None)
        assert np.array_equal(one.distance, other.distance)


def test_a_level_without_a_shape_uses_a_neighbour_or_the_phantom(bank: ShapeBank):
    donors = ["phantom3"]
    assert bank.pick("L4", donors).name == "L3"
    assert bank.pick("L1", donors).name == "L2"
    assert bank.pick("T5", donors) is None
    assert bank.pick("Sacrum", donors) is None


def test_a_spine_of_real_shapes_has_each_level_at_the_donor_volume(phantom, bank: ShapeBank):
    options = replace(LUMBAR, first="L2", last="L3")
    composed = make_phantom(9, options, bank)
    assert set(np.unique(composed.labels.array)) == {0, 21, 22}
    for value in (21, 22):
        ratio = (composed.labels.array == value).sum() / (phantom.labels.array == value).sum()
        assert 0.6 < ratio < 1.7
    designed = make_phantom(9, options)
    assert not np.array_equal(designed.labels.array, composed.labels.array)
    assert np.array_equal(composed.labels.array, make_phantom(9, options, bank).labels.array)


def test_the_name_of_a_case_says_whether_its_shapes_are_real(bank: ShapeBank):
    assert phantom_case(5, 8.0, bank).name == "composed5"
    assert phantom_case(5, 8.0).name == "phantom5"


def test_painted_cortex_is_brighter_than_trabecular_bone(phantom):
    case = make_case("p", phantom.labels, 1.5, image=phantom.image, tissues=phantom.tissues)
    case = replace(case, image=None)
    size = (64, *(8 * (n // 8) for n in case.target.shape[1:]))
    still = PatchOptions(size, turn_deg=0, scale=(1, 1), mirror=0, on_spine=1, narrow=0)
    brighter = []
    for seed in range(9):
        generator = torch.Generator().manual_seed(seed)
        patch = draw_patch(case, still, generator)
        image = paint(patch, generator)
        shell = image[(patch.depth_mm > 0.3) & (patch.depth_mm < 1.2)].mean()
        inner, outer = image[patch.depth_mm > 5].mean(), image[patch.depth_mm < -3].mean()
        brighter.append(bool(shell > inner and shell > outer))
    # All patches painted as CT, two in three, and some of the others by chance.
    assert sum(brighter) >= 5


def test_screws_are_bright_posterior_and_only_in_bone():
    image = torch.full((24, 48, 48), -0.5)
    bone = torch.zeros(image.shape, dtype=torch.bool)
    bone[8:16, 10:16, 18:30] = True
    out = add_implants(image, bone, torch.Generator().manual_seed(1))
    metal = out == METAL
    assert metal.any()
    assert metal.nonzero()[:, 1].float().mean() > 16  # the heads stick out of the back
    assert ((out - image).abs() > 0.02)[~metal].any()  # streaks
    assert torch.equal(add_implants(image, bone & False, torch.Generator()), image)


def test_a_wedge_fracture_lowers_the_anterior_wall_only(phantom):
    placed = SimpleNamespace(shape=SimpleNamespace(crush=0.4, depth=34.0, height=26.0))
    z = np.array([10.0, 10.0, -20.0])[:, None, None]
    y = np.array([-17.0, 17.0, -17.0])[:, None, None]
    _, _, moved = crushed([np.zeros_like(z), y, z], placed)
    # 23 mm above the lower endplate, after a loss of 40 %, was 38 mm in the intact body.
    assert moved.ravel() == pytest.approx([-13 + 23 / 0.6, 10.0, -20.0])


def test_a_laminectomy_removes_the_back_of_the_arch_only():
    shape = SimpleNamespace(canal_y=26.0, canal_depth=18.0, canal_width=24.0)
    y = np.array([0.0, 45.0, 45.0])[:, None, None]
    x = np.array([0.0, 0.0, 30.0])[:, None, None]
    inside = np.full_like(y, -3.0)
    opened = laminectomy(inside, [x, y, np.zeros_like(y)], SimpleNamespace(shape=shape)).ravel()
    assert opened[0] == -3.0  # body
    assert opened[1] > 0  # spinous process
    assert opened[2] == -3.0  # joint
