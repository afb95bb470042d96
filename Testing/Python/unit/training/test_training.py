"""Cases, patches, loss and optimiser of the training."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_training import CONFIG, lumbar_case, trainer

from spinemamba.common.errors import UserError
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.training.data.case_store import CaseStore
from spinemamba.training.data.dataset import IGNORE_INDEX, WHOLE_VOXEL, Case, make_case
from spinemamba.training.data.patches import PatchOptions, draw_patch
from spinemamba.training.folder import read_metadata
from spinemamba.training.loop import Trainer
from spinemamba.training.loss import Targets, soft_dice, soft_level_targets, spine_loss
from spinemamba.training.options import TrainOptions
from spinemamba.training.steps import rate_factor
from spinemamba.training.synthesis.options import SynthesisOptions
from spinemamba.training.synthesis.paint import paint


@pytest.fixture(scope="module")
def case() -> Case:
    return lumbar_case()


def model_of(one: Trainer) -> SimpleNamespace:
    """A model whose coarse network is that of a training."""
    card = SimpleNamespace(data=("a source.",), name="first", version="2")
    return SimpleNamespace(card=card, coarse=SimpleNamespace(network=one.network))


def test_a_case_has_levels_cores_and_anchors(case: Case):
    levels = {20, 21, 22}  # channel = VerSe value for C1 to L5
    assert set(torch.unique(case.target).tolist()) == {0, *levels}
    assert 0 < int(case.core.sum()) < int((case.target > 0).sum())
    assert (case.target[case.core > 0] > 0).all()
    assert all(int(case.target[tuple(a)]) in levels for a in case.anchors.long())


def test_the_surface_is_kept_as_the_share_of_each_voxel():
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[:5] = 20  # 3.75 mm: two voxels of 1.5 mm and half of the third
    geometry = Geometry(labels.shape, (0.75, 0.75, 0.75), (0.0, 0.0, 0.0), np.eye(3))
    case = make_case("half", Volume(labels, geometry), 1.5)
    rows = case.bone[:, 3, 3].float() / WHOLE_VOXEL
    assert rows[:5].tolist() == pytest.approx([1, 1, 0.5, 0, 0], abs=0.003)
    options = PatchOptions((4, 4, 4), turn_deg=0, scale=(1, 1), mirror=0, narrow=0)
    patch = draw_patch(case, options, torch.Generator().manual_seed(1))
    assert patch.bone.dtype == torch.float32
    assert ((patch.bone > 0) & (patch.bone < 1)).any()


def test_a_stored_case_is_read_back_equal(tmp_path: Path, case: Case):
    store = CaseStore(tmp_path, 4.0)
    stored = store.add(case, store.path_of(case.name, "key"))
    store.write([stored])
    assert store.read(pytest.fail) == [stored]
    again = stored.opened()
    for field in fields(case):
        one, other = getattr(case, field.name), getattr(again, field.name)
        if isinstance(one, torch.Tensor):
            assert torch.equal(torch.nan_to_num(one), torch.nan_to_num(other)), field.name
        else:
            assert one == other, field.name
    assert stored.levels == case.levels == (20, 21, 22)


def test_a_patch_without_augmentation_is_a_crop_of_the_case(case: Case):
    options = PatchOptions((8, 8, 8), turn_deg=0, scale=(1, 1), on_spine=0, mirror=0, narrow=0)
    generator = torch.Generator().manual_seed(3)
    patch = draw_patch(case, options, generator)
    inside = patch.target != IGNORE_INDEX
    seen = set(torch.unique(patch.target[inside]).tolist())
    assert seen <= set(torch.unique(case.target).tolist())
    assert patch.image.shape == (8, 8, 8)


def test_voxels_outside_of_a_case_are_ignored(case: Case):
    options = PatchOptions((64, 64, 64), turn_deg=0, scale=(1, 1))
    patch = draw_patch(case, options, torch.Generator().manual_seed(0))
    assert (patch.target == IGNORE_INDEX).any()


def test_a_narrow_field_of_view_ignores_voxels_beyond_it(case: Case):
    wide = PatchOptions((24, 24, 24), turn_deg=0, scale=(1, 1), mirror=0, narrow=0)
    hidden = 0
    for seed in range(6):
        whole = draw_patch(case, wide, torch.Generator().manual_seed(seed))
        narrow = draw_patch(case, replace(wide, narrow=1), torch.Generator().manual_seed(seed))
        seen = narrow.target != IGNORE_INDEX
        assert torch.equal(narrow.target[seen], whole.target[seen])
        # Without the half voxels beyond the centres of the outermost voxels.
        assert torch.isclose(narrow.image[seen], whole.image[seen]).float().mean() > 0.8
        hidden += int((~seen).sum()) - int((whole.target == IGNORE_INDEX).sum())
        if not seen[:, 12, 12].all() and seen[12, 12, 12]:
            rows = seen[:, 12, 12].nonzero()
            first = int(rows[0])
            assert (narrow.image[:first, 12, 12] == narrow.image[0, 12, 12]).all()
    assert hidden > 0


def truth_of(target: torch.Tensor, core: torch.Tensor) -> Targets:
    bone = ((target > 0) & (target != IGNORE_INDEX)).float()
    return Targets(target, bone, core, torch.full((1, 3, *target.shape[1:]), torch.nan))


def perfect_logits(target: torch.Tensor, core: torch.Tensor) -> torch.Tensor:
    logits = torch.full((1, 27, *target.shape[1:]), -20.0)
    log_targets = soft_level_targets(25).clamp_min(1e-20).log()
    levels = 20 + log_targets[target.long().clamp_min(1) - 1].movedim(-1, 1)
    logits[:, 1:-1] = torch.where(target[:, None] > 0, levels, -20.0)
    logits[:, 0] = torch.where(target > 0, -20.0, 20.0)
    logits[:, -1] = core.float() * 40 - 20
    return logits


def test_the_loss_of_perfect_outputs_and_of_ignored_voxels_is_zero():
    target = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    target[:, 2:5] = 20
    core = (target == 20).to(torch.uint8)
    logits = perfect_logits(target, core)
    assert spine_loss(logits, truth_of(target, core))[0].item() < 1e-3
    logits[:, :, 6:] = 0  # wrong, ...
    assert spine_loss(logits, truth_of(target, core))[0].item() > 0.05
    target[:, 6:] = IGNORE_INDEX  # ... but ignored
    assert spine_loss(logits, truth_of(target, core))[0].item() < 1e-3


def test_a_wrong_level_does_not_change_the_bone_loss():
    target = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    target[:, 2:5] = 20
    core = torch.zeros_like(target)
    neighbour = torch.where(target == 20, 21, 0)
    _, parts = spine_loss(perfect_logits(neighbour, core), truth_of(target, core))
    assert parts["bone"] < 1e-3
    assert parts["level"] > 0.5


def test_the_level_loss_grows_with_the_distance_of_levels():
    target = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    target[:, 2:5] = 12
    core = torch.zeros_like(target)
    costs = []
    for level in (12, 13, 14, 15):
        answer = torch.where(target > 0, level, 0)
        costs.append(spine_loss(perfect_logits(answer, core), truth_of(target, core))[1]["level"])
    assert costs == sorted(costs)
    assert costs[0] < 1e-3 < 4 * costs[1] <= 1.01 * costs[2]


def test_a_training_starts_from_a_model_and_refuses_other_shapes(case: Case):
    first, second = trainer(case), trainer(case, seed=9)
    second.start_from(model_of(first), "coarse")
    assert second.started_from == "first 2"
    image = torch.randn(1, 1, 16, 16, 16)
    assert torch.equal(second.network(image), first.network(image))
    assert second.step == 0
    assert second.sources == ("a source.", *first.sources)
    with pytest.raises(UserError, match="do not fit"):
        second.start_from(model_of(trainer(case, config=replace(CONFIG, state_size=4))), "coarse")


def test_offsets_point_to_the_core_in_rotated_and_scaled_patches(case: Case):
    options = PatchOptions((24, 24, 24), mirror=1.0, on_spine=1.0)
    for seed in range(3):
        patch = draw_patch(case, options, torch.Generator().manual_seed(seed))
        grid = torch.stack(torch.meshgrid(*[torch.arange(24.0)] * 3, indexing="ij"))
        for level in (20, 21, 22):
            own = patch.target == level
            if not own.any():
                continue
            ends = (grid - 11.5 + patch.offset)[:, own]
            assert ends.std(dim=1).max() < 1e-3  # all voxels of a vertebra point at one place
            core = (patch.core > 0) & own
            if core.sum() > 20 and (grid[0][own].min() > 0 and grid[0][own].max() < 23):
                middle = (grid - 11.5)[:, core].mean(dim=1)
                assert torch.linalg.norm(ends.mean(dim=1) - middle) < 2.0
    assert patch.offset[:, patch.target == 0].isnan().all()


def test_the_offset_loss_ignores_unknown_offsets():
    target = torch.full((1, 4, 4, 4), 20, dtype=torch.uint8)
    truth = truth_of(target, torch.zeros_like(target))
    truth.offset[:, :, :2] = 8.0
    logits = torch.zeros(1, 30, 4, 4, 4)
    logits[:, 27:, :2] = 1.0  # in units of eight voxels
    logits[:, 27:, 2:] = 5.0
    assert spine_loss(logits, truth)[1]["offset"] == pytest.approx(0.0)
    logits[:, 27:, 0] = 2.0
    assert spine_loss(logits, truth)[1]["offset"] == pytest.approx(0.25)


def test_a_model_without_offsets_initialises_a_network_with_them(case: Case):
    plain = trainer(case)
    rich = Trainer(replace(CONFIG, offsets=True), [case], [1.0], TrainOptions(seed=4))
    rich.start_from(model_of(plain), "coarse")
    image = torch.randn(1, 1, 16, 16, 16)
    assert torch.allclose(rich.network(image)[:, :27], plain.network(image), atol=1e-6)
    assert math.isfinite(rich.learn()["offset"])


def test_the_best_probability_of_bone_is_the_share_of_the_voxel():
    target = torch.ones(1, 4, 4, 4, dtype=torch.uint8)
    truth = truth_of(target, torch.zeros_like(target))
    costs = {}
    for share in (0.3, 0.5, 0.8):
        truth.bone.fill_(share)
        for guess in (0.1, 0.3, 0.5, 0.8, 0.9):
            logits = torch.zeros(1, 27, 4, 4, 4)
            # 25 equal levels against background
            logits[:, 0] = math.log(25) - math.log(guess / (1 - guess))
            costs[guess] = spine_loss(logits, truth)[1]["bone"]
        assert min(costs, key=costs.__getitem__) == share


def test_soft_dice_equals_a_value_calculated_by_hand():
    probability, truth = torch.tensor([1.0, 0.5, 0.0]), torch.tensor([1.0, 1.0, 0.0])
    known = torch.tensor([True, True, True])
    assert soft_dice(probability, truth, known).item() == pytest.approx((2 * 1.5 + 1) / (3.5 + 1))


def test_the_learning_rate_warms_up_and_ends_at_zero():
    assert rate_factor(0, 0.0) == pytest.approx(0.01)
    assert rate_factor(500, 0.5) == pytest.approx(0.5)
    assert rate_factor(500, 1.0) == pytest.approx(0.0)


def test_a_few_steps_on_one_patch_lower_the_loss(case: Case):
    one = trainer(case)
    batch = one.draw()
    one.draw = lambda: batch
    first = sum(one.learn().values())
    for _ in range(25):
        last = sum(one.learn().values())
    assert math.isfinite(last)
    assert last < first


NO_SYNTHESIS = SynthesisOptions(**dict.fromkeys(asdict(SynthesisOptions()), 0.0))
"""Real images with varied Hounsfield units only."""


def test_the_synthesis_options_are_saved_with_the_checkpoint(tmp_path: Path, case: Case):
    trainer(case, synthesis=NO_SYNTHESIS).save(tmp_path / "none")
    trainer(case).save(tmp_path / "default")
    for name, options in (("none", NO_SYNTHESIS), ("default", SynthesisOptions())):
        saved = read_metadata(tmp_path / name).options["synthesis"]
        assert SynthesisOptions(**saved) == options


IMAGE_STEPS = ("implants", "remapped", "blurred_real", "sharpened", "low_resolution")


@pytest.mark.parametrize("step", [*IMAGE_STEPS, "tilted_contrast", "noisy"])
def test_a_synthesis_step_with_probability_one_changes_the_image(step: str, case: Case):
    options = PatchOptions((16, 16, 16), on_spine=1.0)
    patch = draw_patch(case, options, torch.Generator().manual_seed(3))
    plain, again, changed = (
        paint(patch, torch.Generator().manual_seed(4), each)
        for each in (NO_SYNTHESIS, NO_SYNTHESIS, replace(NO_SYNTHESIS, **{step: 1.0}))
    )
    assert torch.equal(plain, again)
    assert not torch.equal(plain, changed)
