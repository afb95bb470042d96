"""Cut the chain of body cores into vertebrae.

Where discs are thin, the cores of neighbours run into each other, and no threshold parts them all.
Along the centre line the amount of core still rises and falls with every vertebra, and vertebrae
follow each other at distances that change slowly. A dynamic programme over the line finds the cuts:
a cut costs where there is much core, a piece costs where it has a valley inside or a length unlike
the one before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.imaging.centreline import CentreLine

CORE_THRESHOLD = 0.3
CLEAR_LOG_ODDS = 6.0
"""A network this sure is sure; more says nothing about where vertebrae end."""


@dataclass(frozen=True)
class ChainOptions:
    """Weights, each with its reason.

    Attributes:
        off_line_mm: Cores further from the centre line are none; the lateral masses of C1 lie
            20 mm from it.
        lengths_mm: Shortest and longest distance from disc to disc, child's neck to tall man's
            lumbar spine with a wide disc.
        cut: Cost of a cut through as much core as a body has.
        valley: Cost of a valley as deep as a body is high inside a piece.
        ratio: Usual spread of the logarithm of the ratio of successive lengths; measured 0.08 on
            the means of VerSe, more in single patients.
        worst_ratio: No step in length costs more: fractures and missed cores exist.
        usual_mm: Middle of the lengths of whole vertebrae, and their spread as a logarithm.
    """

    off_line_mm: float = 28.0
    lengths_mm: tuple[int, int] = (8, 48)
    cut: float = 5.0
    valley: float = 8.0
    ratio: float = 0.2
    worst_ratio: float = 4.0
    usual_mm: tuple[float, float] = (24.0, 0.5)


def cut_chain(
    core: np.ndarray,
    line: CentreLine,
    spacing_mm: tuple[float, float, float],
    options: ChainOptions | None = None,
) -> np.ndarray:
    """Number the cores of the vertebrae from head to tail.

    Args:
        core: Probability of body core, (z, y, x), canonical orientation.
        line: The centre line.
        spacing_mm: Voxel size along z, y, x.
        options: Weights.

    Returns:
        Numbers from 1, 0 elsewhere, int32 (z, y, x).
    """
    options = options or ChainOptions()
    out = np.zeros(core.shape, np.int32)
    voxels = np.argwhere(core > CORE_THRESHOLD)
    along, aside = line.project(voxels * np.asarray(spacing_mm))
    near = aside <= options.off_line_mm
    voxels, along = voxels[near], along[near]
    if not len(voxels):
        return out
    probability = core[tuple(voxels.T)].astype(np.float64)
    first = int(along.min())
    place = along.astype(int) - first
    profile = core_profile(probability, place)
    ends = first + np.array(find_cuts(profile, options))
    piece = np.searchsorted(ends, along, side="right")
    out[tuple(voxels.T)] = piece
    return _whole_components(out, core, len(ends))


def core_profile(probability: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return the amount of core at each millimetre of the line, as a share of the most nearby.

    Args:
        probability: Of each voxel, (n,).
        place: Millimetre of the line that each voxel lies at, from 0, (n,).
    """
    odds = np.log(probability) - np.log1p(-np.minimum(probability, 1 - 1e-6))
    weight = np.clip(odds / CLEAR_LOG_ODDS, 0.05, 1.0)
    amount = np.bincount(place, weights=weight)
    smooth = ndimage.gaussian_filter1d(np.pad(amount, 3), 1.2)[3:-3]
    around = ndimage.maximum_filter1d(smooth, 41)
    return smooth / np.maximum(around, 1e-6)


def find_cuts(profile: np.ndarray, options: ChainOptions) -> list[int]:
    """Return where the pieces of a profile begin, in millimetres; the first is 0.

    The state of the dynamic programme is the end of a piece and its length.
    """
    low, high = options.lengths_mm
    lengths = np.arange(low, high + 1)
    size = len(profile)
    if size <= low:
        return [0]
    steps = _length_steps(lengths, options)
    usual, spread = options.usual_mm
    absolute = 0.5 * (np.log(lengths / usual) / spread) ** 2
    cost = np.full((size + high + 1, len(lengths)), np.inf)
    origin = np.full(cost.shape, -1)
    padded = np.pad(profile, (0, high))
    for start in range(size):
        if start == 0:
            # The image may cut the first vertebra: its length says nothing yet.
            before, came = np.zeros(len(lengths)), np.full(len(lengths), -1)
        else:
            table = cost[start][:, None] + steps  # (lengths before, lengths)
            came = table.argmin(axis=0)
            before = table[came, np.arange(len(lengths))] + options.cut * profile[start]
        inside = options.valley * _valleys(padded[start : start + high + 1], lengths)
        total = before + inside + absolute
        ends = start + lengths
        cost[ends, np.arange(len(lengths))] = total
        origin[ends, np.arange(len(lengths))] = came
    return _trace(cost, origin, lengths, size)


def _length_steps(lengths: np.ndarray, options: ChainOptions) -> np.ndarray:
    """Return the cost of one length after another, (before, after)."""
    ratio = np.log(lengths[None, :] / lengths[:, None]) / options.ratio
    return np.minimum(0.5 * ratio**2, options.worst_ratio)


def _valleys(window: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the depth of the deepest valley inside pieces that begin at the window's start.

    Args:
        window: Profile from the start of the pieces on.
        lengths: Lengths of the pieces.

    Returns:
        How far the profile falls below the lower one of the peaks on its two sides, (lengths,).
    """
    from_left = np.maximum.accumulate(window)
    depths = np.empty(len(lengths))
    for k, length in enumerate(lengths):
        piece = window[:length]
        from_right = np.maximum.accumulate(piece[::-1])[::-1]
        depths[k] = (np.minimum(from_left[:length], from_right) - piece).max()
    return depths


def _trace(cost: np.ndarray, origin: np.ndarray, lengths: np.ndarray, size: int) -> list[int]:
    """Return the starts of the best pieces that together cover the profile."""
    last = cost[size:]
    end, k = np.unravel_index(int(np.argmin(last)), last.shape)
    end += size
    starts = []
    while k >= 0:
        start = int(end - lengths[k])
        starts.append(start)
        end, k = start, origin[end, k]
    return starts[::-1]


def _whole_components(pieces: np.ndarray, core: np.ndarray, count: int) -> np.ndarray:
    """Leave components whole that lie almost in one piece: discs are tilted, cuts are not."""
    components, found = ndimage.label(pieces > 0)
    inside = pieces > 0
    both = components[inside].astype(np.int64) * (count + 1) + pieces[inside]
    shares = np.bincount(both, core[inside], (found + 1) * (count + 1)).reshape(
        found + 1, count + 1
    )
    shares[:, 0] = 0
    main = shares.argmax(axis=1)
    clear = shares.max(axis=1) >= 0.75 * np.maximum(shares.sum(axis=1), 1e-6)
    whole = inside & clear[components]
    pieces[whole] = main[components[whole]]
    return pieces
