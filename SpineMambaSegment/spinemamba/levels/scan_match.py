"""Levels from another scan of the same patient: which vertebra is which.

In the same coordinates, vertebrae at the same place are the same. Otherwise the chain of vertebrae
slides along that of the other scan. At each offset, every vertebra is registered rigidly with its
partner, so that a bent spine does not matter; the distances of the surfaces and the differences of
the spacings are the score. The best offset names the vertebrae if the patient fits at all and no
other offset comes close.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from spinemamba.common.errors import UserError
from spinemamba.levels.outlines import OtherScan, Outline
from spinemamba.levels.rigid_fit import FAR_MM, Motion, Surface, best_motion, fit


@dataclass(frozen=True)
class MatchOptions:
    """Thresholds, each with its reason.

    Attributes:
        same_place_mm: Greatest mean distance of the surfaces of a vertebra in the same coordinates.
            Two patients differ by 1.5 mm and more after registration, two segmentations of one
            scan by less than 1 mm.
        close_mm: Greatest distance of a point that lies on the other surface.
        least_close: Least share of such points of a whole vertebra at the same place as one that
            the other image cuts. A speck at the edge of the image lies on its neighbour, too.
        least_in_place: Least number of vertebrae at the same place if the frames of reference are
            not known to agree.
        in_place_share: Least share of the whole vertebrae beside one of the other scan that are at
            the same place.
        candidates: Number of vertebrae of the other scan, by distance, to compare with each.
        beside_mm: Greatest distance between the centres of such a pair; less than half a step.
        least_pairs: Least number of whole vertebrae to compare at another place.
        fits_mm: Greatest score of the same patient. Scores of labels by the networks and by other
            software are 1.0 to 1.4 mm for the same scan, 2.5 mm and more for other patients.
        clear_ratio: Least score of the second offset relative to the best.
        towards_none_mm2: Weight of no rotation in the first guess, against three centres on a line.
        compared: Number of offsets that are registered, those with the most similar spacings.
        coarse: Number of points and steps of their registration.
        fine: The same for the best offsets.
        refined: Number of offsets that are registered finely.
    """

    same_place_mm: float = 1.5
    close_mm: float = 2.0
    least_close: float = 0.3
    least_in_place: int = 2
    in_place_share: float = 0.7
    candidates: int = 3
    beside_mm: float = 10.0
    least_pairs: int = 3
    fits_mm: float = 1.5
    clear_ratio: float = 1.35
    towards_none_mm2: float = 200.0
    compared: int = 8
    coarse: tuple[int, int] = (120, 4)
    fine: tuple[int, int] = (300, 12)
    refined: int = 4


@dataclass(frozen=True)
class ScanMatch:
    """Which vertebra is which.

    Attributes:
        method: "overlap" at the same place, else "shape".
        status: "found"; or "undecided", if another offset fits as well.
        levels: Level by number of the vertebra.
        certainty: Probability of each of these levels in the other scan.
        score_mm: Mean distance of the surfaces, plus the mean difference of the spacings.
        offset: Index of a partner in the other scan minus that of the vertebra, from head to tail.
        other_levels: Levels of the second best offset; empty if there is none.
        other_score_mm: Its score; None if there is none.
    """

    method: Literal["overlap", "shape"]
    status: Literal["found", "undecided"]
    levels: dict[int, str]
    certainty: dict[int, float]
    score_mm: float
    offset: int
    other_levels: dict[int, str] = field(default_factory=dict)
    other_score_mm: float | None = None


def match_scans(
    outlines: Sequence[Outline],
    other: OtherScan,
    frame: str | None = None,
    options: MatchOptions = MatchOptions(),
) -> ScanMatch:
    """Find the vertebrae of one scan in another one of the same patient.

    Args:
        outlines: Vertebrae to name, from head to tail.
        other: The other scan.
        frame: Frame of reference, as in `imaging.volume.Volume`.
        options: Thresholds.

    Raises:
        UserError: If too few whole vertebrae can be compared, or none fits.
    """
    chains = _Chain(outlines), _Chain(other.outlines)
    agree = frame == other.frame if frame and other.frame else None
    if agree is not False:
        found = _at_the_same_place(*chains, 1 if agree else options.least_in_place, options)
        if found is not None:
            return found
    return _by_shape(*chains, other.source, options)


class _Chain:
    """Outlines from head to tail, with searchable surfaces."""

    def __init__(self, outlines: Sequence[Outline]):
        self.outlines = tuple(outlines)
        self.centres_mm = np.array([o.centre_lps_mm for o in outlines]).reshape(-1, 3)

    @cached_property
    def surfaces(self) -> tuple[Surface, ...]:
        """Surface of each outline."""
        return tuple(Surface(outline.points_lps_mm) for outline in self.outlines)

    def is_whole(self, index: int) -> bool:
        """Return whether the image shows all of a vertebra."""
        return self.outlines[index].is_whole

    def __len__(self) -> int:
        return len(self.outlines)


_Pairs = list[tuple[int, int]]
"""Indices in both chains."""


def _found(
    ours: _Chain,
    theirs: _Chain,
    pairs: _Pairs,
) -> tuple[dict[int, str], dict[int, float]]:
    """Return level and certainty by number of the vertebra."""
    both = [(ours.outlines[i].number, theirs.outlines[j]) for i, j in pairs]
    levels = {number: outline.level for number, outline in both if outline.level}
    return levels, {number: outline.certainty for number, outline in both if outline.level}


def _at_the_same_place(
    ours: _Chain, theirs: _Chain, least: int, options: MatchOptions
) -> ScanMatch | None:
    """Return the match of vertebrae at the same place; None if too few are."""
    if not len(ours) or not len(theirs):
        return None
    gaps_mm = np.linalg.norm(ours.centres_mm[:, None] - theirs.centres_mm, axis=-1)
    distances_mm = {}
    for i, row in enumerate(gaps_mm):
        # The centre of a cut vertebra may be nearer to that of a neighbour.
        near = [(i, int(j)) for j in np.argsort(row)[: options.candidates]]
        found = {pair: _in_place(ours, theirs, pair, options) for pair in near}
        best = max(near, key=lambda pair: found[pair][1])
        distances_mm[best] = found[best][0]
    nearest = list(distances_mm)
    pairs = [pair for pair in nearest if distances_mm[pair] <= options.same_place_mm]
    beside = [(i, j) for i, j in nearest if ours.is_whole(i) and gaps_mm[i, j] <= options.beside_mm]
    whole = [pair for pair in pairs if pair in beside]
    in_order = all(a[1] < b[1] for a, b in itertools.pairwise(pairs))
    if len(whole) < max(least, options.in_place_share * len(beside)) or not in_order:
        return None
    score_mm = float(np.mean([distances_mm[pair] for pair in pairs]))
    levels, certainty = _found(ours, theirs, pairs)
    rivals = []
    for shift in (-1, 1):
        shifted = [(i, j + shift) for i, j in pairs if 0 <= j + shift < len(theirs)]
        if shifted:
            far_mm = [_in_place(ours, theirs, pair, options)[0] for pair in shifted]
            rivals.append((float(np.mean(far_mm)), _found(ours, theirs, shifted)[0]))
    other_mm, other_levels = min(rivals, key=lambda rival: rival[0], default=(None, {}))
    offset = pairs[0][1] - pairs[0][0]
    return ScanMatch(
        "overlap", "found", levels, certainty, score_mm, offset, other_levels, other_mm
    )


def _in_place(
    ours: _Chain, theirs: _Chain, pair: tuple[int, int], options: MatchOptions
) -> tuple[float, float]:
    """Compare two surfaces where they are.

    Returns:
        Mean distance in mm of the points of both, or of the one that its image cuts; and the sum of
        the shares of points of both that lie on the other one.
    """
    one, other, points = ours.surfaces[pair[0]], theirs.surfaces[pair[1]], options.fine[0]
    there_mm = other.distances_mm(one.points_mm[:points])
    back_mm = one.distances_mm(other.points_mm[:points])
    close, close_back = ((mm <= options.close_mm).mean() for mm in (there_mm, back_mm))
    if not ours.is_whole(pair[0]):
        distance_mm = there_mm.mean()
    elif theirs.is_whole(pair[1]):
        distance_mm = (there_mm.mean() + back_mm.mean()) / 2
    else:
        distance_mm = back_mm.mean() if close >= options.least_close else FAR_MM
    return float(distance_mm), float(close + close_back)


@dataclass(frozen=True)
class _Offset:
    """One way to slide a chain along the other.

    Attributes:
        pairs: Pairs of whole vertebrae.
        score_mm: As in `ScanMatch`.
        rotation: Rotation of the pair that fits best.
    """

    pairs: _Pairs
    score_mm: float
    rotation: np.ndarray


def _by_shape(ours: _Chain, theirs: _Chain, source: str, options: MatchOptions) -> ScanMatch:
    """Return the match by shapes and spacings.

    Raises:
        UserError: If too few whole vertebrae can be compared, or none fits.
    """
    candidates = [pairs for pairs in _slides(ours, theirs) if len(pairs) >= options.least_pairs]
    if not candidates:
        counts = [sum(map(chain.is_whole, range(len(chain)))) for chain in (ours, theirs)]
        raise UserError(
            f"The levels cannot be taken from {source}: this scan has {counts[0]} whole vertebrae "
            f"and the other {counts[1]}, and at least {options.least_pairs} must be compared.",
            "Give a scan that shows more of the spine, or fix a level yourself.",
        )
    candidates.sort(key=lambda pairs: _spacing_misfit_mm(ours, theirs, pairs))
    candidates = candidates[: options.compared]
    offsets = [_score(ours, theirs, pairs, None, options) for pairs in candidates]
    best = sorted(offsets, key=lambda offset: offset.score_mm)[: options.refined]
    best = [_score(ours, theirs, offset.pairs, offset.rotation, options) for offset in best]
    best.sort(key=lambda offset: offset.score_mm)
    first, levels_of = best[0], [_found(ours, theirs, offset.pairs) for offset in best]
    if first.score_mm > options.fits_mm:
        best_fit = level_range(levels_of[0][0])
        raise UserError(
            f"No vertebra of this scan is found in {source}: the best fit, {best_fit}, is "
            f"{first.score_mm:.1f} mm off; {options.fits_mm:g} mm are accepted.",
            "Give a scan of the same patient with at least "
            f"{options.least_pairs} vertebrae in common, or fix a level yourself.",
        )
    levels, certainty = levels_of[0]
    offset = first.pairs[0][1] - first.pairs[0][0]
    found = ScanMatch("shape", "found", levels, certainty, first.score_mm, offset)
    if len(best) == 1:
        return found
    second_mm, is_clear = best[1].score_mm, best[1].score_mm >= options.clear_ratio * first.score_mm
    return replace(
        found,
        status="found" if is_clear else "undecided",
        other_levels=levels_of[1][0],
        other_score_mm=second_mm,
    )


def _slides(ours: _Chain, theirs: _Chain) -> list[_Pairs]:
    """Return the pairs of whole vertebrae at every offset."""
    return [
        [
            (i, i + by)
            for i in range(len(ours))
            if 0 <= i + by < len(theirs) and ours.is_whole(i) and theirs.is_whole(i + by)
        ]
        for by in range(1 - len(ours), len(theirs))
    ]


def _score(
    ours: _Chain,
    theirs: _Chain,
    pairs: _Pairs,
    rotation: np.ndarray | None,
    options: MatchOptions,
) -> _Offset:
    """Register the pairs of an offset.

    Args:
        ours: Vertebrae to name.
        theirs: Vertebrae of the other scan.
        pairs: Pairs of whole vertebrae.
        rotation: First guess; None to guess it from the centres of neighbours, and to register
            coarsely.
        options: Thresholds.
    """
    points, steps = options.coarse if rotation is None else options.fine
    fits = []
    for i, j in pairs:
        guess = rotation if rotation is not None else _rotation(ours, theirs, (i, j), options)
        shift_mm = theirs.centres_mm[j] - guess @ ours.centres_mm[i]
        start = Motion(guess, shift_mm)
        fits.append(fit(ours.surfaces[i], theirs.surfaces[j], start, points, steps))
    distance_mm = float(np.mean([mm for mm, _ in fits]))
    best = min(fits, key=lambda one: one[0])[1]
    return _Offset(pairs, distance_mm + _spacing_misfit_mm(ours, theirs, pairs), best.rotation)


def _rotation(
    ours: _Chain, theirs: _Chain, pair: tuple[int, int], options: MatchOptions
) -> np.ndarray:
    """Return the rotation between the centres of a vertebra and its neighbours."""
    around = [
        (pair[0] + by, pair[1] + by)
        for by in (-1, 0, 1)
        if 0 <= pair[0] + by < len(ours) and 0 <= pair[1] + by < len(theirs)
    ]
    rows = np.array(around).T
    points_mm = ours.centres_mm[rows[0]], theirs.centres_mm[rows[1]]
    return best_motion(*points_mm, options.towards_none_mm2).rotation


def _spacing_misfit_mm(ours: _Chain, theirs: _Chain, pairs: _Pairs) -> float:
    """Return the mean difference of the distances between neighbouring vertebrae."""
    differences = [
        abs(_gap_mm(ours, a[0], b[0]) - _gap_mm(theirs, a[1], b[1]))
        for a, b in itertools.pairwise(pairs)
    ]
    return float(np.mean(differences))


def _gap_mm(chain: _Chain, one: int, other: int) -> float:
    return float(np.linalg.norm(chain.centres_mm[one] - chain.centres_mm[other]))


def level_range(levels: Mapping[int, str]) -> str:
    """Return the first and the last of levels by number, such as "T9 to L4"."""
    names = list(levels.values())
    return f"{names[0]} to {names[-1]}" if names else "none"
