"""Match the vertebrae of two scans of a patient by their shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from spinemamba.anatomy.labels import BY_NAME, LABELS
from spinemamba.imaging.volume import Volume
from spinemamba.levels.outlines import LEVELS, Outline, outlines_of
from spinemamba.levels.rigid_fit import Motion, Surface, best_motion, fit
from spinemamba.measure.follow_up.record import Match

_SHIFTS = (0, -1, 1, -2, 2)
"""Differences of the names that are tried, in levels."""

_COARSE, _FINE = (300, 12), (1500, 20)
"""Points and steps of the registration that finds the shift, and of the final one."""

_CLEARLY = 0.8
"""Another shift is used only if its distance is below this share of that of equal names."""

_DOUBTFUL = 0.95
"""Equal names are in doubt if another shift has a distance below this share of theirs."""

_LEAST_PAIRS = 2
_RARE = ("T13", "L6", "Coccyx")
_COMMON = tuple(label.name for label in LABELS if label.name not in _RARE)


@dataclass(frozen=True)
class Matching:
    """Which vertebrae of two scans are the same.

    Attributes:
        shift: Number of levels by which the names of the first scan must be moved down.
        matches: Rigid match of each vertebra that both scans show completely.
        doubt: Why the match of the levels is in doubt; empty if it is not.
    """

    shift: int
    matches: tuple[Match, ...]
    doubt: str


def moved_name(level: str, shift: int) -> str | None:
    """Return the level that lies a number of levels below another one; None if there is none."""
    if not shift:
        return level
    if level not in _COMMON:
        return None
    index = _COMMON.index(level) + shift
    return _COMMON[index] if 0 <= index < len(_COMMON) else None


def with_moved_names(labels: Volume, shift: int) -> Volume:
    """Return labels whose names are moved down by a number of levels."""
    table = np.zeros(256, np.uint8)
    for label in LABELS:
        name = moved_name(label.name, shift)
        table[label.value] = 0 if name is None else BY_NAME[name].value
    return labels.with_array(table[labels.array.astype(np.uint8)])


def match_levels(before: Volume, after: Volume) -> Matching:
    """Match the vertebrae of two label images with VerSe's values."""
    old, new = (
        {outline.level: outline for outline in outlines_of(labels, LEVELS)}
        for labels in (before, after)
    )
    distances = {
        shift: _mean_distance_mm(pairs)
        for shift in _SHIFTS
        if len(pairs := _pairs(old, new, shift)) >= _LEAST_PAIRS
    }
    if not distances:
        pairs = _pairs(old, new, 0)
        doubt = "Fewer than two whole vertebrae have the same names: levels are not compared."
        return Matching(0, _matches(pairs), doubt)
    best = min(distances, key=distances.__getitem__)
    same = distances.get(0, np.inf)
    doubt = ""
    if best and distances[best] >= _CLEARLY * same:
        close = distances[best] < _DOUBTFUL * same
        doubt = (
            f"The shapes fit about as well if the names differ by {abs(best)}: check the levels."
            if close
            else ""
        )
        best = 0
    return Matching(best, _matches(_pairs(old, new, best)), doubt)


_Pair = tuple[Outline, Outline]


def _pairs(
    old: Mapping[str | None, Outline], new: Mapping[str | None, Outline], shift: int
) -> list[_Pair]:
    """Return the whole vertebrae of both scans that are the same if names differ by a shift."""
    pairs = []
    for outline in old.values():
        other = new.get(moved_name(outline.level, shift))
        if other is not None and outline.is_whole and other.is_whole:
            pairs.append((outline, other))
    return pairs


def _mean_distance_mm(pairs: Sequence[_Pair]) -> float:
    whole = _whole_motion(pairs)
    return float(np.mean([_fitted(pair, whole, _COARSE)[0] for pair in pairs]))


def _whole_motion(pairs: Sequence[_Pair]) -> Motion:
    """Return the motion of the whole spine, from the centres of its vertebrae."""
    points, targets = (np.array([pair[k].centre_lps_mm for pair in pairs]) for k in (0, 1))
    # The centres lie nearly on a line, and two patients' positions differ little about it.
    return best_motion(points, targets, towards_none_mm2=100.0 * len(pairs))


def _fitted(pair: _Pair, whole: Motion, effort: tuple[int, int]) -> tuple[float, Motion]:
    """Return distance and motion of a vertebra, starting with the rotation of the spine."""
    old, new = pair
    shift_mm = new.centre_lps_mm - whole.rotation @ old.centre_lps_mm
    start = Motion(whole.rotation, shift_mm)
    return fit(Surface(old.points_lps_mm), Surface(new.points_lps_mm), start, *effort)


def _matches(pairs: Sequence[_Pair]) -> tuple[Match, ...]:
    if not pairs:
        return ()
    fits = [_fitted(pair, _whole_motion(pairs), _FINE) for pair in pairs]
    centres = np.array([pair[0].centre_lps_mm for pair in pairs])
    moved = np.array(
        [motion.apply(c[None])[0] for (_, motion), c in zip(fits, centres, strict=True)]
    )
    out = []
    for k, ((old, new), (residual, motion)) in enumerate(zip(pairs, fits, strict=True)):
        others = np.arange(len(pairs)) != k
        rest = _mean_motion([fits[j][1] for j in np.flatnonzero(others)], centres, moved, others)
        rotation = motion.rotation @ rest.rotation.T
        turn = np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))
        aside = moved[k] - rest.apply(centres[k][None])[0]
        out.append(
            Match(
                new.level,
                old.level,
                residual,
                float(np.linalg.norm(aside)),
                float(turn),
                tuple(map(tuple, motion.rotation.tolist())),
                tuple(motion.shift_mm.tolist()),
            )
        )
    return tuple(out)


def _mean_motion(
    motions: Sequence[Motion], centres: np.ndarray, moved: np.ndarray, used: np.ndarray
) -> Motion:
    """Return the mean motion of the other vertebrae; no motion relative to it without others."""
    if not motions:
        return best_motion(centres, moved, towards_none_mm2=1e6)
    u, _, vt = np.linalg.svd(np.mean([motion.rotation for motion in motions], axis=0))
    rotation = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    shift = moved[used].mean(axis=0) - rotation @ centres[used].mean(axis=0)
    return Motion(rotation, shift)
