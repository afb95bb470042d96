"""Training targets and loss: vertebral bone, cores, the level of each bone voxel, offsets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

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
        bone: Share of each voxel that is bone, (B, D, H, W), from 0 to 1.
        core: Core mask, (B, D, H, W), 0 or 1.
        offset: Offset to the centre of the core in voxels, (B, 3, D, H, W); NaN is left out.
        beside: Mask of other bones near the spine, (B, D, H, W); None if they are not known.
        core_known: Mask of the voxels in which the core is known, (B, D, H, W); None if these are
            the voxels with a known target.
    """

    target: Tensor
    bone: Tensor
    core: Tensor
    offset: Tensor
    beside: Tensor | None = None
    core_known: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> Targets:
        """Return the targets with each tensor changed by a function."""
        every = {f.name: getattr(self, f.name) for f in fields(self)}
        return Targets(**{name: None if t is None else change(t) for name, t in every.items()})


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of the loss.

    Attributes:
        level: Weight of the level loss.
        core: Weights of the losses of cores and of offsets.
        surface: Additional weight of voxels at the surface of bone, in the loss of bone.
        beside: Additional weight of voxels of other bones near the spine, such as heads of ribs.
        dice: Weight of Dice in the loss of bone, from 0 to 1; that of the cross-entropy is 2 minus
            it. Dice finds small structures, but where the network is unsure it enlarges them.
    """

    level: float = 1.0
    core: float = 1.0
    surface: float = 0.0
    beside: float = 0.0
    dice: float = 1.0


DEFAULT_WEIGHTS = LossWeights()


def spine_loss(
    logits: Tensor, targets: Targets, weights: LossWeights = DEFAULT_WEIGHTS
) -> tuple[Tensor, dict[str, float]]:
    """Return the training loss and its parts.

    The probability of bone is one minus that of background, for any level. Level and offset are
    evaluated in bone only.

    Args:
        logits: (B, 27 or 30, D, H, W): background, 25 levels, core, and optionally the offset.
        targets: Desired outputs.
        weights: Weights of the parts.

    Returns:
        The scalar loss, and the value of each part by name.
    """
    target, core = targets.target, targets.core
    known = target != IGNORE_INDEX
    bone = (target > 0) & known
    factor = 1 + (_NEAR_BONE_WEIGHT - 1) * _dilated(bone)
    near = known * factor
    near_core = near if targets.core_known is None else targets.core_known * factor
    levels = logits[:, :CORE].float()
    bone_logit = levels[:, 1:].logsumexp(dim=1) - levels[:, 0]  # (B, D, H, W)
    parts = {
        "bone": _share_loss(
            bone_logit, targets.bone, _bone_weight(near, targets, weights), weights
        ),
        "core": _mask_loss(logits[:, CORE].float(), core.float(), near_core),
        "level": _level_loss(levels[:, 1:], target, bone),
    }
    if logits.shape[1] > CORE + 1:
        parts["offset"] = _offset_loss(logits[:, CORE + 1 :].float(), targets.offset, bone)
    factors = {"core": weights.core, "offset": weights.core, "level": weights.level}
    total = sum(factors.get(name, 1.0) * value for name, value in parts.items())
    return total, {name: float(value.detach()) for name, value in parts.items()}


def _bone_weight(near: Tensor, targets: Targets, weights: LossWeights) -> Tensor:
    """Return the weight of each voxel in the loss of bone, given that near bone."""
    known = near > 0
    out = near
    if weights.surface:
        share = targets.bone[:, None]
        high, low = (functional.max_pool3d(s, 3, 1, 1)[:, 0] for s in (share, -share))
        out = out + weights.surface * (known & (high + low > 0.5))
    if weights.beside and targets.beside is not None:
        out = out + weights.beside * (known & (targets.beside > 0))
    return out


def _share_loss(logit: Tensor, share: Tensor, weight: Tensor, weights: LossWeights) -> Tensor:
    """Return weighted cross-entropy and one minus Dice of the share of each voxel.

    With squares in the denominator, both parts are smallest where the probability is the share:
    plain soft Dice would drive it to 0 or 1, and the surface to the nearest voxel.
    """
    entropy = functional.binary_cross_entropy_with_logits(logit, share, weight, reduction="sum")
    entropy = entropy / weight.sum().clamp_min(1)
    probability, share = logit.sigmoid() * (weight > 0), share * (weight > 0)
    overlap, squares = (probability * share).sum(), (probability**2 + share**2).sum()
    dice = (2 * overlap + 1) / (squares + 1)
    return entropy * (2 - weights.dice) + (1 - dice) * weights.dice


def patch_mean_loss(
    logits: Tensor, targets: Targets, weights: LossWeights = DEFAULT_WEIGHTS
) -> tuple[Tensor, dict[str, float]]:
    """Return the mean of `spine_loss` over the patches of a batch, and that of its parts.

    A mean over patches is the same however they are divided into batches and processes; the shares
    and Dice scores of `spine_loss` over a whole batch are not.

    Args:
        logits: As in `spine_loss`.
        targets: Desired outputs.
        weights: Weights of the parts.
    """
    count = len(logits)
    if count == 1:
        return spine_loss(logits, targets, weights)
    total, sums = logits.new_zeros(()), {}
    for k in range(count):
        one = slice(k, k + 1)
        loss, parts = spine_loss(logits[one], targets.each(lambda t, one=one: t[one]), weights)
        total = total + loss / count
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + value / count
    return total, sums


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
    soft_targets = soft_level_targets(levels.shape[1], levels.device)[target[bone].long() - 1]
    return functional.kl_div(log_probability, soft_targets, reduction="batchmean")


def _offset_loss(offset: Tensor, target: Tensor, bone: Tensor) -> Tensor:
    """Return the mean Huber loss of the offset over bone voxels with a finite target."""
    known = bone & target.isfinite().all(dim=1)
    if not known.any():
        return offset.sum() * 0
    predicted = offset.movedim(1, -1)[known]
    return functional.smooth_l1_loss(predicted, target.movedim(1, -1)[known] / OFFSET_UNIT_VOX)


def soft_level_targets(count: int, device: torch.device | None = None) -> Tensor:
    """Return a distribution over levels for each level, (count, count), by `_LEVEL_SPREAD`."""
    index = torch.arange(count, dtype=torch.float32, device=device)
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
