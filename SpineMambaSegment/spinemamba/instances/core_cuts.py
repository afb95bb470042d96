"""Core segmentation along the centre line.

If discs are thin, the cores of neighbouring vertebrae merge, and no single threshold separates all
of them. Along the centre line, however, the amount of core rises and falls once per vertebra, and
the heights of successive vertebrae change slowly. Dynamic programming along the line finds the
best cuts. A cut costs in proportion to the amount of core at it. A segment between two cuts is
expensive if its core profile has a valley, or if its length differs from the previous one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.imaging.centreline import CentreLine


@dataclass(frozen=True)
class CoreCutOptions:
    """Thresholds and costs, each with its reason.

    Attributes:
        core_threshold: Least core probability of a seed. Lower than elsewhere, because the cuts
            separate what merges at a low threshold.
        clear_log_odds: Log odds of the core probability are limited to this value: higher ones do
            not help to locate the ends of vertebrae.
        off_line_mm: Core voxels further from the centre line are ignored; the lateral masses of
            C1 are 20 mm away from it.
        length_limits_mm: Least and greatest distance from disc to disc, from the neck of a child to
            the lumbar spine of a tall man with a wide disc.
        cut_cost: Cost of a cut through the maximum of the normalised core profile.
        valley_cost: Cost of a valley within a segment, per unit of the normalised core profile.
        length_ratio_spread: Standard deviation of the logarithm of the ratio of successive
            lengths. The means of VerSe give 0.08; single patients vary more.
        most_ratio_cost: Upper limit of the cost of a change in length, because of fractures and
            missed cores.
        usual_length_mm: Median length of a complete vertebra.
        length_spread: Standard deviation of the logarithm of the length.
        whole_share: A component of core is not cut if at least this share lies in one segment.
    """

    core_threshold: float = 0.3
    clear_log_odds: float = 6.0
    off_line_mm: float = 28.0
    length_limits_mm: tuple[int, int] = (8, 48)
    cut_cost: float = 5.0
    valley_cost: float = 8.0
    length_ratio_spread: float = 0.2
    most_ratio_cost: float = 4.0
    usual_length_mm: float = 24.0
    length_spread: float = 0.5
    whole_share: float = 0.75


def segment_cores(
    core: np.ndarray,
    line: CentreLine,
    spacing_mm: tuple[float, float, float],
    options: CoreCutOptions = CoreCutOptions(),
) -> np.ndarray:
    """Number the cores of the vertebrae from head to tail.

    Args:
        core: Core probability, (z, y, x), canonical orientation.
        line: Centre line.
        spacing_mm: Voxel size along z, y, x.
        options: Thresholds and costs.

    Returns:
        Core number of each voxel, from 1; 0 is background; int32 (z, y, x).
    """
    out = np.zeros(core.shape, np.int32)
    voxels = np.argwhere(core > options.core_threshold)
    along, distance = line.project(voxels * np.asarray(spacing_mm))
    near = distance <= options.off_line_mm
    voxels, along = voxels[near], along[near]
    if not len(voxels):
        return out
    probability = core[tuple(voxels.T)].astype(np.float64)
    first = int(along.min())
    position = along.astype(int) - first
    profile = _core_profile(probability, position, options.clear_log_odds)
    ends = first + np.array(find_cuts(profile, options))
    piece = np.searchsorted(ends, along, side="right")
    out[tuple(voxels.T)] = piece
    return _whole_components(out, core, len(ends), options.whole_share)


def _core_profile(
    probability: np.ndarray, position: np.ndarray, clear_log_odds: float
) -> np.ndarray:
    """Return the amount of core per millimetre of the centre line, relative to the local maximum.

    Args:
        probability: Core probability of each voxel, (n,).
        position: Position of each voxel along the line in whole millimetres, from 0, (n,).
        clear_log_odds: Upper limit of the log odds.
    """
    odds = np.log(probability) - np.log1p(-np.minimum(probability, 1 - 1e-6))
    weight = np.clip(odds / clear_log_odds, 0.05, 1.0)
    amount = np.bincount(position, weights=weight)
    smooth = ndimage.gaussian_filter1d(np.pad(amount, 3), 1.2)[3:-3]
    around = ndimage.maximum_filter1d(smooth, 41)
    return smooth / np.maximum(around, 1e-6)


def find_cuts(profile: np.ndarray, options: CoreCutOptions) -> list[int]:
    """Return the starts of the segments of a core profile, in millimetres; the first is 0.

    The state of the dynamic programme is the end of a segment and its length.
    """
    low, high = options.length_limits_mm
    lengths = np.arange(low, high + 1)
    size = len(profile)
    if size <= low:
        return [0]
    steps = _length_steps(lengths, options)
    absolute = 0.5 * (np.log(lengths / options.usual_length_mm) / options.length_spread) ** 2
    cost = np.full((size + high + 1, len(lengths)), np.inf)
    origin = np.full(cost.shape, -1)
    padded = np.pad(profile, (0, high))
    for start in range(size):
        if start == 0:
            # The first vertebra may be truncated, so there is no previous length to compare with.
            previous, best = np.zeros(len(lengths)), np.full(len(lengths), -1)
        else:
            table = cost[start][:, None] + steps  # (previous lengths, lengths)
            best = table.argmin(axis=0)
            previous = table[best, np.arange(len(lengths))] + options.cut_cost * profile[start]
        inside = options.valley_cost * _valleys(padded[start : start + high + 1], lengths)
        total = previous + inside + absolute
        ends = start + lengths
        cost[ends, np.arange(len(lengths))] = total
        origin[ends, np.arange(len(lengths))] = best
    return _trace(cost, origin, lengths, size)


def _length_steps(lengths: np.ndarray, options: CoreCutOptions) -> np.ndarray:
    """Return the cost of each length after each previous length, (previous, next)."""
    ratio = np.log(lengths[None, :] / lengths[:, None]) / options.length_ratio_spread
    return np.minimum(0.5 * ratio**2, options.most_ratio_cost)


def _valleys(window: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the depth of the deepest valley in segments that begin at the start of the window.

    Args:
        window: Core profile from the common start of the segments.
        lengths: Lengths of the segments.

    Returns:
        Depth of the profile below the lower one of the maxima on both sides, (lengths,).
    """
    from_left = np.maximum.accumulate(window)
    depths = np.empty(len(lengths))
    for k, length in enumerate(lengths):
        piece = window[:length]
        from_right = np.maximum.accumulate(piece[::-1])[::-1]
        depths[k] = (np.minimum(from_left[:length], from_right) - piece).max()
    return depths


def _trace(cost: np.ndarray, origin: np.ndarray, lengths: np.ndarray, size: int) -> list[int]:
    """Return the starts of the segments with the least total cost that cover the profile."""
    last = cost[size:]
    end, k = np.unravel_index(int(np.argmin(last)), last.shape)
    end += size
    starts = []
    while k >= 0:
        start = int(end - lengths[k])
        starts.append(start)
        end, k = start, origin[end, k]
    return starts[::-1]


def _whole_components(
    pieces: np.ndarray, core: np.ndarray, count: int, whole_share: float
) -> np.ndarray:
    """Undo cuts through components that lie almost entirely in one segment, in place.

    Such cuts arise because discs are tilted and cuts are perpendicular to the centre line.
    """
    components, component_count = ndimage.label(pieces > 0)
    inside = pieces > 0
    both = components[inside].astype(np.int64) * (count + 1) + pieces[inside]
    shape = (component_count + 1, count + 1)
    shares = np.bincount(both, core[inside], shape[0] * shape[1]).reshape(shape)
    shares[:, 0] = 0
    main = shares.argmax(axis=1)
    clear = shares.max(axis=1) >= whole_share * np.maximum(shares.sum(axis=1), 1e-6)
    whole = inside & clear[components]
    pieces[whole] = main[components[whole]]
    return pieces
