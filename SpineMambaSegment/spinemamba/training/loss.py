"""What the network is asked for: the right level of each voxel, whole bones, body cores."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.training.bank import UNKNOWN


def spine_loss(logits: Tensor, target: Tensor, core: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Return the training loss and its parts.

    Cross-entropy over background and levels, soft Dice of every level in the patch, soft Dice
    of bone against background (which is what a wrong level must not spoil), and cross-entropy
    plus Dice of the body cores.

    Args:
        logits: (B, 27, D, H, W): background, 25 levels, core.
        target: Network channel of each voxel, (B, D, H, W), `bank.UNKNOWN` left out.
        core: Core mask, (B, D, H, W), 0 or 1.

    Returns:
        The scalar loss, and the value of each part by name.
    """
    known = target != UNKNOWN
    classes = target.long().masked_fill(~known, 0)
    levels = logits[:, :-1].float()
    entropy = functional.cross_entropy(levels, classes, reduction="none")
    entropy = (entropy * known).sum() / known.sum().clamp_min(1)
    probability = levels.softmax(dim=1)
    bone_dice = soft_dice(1 - probability[:, 0], (classes > 0).float(), known)
    present = [int(k) for k in torch.unique(classes) if k > 0]
    level_dice = bone_dice.new_zeros(())
    if present:
        scores = [soft_dice(probability[:, k], (classes == k).float(), known) for k in present]
        level_dice = torch.stack(scores).mean()
    core_logit, core_truth = logits[:, -1].float(), core.float()
    core_entropy = functional.binary_cross_entropy_with_logits(
        core_logit, core_truth, reduction="none"
    )
    core_entropy = (core_entropy * known).sum() / known.sum().clamp_min(1)
    core_dice = soft_dice(core_logit.sigmoid(), core_truth, known)
    parts = {
        "entropy": entropy,
        "bone": 1 - bone_dice,
        "levels": 1 - level_dice if present else level_dice,
        "core": core_entropy + 1 - core_dice,
    }
    total = entropy + parts["bone"] + 0.5 * parts["levels"] + 0.5 * parts["core"]
    return total, {name: float(value.detach()) for name, value in parts.items()}


def soft_dice(probability: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Return the soft Dice score over the known voxels of a batch, in [0, 1].

    1 if nothing is true and nothing is predicted: one voxel is added to both sides.
    """
    probability, truth = probability * known, truth * known
    overlap = (probability * truth).sum()
    return (2 * overlap + 1) / (probability.sum() + truth.sum() + 1)
