"""The last phase of a training, and the weights of the loss."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import lumbar_case, trainer

from spinemamba.training.data.dataset import Case
from spinemamba.training.data.origin import Origin
from spinemamba.training.data.patches import PatchOptions
from spinemamba.training.loss import LossWeights, Targets, spine_loss
from spinemamba.training.phases import LastPhase, last_phase
from spinemamba.training.synthesis.options import DEFAULT_SYNTHESIS


@pytest.fixture(scope="module")
def phantom() -> Case:
    return lumbar_case()


def of_kind(case: Case, kind: str) -> Case:
    return replace(case, origin=Origin(kind, "a source"))


@pytest.mark.parametrize(
    ("done", "strength"), [(0.0, 1.0), (0.79, 1.0), (0.86, 0.5), (0.92, 0.0), (1.0, 0.0)]
)
def test_changes_to_images_fade_out_in_the_last_phase(done: float, strength: float):
    assert LastPhase(0.8).strength(done) == pytest.approx(strength)
    assert LastPhase().strength(done) == 1.0


def test_without_changes_images_and_patches_are_as_they_are():
    plain = PatchOptions((8, 8, 8), thick=0.5).weakened(0.0)
    assert (plain.turned, plain.scaled, plain.thick, plain.bend_mm, plain.variant) == (0,) * 5
    assert plain.mirror == 0.5  # a mirrored patient is a patient
    synthesis = DEFAULT_SYNTHESIS.weakened(0.0)
    assert (synthesis.noisy, synthesis.remapped, synthesis.varied, synthesis.painted) == (0,) * 4
    assert synthesis.ct == DEFAULT_SYNTHESIS.ct
    assert DEFAULT_SYNTHESIS.weakened(1.0) == DEFAULT_SYNTHESIS


def test_painted_cases_are_drawn_less_often_in_the_last_phase(phantom: Case):
    kinds = ("complete", "part", "user", "body", "composed", "phantom", "mask")
    cases = [of_kind(phantom, kind) for kind in kinds]
    phase, weights = LastPhase(0.8, painted=0.25), torch.ones(len(kinds))
    assert torch.equal(phase.case_weights(weights, cases, 0.79), weights)
    assert phase.case_weights(weights, cases, 0.8).tolist() == [1, 1, 1, 0.25, 0.25, 0.25, 0.25]


def test_dice_weighs_less_in_the_last_phase():
    phase, weights = LastPhase(0.8, dice=0.3), LossWeights(dice=1.0)
    assert phase.loss_weights(weights, 0.5) == weights
    assert phase.loss_weights(weights, 0.9).dice == pytest.approx(0.3)


def test_without_real_images_there_is_no_last_phase(phantom: Case):
    options = LastPhase(0.5)
    assert last_phase(options, [phantom, of_kind(phantom, "body")]) == LastPhase()
    assert last_phase(options, [phantom, of_kind(phantom, "part")]) == options


@pytest.mark.parametrize("order", ["sequence", "numbered"])
def test_a_training_ends_with_real_images_as_they_are(phantom: Case, order: str, tmp_path: Path):
    def drawn(start: float) -> torch.Tensor:
        options = {"last_phase": LastPhase(start), "seed": 2, "order": order}
        one, resumed = (trainer(of_kind(phantom, "complete"), **options) for _ in "ab")
        one.step = 999
        one.save(tmp_path)
        assert resumed.resume(tmp_path)
        return resumed.draw()[0]

    plain, varied = drawn(0.1), drawn(1.0)
    assert not torch.equal(plain, varied)
    assert plain.max() <= 1.0  # neither noise nor sharpening exceeds the window
    assert plain.min() >= -1.0


def bone_cost(guess: torch.Tensor, truth: Targets, weights: LossWeights) -> float:
    logits = torch.zeros(1, 27, *guess.shape[1:])
    logits[:, 0] = math.log(25) - guess.logit(1e-4)
    return spine_loss(logits, truth, weights)[1]["bone"]


def half_bone() -> Targets:
    target = torch.zeros(1, 12, 12, 12, dtype=torch.uint8)
    target[:, :6] = 20
    beside = torch.zeros_like(target)
    beside[:, 9:] = 1
    offset = torch.full((1, 3, *target.shape[1:]), torch.nan)
    return Targets(target, (target > 0).float(), torch.zeros_like(target), offset, beside)


@pytest.mark.parametrize(
    ("rows", "weights"),
    [(slice(5, 7), LossWeights(surface=4.0)), (slice(9, 12), LossWeights(beside=4.0))],
)
def test_errors_at_surfaces_and_in_ribs_cost_more(rows: slice, weights: LossWeights):
    truth = half_bone()
    guess = truth.bone * 0.98 + 0.01
    guess[:, rows] = 0.5
    usual = bone_cost(guess, truth, LossWeights())
    assert bone_cost(guess, truth, weights) > 1.1 * usual
    elsewhere = truth.bone * 0.98 + 0.01
    elsewhere[:, :2] = 0.5
    assert bone_cost(elsewhere, truth, weights) < bone_cost(elsewhere, truth, LossWeights())


def test_without_dice_the_cross_entropy_counts_twice():
    truth = half_bone()
    guess = truth.bone * 0.6 + 0.2
    both, entropy = (bone_cost(guess, truth, LossWeights(dice=d)) for d in (1.0, 0.0))
    assert entropy == pytest.approx(-2 * math.log(0.8), rel=0.02)
    assert both > entropy / 2
