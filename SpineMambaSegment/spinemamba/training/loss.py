"""Training targets and loss: vertebral bone, cores, the level of each bone voxel, offsets."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.network.config import CORE, OFFSET_UNIT_VOX
from spinemamba.training.data.dataset import IGNORE_INDEX

_NEAR_BONE_WEIGHT = 3.0
"""Weight of voxels within two voxels of bone: discs, canal and facet joints are thin."""

_LEVEL_SPREAD = 0.8
"""Standard deviation, in levels, of the soft targets. Levels are ordinal: T8 instead of T7 is a
small error. Soft targets express that, and train levels that are rare in a small dataset."""


@dataclass(frozen=True)
class Targets:
    """Desired network outputs for a batch.

    Attributes:
        target: Network channel of each voxel, (B, D, H, W); `IGNORE_INDEX` is left out.
        core: Core mask, (B, D, H, W), 0 or 1.
        offset: Offset to the centre of the core in voxels, (B, 3, D, H, W); NaN is left out.
    """

    target: Tensor
    core: Tensor
    offset: Tensor


def spine_loss(
    logits: Tensor, targets: Targets, level_weight: float = 1.0
) -> tuple[Tensor, dict[str, float]]:
    """Return the training loss and its parts.

    The probability of bone is one minus that of background, for any level. Level and offset are
    evaluated in bone only.

    Args:
        logits: (B, 27 or 30, D, H, W): background, 25 levels, core, and optionally the offset.
        targets: Desired outputs.
        level_weight: Weight of the level loss; the other parts have weight 1.

    Returns:
        The scalar loss, and the value of each part by name.
    """
    target, core = targets.target, targets.core
    known = target != IGNORE_INDEX
    bone = (target > 0) & known
    weight = known * (1 + (_NEAR_BONE_WEIGHT - 1) * _dilated(bone))
    levels = logits[:, :CORE].float()
    bone_logit = levels[:, 1:].logsumexp(dim=1) - levels[:, 0]  # (B, D, H, W)
    parts = {
        "bone": _mask_loss(bone_logit, bone.float(), weight),
        "core": _mask_loss(logits[:, CORE].float(), core.float(), weight),
        "level": _level_loss(levels[:, 1:], target, bone),
    }
    if logits.shape[1] > CORE + 1:
        parts["offset"] = _offset_loss(logits[:, CORE + 1 :].float(), targets.offset, bone)
    total = sum(parts.values()) + (level_weight - 1) * parts["level"]
    return total, {name: float(value.detach()) for name, value in parts.items()}


def _mask_loss(logit: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Return weighted cross-entropy plus one minus soft Dice of a mask."""
    entropy = functional.binary_cross_entropy_with_logits(logit, mask, weight, reduction="sum")
    dice = soft_dice(logit.sigmoid(), mask, weight > 0)
    return entropy / weight.sum().clamp_min(1) + 1 - dice


def _level_loss(levels: Tensor, target: Tensor, bone: Tensor) -> Tensor:
    """Return the mean KL divergence from the soft targets over bone voxels; 0 without bone."""
    if not bone.any():
        return levels.sum() * 0
    log_probability = levels.movedim(1, -1)[bone].log_softmax(dim=-1)  # (voxels, 25)
    soft_targets = soft_level_targets(levels.shape[1]).to(levels.device)[target[bone].long() - 1]
    return functional.kl_div(log_probability, soft_targets, reduction="batchmean")


def _offset_loss(offset: Tensor, target: Tensor, bone: Tensor) -> Tensor:
    """Return the mean Huber loss of the offset over bone voxels with a finite target."""
    known = bone & target.isfinite().all(dim=1)
    if not known.any():
        return offset.sum() * 0
    predicted = offset.movedim(1, -1)[known]
    return functional.smooth_l1_loss(predicted, target.movedim(1, -1)[known] / OFFSET_UNIT_VOX)


def soft_level_targets(count: int) -> Tensor:
    """Return a distribution over levels for each level, (count, count), by `_LEVEL_SPREAD`."""
    index = torch.arange(count, dtype=torch.float32)
    return (-0.5 * ((index[:, None] - index[None]) / _LEVEL_SPREAD) ** 2).softmax(dim=-1)


def _dilated(mask: Tensor) -> Tensor:
    """Return the mask dilated by two voxels, float32."""
    return functional.max_pool3d(mask.float()[:, None], 5, stride=1, padding=2)[:, 0]


def soft_dice(probability: Tensor, mask: Tensor, known: Tensor) -> Tensor:
    """Return the soft Dice score over the known voxels of a batch, in [0, 1].

    One voxel is added to the numerator and the denominator, so that the score of an empty
    prediction for an empty mask is 1.
    """
    probability, mask = probability * known, mask * known
    overlap = (probability * mask).sum()
    return (2 * overlap + 1) / (probability.sum() + mask.sum() + 1)
