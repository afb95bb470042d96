"""Painted sagittal MR: contrasts, artefacts, normalisation, and the model that is packed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from tiny_body import SPACING_MM, body_volumes

from spinemamba.common.errors import UserError
from spinemamba.imaging.intensity import LOCAL_MEAN, NORMALISATION
from spinemamba.network.config import NetworkConfig
from spinemamba.phantom.tissue import Tissue
from spinemamba.protocol.model_card import find_model
from spinemamba.training.data.bodies import Body, body_case
from spinemamba.training.data.dataset import Case
from spinemamba.training.data.patches import Patch, PatchOptions, draw_patch
from spinemamba.training.pack_model import _normalisation
from spinemamba.training.recipe import recipe_of
from spinemamba.training.synthesis import mr_tissue
from spinemamba.training.synthesis.mr_acquisition import acquire
from spinemamba.training.synthesis.mr_contrast import CONTRASTS, Contrast, draw_contrast
from spinemamba.training.synthesis.options import CT_ONLY, MR_ONLY
from spinemamba.training.synthesis.paint import paint

STILL = PatchOptions(
    (64, 48, 32), turned=0, scaled=0, on_spine=1, mirror=0, narrow=0, bend_mm=0, variant=0
)
PLAIN = Contrast(2.0, 0.3, 3.0, 0.8, 1.5, 0.3, 0.8, 0.1, 0.05)


@pytest.fixture(scope="module")
def body() -> Case:
    return body_case(Body("body", *body_volumes()), SPACING_MM)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def patch_of(body: Case, seed: int = 1) -> Patch:
    patch = draw_patch(body, STILL, seeded(seed))
    return replace(patch, voxel_mm=1.5)


def test_every_contrast_has_ordered_limits_for_all_tissues():
    for low, high in CONTRASTS.values():
        assert len(low) == len(high) == len(Contrast.__dataclass_fields__)
        assert all(0 < a < b for a, b in zip(low, high, strict=True))


def test_drawn_contrasts_are_within_their_limits():
    generator = seeded()
    seen = set()
    for _ in range(200):
        name, contrast = draw_contrast(generator)
        seen.add(name)
        values = [getattr(contrast, field) for field in Contrast.__dataclass_fields__]
        limits = zip(*CONTRASTS[name], values, strict=True)
        assert all(low <= value <= high for low, high, value in limits)
    assert seen == set(CONTRASTS)


@pytest.mark.parametrize("name", ["T2", "fat fraction", "opposed phase"])
def test_tissues_have_the_signals_of_the_contrast(body, monkeypatch, name):
    monkeypatch.setattr(mr_tissue, "draw_contrast", lambda generator: (name, PLAIN))
    monkeypatch.setattr(mr_tissue, "acquire", lambda signal, voxel_mm, generator: signal)
    monkeypatch.setattr(mr_tissue, "chance", lambda share, generator: False)
    patch = patch_of(body)
    image = mr_tissue.paint_sagittal_mr(patch, seeded())
    kind = mr_tissue._kinds(patch.tissues)
    far = patch.other_depth_mm < -5
    marrow = image[patch.depth_mm > 5].median()
    muscle = image[(kind == Tissue.MUSCLE) & (patch.depth_mm < -5) & far].quantile(0.2)
    assert float(marrow) == pytest.approx(1, abs=0.25)
    assert float(muscle) == pytest.approx(PLAIN.muscle, abs=0.2)
    surface = image[patch.depth_mm.abs() < 0.6].median()
    assert surface < 0.85 * marrow, "cortex is dark"


def test_the_same_state_gives_the_same_image(body):
    patch = patch_of(body)
    one, two = (paint(patch, seeded(3), MR_ONLY) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, paint(patch, seeded(4), MR_ONLY))


def test_painted_mr_is_finite_and_in_range(body):
    patch = patch_of(body)
    for seed in range(12):
        image = paint(patch, seeded(seed), MR_ONLY)
        assert image.shape == patch.target.shape
        assert image.isfinite().all()
        assert image.min() > -2
        assert image.max() < 4


def test_acquisition_averages_across_sagittal_slices_only():
    signal = torch.zeros(32, 32, 32)
    signal[:, :, ::2] = 1  # finer than any slice
    across = acquire(signal, 1.5, seeded(0))
    along = acquire(signal.transpose(0, 2).contiguous(), 1.5, seeded(0))
    # Differences of neighbouring voxels, relative to the mean, along the axis of the stripes.
    left = across.diff(dim=2).abs().mean() / across.mean()
    up = along.diff(dim=0).abs().mean() / along.mean()
    assert left < 0.25 * up


def test_other_contrasts_draw_the_same_numbers_as_before(body):
    patch = patch_of(body)
    assert torch.equal(
        paint(patch, seeded(5), CT_ONLY), paint(patch, seeded(5), replace(CT_ONLY, sagittal=0.0))
    )


@pytest.mark.parametrize("stage", ["coarse", "fine"])
def test_the_sagittal_size_is_that_of_the_bundled_mr_model(stage):
    card = json.loads((find_model("starter-mr") / "model.json").read_text())
    own = NetworkConfig.from_json(card["networks"][stage]["config"])
    assert recipe_of(stage, size="sagittal").network == own


@pytest.mark.parametrize(
    ("coarse", "fine", "expected"),
    [(True, True, LOCAL_MEAN), (False, False, NORMALISATION)],
)
def test_a_model_normalises_as_its_networks_learned(coarse, fine, expected):
    assert _normalisation({"coarse": coarse, "fine": fine, "levels": False}) == expected


def test_networks_with_different_normalisation_are_not_packed_together():
    with pytest.raises(UserError, match="Only the fine network"):
        _normalisation({"coarse": False, "fine": True})
