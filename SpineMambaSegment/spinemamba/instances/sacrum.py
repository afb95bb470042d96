"""The sacrum: which bone and which cores belong to it.

The sacrum has no core in training. Its bone is known by its level probability, which is compared
with that of L5, voxel by voxel. In MR this comparison is close: single voxels of L5 may be more
like the sacrum, and the first sacral body, which looks like a vertebra, may have a core. Bodies are
therefore decided as wholes: by the mean over their core, and by the cores above.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.instances.spine_coordinate import core_centroids, spine_curve

_SACRUM = NETWORK_LEVELS.index("Sacrum")

_CORES = 4
"""Number of cores by which the level of the last one is estimated: as many as a window shows."""


@dataclass(frozen=True)
class SacrumOptions:
    """Thresholds, each with its reason.

    Attributes:
        least_probability: Least probability of the sacrum. Far from it, both it and L5 are
            unlikely, and comparing the two is meaningless.
        least_ml: Least volume of a sacrum: less than any complete one.
        body_mm: Bone up to this distance from the core of the last vertebra is not sacrum, if it
            lies above the next border: a body is at most this much larger than its core, and the
            facets are further away.
        body_step: Distance of that border from the last core, relative to the step between cores.
            Less than half, because the last disc is tilted; bone near the border is decided voxel
            by voxel.
        least_last_share: Least volume of the vertebra above the sacrum, relative to the vertebra
            above it. A smaller one may be the first sacral body.
    """

    least_probability: float = 0.2
    least_ml: float = 6.0
    body_mm: float = 15.0
    body_step: float = 0.4
    least_last_share: float = 0.45


@dataclass(frozen=True)
class SacrumProbabilities:
    """Probabilities of the two levels between which the border of the sacrum lies.

    Attributes:
        sacrum: Probability of the sacrum given bone, (z, y, x).
        last_lumbar: Probability of L5 given bone, (z, y, x).
        spacing_mm: Voxel size along z, y, x.
    """

    sacrum: np.ndarray
    last_lumbar: np.ndarray
    spacing_mm: tuple[float, float, float]


def sacrum_by_voxel(
    levels: SacrumProbabilities, bone: np.ndarray, options: SacrumOptions = SacrumOptions()
) -> np.ndarray:
    """Return the largest piece of bone that is rather sacrum than L5, bool (z, y, x)."""
    # Compared with L5, because level targets are blurred over neighbouring levels in training.
    mask = bone & (levels.sacrum > levels.last_lumbar)
    mask &= levels.sacrum > options.least_probability
    return _largest_piece(mask, levels, options)


def count_sacral_cores(
    cores: np.ndarray, levels: SacrumProbabilities, options: SacrumOptions = SacrumOptions()
) -> int:
    """Return how many of the lowest cores belong to the sacrum.

    Each core votes with the mean over its voxels. Sacral cores are the last of the chain, so the
    border is where the votes of both sides are the most likely.

    Args:
        cores: Cores, numbered from head to tail, 0 elsewhere, (z, y, x).
        levels: Probabilities of the sacrum and of L5.
        options: Thresholds.
    """
    numbers = np.arange(1, int(cores.max()) + 1)
    if not len(numbers):
        return 0
    sacrum, last_lumbar = (
        np.asarray(ndimage.mean(values, cores, numbers))
        for values in (levels.sacrum, levels.last_lumbar)
    )
    share = sacrum / np.maximum(sacrum + last_lumbar, 1e-6)
    share = np.clip(np.where(sacrum > options.least_probability, share, 0.0), 1e-3, 1 - 1e-3)
    votes = np.log(share / (1 - share))
    # Sum of the votes of the last m cores, for m from 0.
    tails = np.concatenate([[0.0], np.cumsum(votes[::-1])])
    return int(tails.argmax())


def separate_sacrum(
    sacrum: np.ndarray,
    cores: np.ndarray,
    levels: SacrumProbabilities,
    options: SacrumOptions = SacrumOptions(),
) -> np.ndarray:
    """Return the mask of the sacrum with whole bodies on either side of its upper border.

    Args:
        sacrum: Result of `sacrum_by_voxel`.
        cores: Cores in all bone, numbered from head to tail, 0 elsewhere, (z, y, x).
        levels: Probabilities of the sacrum and of L5.
        options: Thresholds.

    Returns:
        bool (z, y, x): ``sacrum`` with the sacral cores, and without what is bone of the body of
        the last vertebra.
    """
    last = int(cores.max()) - count_sacral_cores(cores, levels, options)
    mask = sacrum | (cores > last)
    mask &= (cores == 0) | (cores > last)
    if last < 2 or not mask.any():
        return mask
    mask[_body_of_last(mask, cores, last, levels.spacing_mm, options)] = False
    return _largest_piece(mask, levels, options)


def _largest_piece(
    mask: np.ndarray, levels: SacrumProbabilities, options: SacrumOptions
) -> np.ndarray:
    """Return the largest piece of a mask; nothing if it is smaller than a sacrum."""
    pieces, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = ndimage.sum_labels(mask, pieces, np.arange(1, count + 1))
    if sizes.max() * np.prod(levels.spacing_mm) / 1000 < options.least_ml:
        return np.zeros_like(mask)
    return pieces == int(sizes.argmax()) + 1


def _body_of_last(
    mask: np.ndarray,
    cores: np.ndarray,
    last: int,
    spacing_mm: tuple[float, float, float],
    options: SacrumOptions,
) -> tuple[np.ndarray, ...]:
    """Return the index of the voxels of a mask in the body of the last vertebra."""
    scale = np.asarray(spacing_mm)
    box = ndimage.find_objects((cores == last).astype(np.uint8))[0]
    margin = np.ceil(options.body_mm / scale).astype(int)
    wide = tuple(
        slice(max(0, s.start - m), min(n, s.stop + m))
        for s, m, n in zip(box, margin, cores.shape, strict=True)
    )
    near = ndimage.distance_transform_edt(cores[wide] != last, scale) <= options.body_mm
    index = np.argwhere(near & mask[wide]) + [s.start for s in wide]
    if not len(index):
        return tuple(index.T)
    seeds = np.argwhere((cores > 0) & (cores <= last))
    centres_mm = core_centroids(seeds * scale, cores[tuple(seeds.T)], last)
    above = spine_curve(centres_mm).at(index * scale) < last + options.body_step
    return tuple(index[above].T)


def join_first_sacral_body(
    labels: np.ndarray,
    last: int,
    core_levels: np.ndarray,
    options: SacrumOptions = SacrumOptions(),
) -> None:
    """Merge the first sacral body into the sacrum if it became an instance, in place.

    An instance grown from it ends where voxels are like the sacrum, and so is much smaller than an
    L5 or L6. So is an L5 of which voxels are like the sacrum, but then the vertebrae above are L4,
    L3 and so on, and not L5, L4.

    Args:
        labels: Instance number of each voxel; the sacrum has the number ``last + 1``.
        last: Number of the last vertebra above the sacrum.
        core_levels: Expected level of the core of each vertebra, as index in `NETWORK_LEVELS`,
            (last,).
        options: Thresholds.
    """
    sizes = np.bincount(labels.ravel(), minlength=last + 2)
    if last < 2 or sizes[last] >= options.least_last_share * sizes[last - 1]:
        return
    # What the level of the last core would be by each core, itself included.
    levels = core_levels + np.arange(last)[::-1]
    if float(np.mean(levels[-_CORES:])) >= _SACRUM - 0.5:
        labels[labels == last] = last + 1
