"""What the network is asked for: whole bones, body cores, and the level of each bone voxel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.network.config import CORE, OFFSET_UNIT_VOX
from spinemamba.training.data.dataset import UNKNOWN

NEAR_BONE_WEIGHT = 3.0
"""Weight of voxels within two voxels of bone: discs, canal and facet joints are thin."""

LEVEL_SPREAD = 0.8
"""Levels are an order, not a list: T7 called T8 is nearly right. A truth spread over the neighbours
says so, and teaches levels that a small bank rarely shows."""


@dataclass(frozen=True)
class Truth:
    """What a network shall answer for a batch.

    Attributes:
        target: Network channel of each voxel, (B, D, H, W), `bank.UNKNOWN` left out.
        core: Core mask, (B, D, H, W), 0 or 1.
        offset: Way to the centre of the core in voxels, (B, 3, D, H, W), NaN left out.
    """

    target: Tensor
    core: Tensor
    offset: Tensor


def spine_loss(
    logits: Tensor, truth: Truth, level_weight: float = 1.0
) -> tuple[Tensor, dict[str, float]]:
    """Return the training loss and its parts.

    The probability of bone is one minus background, whatever the level; level and offset count
    only where bone is.

    Args:
        logits: (B, 27 or 30, D, H, W): background, 25 levels, core, and maybe the offset.
        truth: What they should be.
        level_weight: Weight of the levels; of the other parts it is 1.

    Returns:
        The scalar loss, and the value of each part by name.
    """
    target, core = truth.target, truth.core
    known = target != UNKNOWN
    bone = (target > 0) & known
    weight = known * (1 + (NEAR_BONE_WEIGHT - 1) * _near(bone))
    levels = logits[:, :CORE].float()
    bone_logit = levels[:, 1:].logsumexp(dim=1) - levels[:, 0]  # (B, D, H, W)
    parts = {
        "bone": _mask_loss(bone_logit, bone.float(), weight),
        "core": _mask_loss(logits[:, CORE].float(), core.float(), weight),
        "level": _level_loss(levels[:, 1:], target, bone),
    }
    if logits.shape[1] > CORE + 1:
        parts["offset"] = _offset_loss(logits[:, CORE + 1 :].float(), truth.offset, bone)
    total = sum(parts.values()) + (level_weight - 1) * parts["level"]
    return total, {name: float(value.detach()) for name, value in parts.items()}


def _mask_loss(logit: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return weighted cross-entropy plus one minus soft Dice of a mask."""
    entropy = functional.binary_cross_entropy_with_logits(logit, truth, weight, reduction="sum")
    dice = soft_dice(logit.sigmoid(), truth, weight > 0)
    return entropy / weight.sum().clamp_min(1) + 1 - dice


def _level_loss(levels: Tensor, target: Tensor, bone: Tensor) -> Tensor:
    """Return the divergence from the spread-out level, over bone voxels; 0 if there are none."""
    if not bone.any():
        return levels.sum() * 0
    chosen = levels.movedim(1, -1)[bone].log_softmax(dim=-1)  # (voxels, 25)
    truth = spread_levels(levels.shape[1]).to(chosen.device)[target[bone].long() - 1]
    return functional.kl_div(chosen, truth, reduction="batchmean")


def _offset_loss(offset: Tensor, truth: Tensor, bone: Tensor) -> Tensor:
    """Return the mean Huber distance from the true offset, over bone voxels where it is known."""
    known = bone & truth.isfinite().all(dim=1)
    if not known.any():
        return offset.sum() * 0
    found = offset.movedim(1, -1)[known]
    return functional.smooth_l1_loss(found, truth.movedim(1, -1)[known] / OFFSET_UNIT_VOX)


def spread_levels(count: int) -> Tensor:
    """Return the truth to learn for each level, (count, count): most on itself, some beside it."""
    place = torch.arange(count, dtype=torch.float32)
    return (-0.5 * ((place[:, None] - place[None]) / LEVEL_SPREAD) ** 2).softmax(dim=-1)


def _near(mask: Tensor) -> Tensor:
    """Return the mask grown by two voxels, float32."""
    return functional.max_pool3d(mask.float()[:, None], 5, stride=1, padding=2)[:, 0]


def soft_dice(probability: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Return the soft Dice score over the known voxels of a batch, in [0, 1].

    1 if nothing is true and nothing is predicted: one voxel is added to both sides.
    """
    probability, truth = probability * known, truth * known
    overlap = (probability * truth).sum()
    return (2 * overlap + 1) / (probability.sum() + truth.sum() + 1)
