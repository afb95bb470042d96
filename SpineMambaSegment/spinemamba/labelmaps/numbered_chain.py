"""Chain of labelled vertebrae: positions, volumes, and how well a numbering fits them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.label_schemes import BUILT_IN, Numbering
from spinemamba.anatomy.labels import LABELS, ORDER
from spinemamba.anatomy.statistics import ANY_STEP_MM, STEP_MM, usual_volume_ml
from spinemamba.imaging.volume import Volume

_CLEAR_SHARE = 0.3
"""Minimum share of a step along the patient's axis for it to count as up or down."""

_SAME_WAY = 0.8
"""Minimum share of steps in one direction in an ordered chain."""

_STEP_RATIOS, _MEDIAN_STEP_RATIO = (0.4, 2.0), (0.65, 1.4)
"""Accepted ratio of the distance between neighbours to the expected one: for each pair, and for the
median."""

MEDIAN_VOLUME_RATIO = (0.25, 2.2)
"""Accepted median ratio of volumes to the expected ones."""

_SLIVER = 0.1
"""Share of the expected volume below which a truncated vertebra is ignored."""

_SACRUM_MM = 90.0
"""Largest distance of the centre of a sacrum from the vertebra above it."""

_STEP_SPREAD, _STEP_SIZE_SPREAD = 0.1, 0.2
_VOLUME_SPREAD, _VOLUME_SIZE_SPREAD = 0.2, 0.5
"""Standard deviations of log ratios of steps and volumes to the expected ones: per vertebra and
per patient (body size). The latter are wide, so that children and tall people are accepted, and
because thick slices and narrow fields of view reduce all volumes."""

USUAL = tuple(label.name for label in LABELS if label.name not in ("T13", "L6", "Coccyx", "Sacrum"))


@dataclass(frozen=True)
class LabelStats:
    """Statistics of one label value.

    Attributes:
        centre_lps_mm: Centroid, shape (3,).
        volume_ml: Volume.
        cut: Whether the label touches the edge of the image.
    """

    centre_lps_mm: np.ndarray
    volume_ml: float
    cut: bool


def label_stats(labels: Volume) -> dict[int, LabelStats]:
    """Return the statistics of each value of a label map that is a level in any numbering."""
    known = {v for n in BUILT_IN.values() for v in n.levels}
    boxes = ndimage.find_objects(labels.array, max(known))
    voxel_ml = labels.geometry.voxel_ml
    stats = {}
    for value, box in enumerate(boxes, start=1):
        if box is None or value not in known:
            continue
        mask = labels.array[box] == value
        count = int(mask.sum())
        first = [part.start for part in box]
        counts = (mask.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3))
        index = [float(n @ np.arange(len(n))) / count for n in counts]
        last = [part.stop for part in box]
        edge = 0 in first or any(map(int.__eq__, last, labels.array.shape))
        centre = labels.geometry.to_lps_mm(np.add(first, index))
        stats[value] = LabelStats(centre, count * voxel_ml, edge)
    return stats


@dataclass(frozen=True)
class Chain:
    """Labels of one numbering, from cranial to caudal.

    Attributes:
        levels: Names of the levels.
        parts: Statistics of each level.
    """

    levels: tuple[str, ...]
    parts: tuple[LabelStats, ...]

    @classmethod
    def of(cls, stats: Mapping[int, LabelStats], numbering: Numbering) -> Chain:
        """Return the chain of all levels that are present, each once."""
        parts: dict[str, list[LabelStats]] = {}
        for value, one in stats.items():
            if value in numbering.levels:
                parts.setdefault(numbering.levels[value].name, []).append(one)
        names = sorted(parts, key=ORDER.__getitem__)
        return cls(tuple(names), tuple(_joined(parts[name]) for name in names))

    @cached_property
    def without_slivers(self) -> Chain:
        """The chain without slivers."""
        kept = [
            (name, part)
            for name, part in zip(self.levels, self.parts, strict=True)
            if part.volume_ml >= _SLIVER * usual_volume_ml(name)
        ]
        return Chain(tuple(n for n, _ in kept), tuple(p for _, p in kept))

    @property
    def vertebrae(self) -> list[tuple[str, LabelStats]]:
        """Levels above the sacrum."""
        pairs = zip(self.levels, self.parts, strict=True)
        return [pair for pair in pairs if pair[0] not in ("Sacrum", "Coccyx")]

    @cached_property
    def directions(self) -> tuple[int, int]:
        """Number of steps down and up along the patient's axis."""
        down = up = 0
        for a, b in itertools.pairwise(self.parts):
            step = b.centre_lps_mm - a.centre_lps_mm
            if abs(step[2]) >= _CLEAR_SHARE * np.linalg.norm(step) and step[2] != 0:
                down, up = down + (step[2] < 0), up + (step[2] > 0)
        return down, up

    @property
    def ordered(self) -> bool:
        """Whether the levels run from cranial to caudal."""
        down, up = self.directions
        return down > 0 and down >= _SAME_WAY * (down + up)

    @property
    def reversed(self) -> bool:
        """Whether the levels run from caudal to cranial."""
        down, up = self.directions
        return up > 0 and up >= _SAME_WAY * (down + up)

    @cached_property
    def step_ratios(self) -> list[float]:
        """Ratios of distances between neighbours to the expected distances."""
        return [
            float(np.linalg.norm(b.centre_lps_mm - a.centre_lps_mm)) / _usual_step_mm(upper, lower)
            for (upper, a), (lower, b) in itertools.pairwise(self.vertebrae)
        ]

    @cached_property
    def volume_ratios(self) -> list[float]:
        """Ratios of volumes of complete vertebrae to the expected volumes."""
        return [p.volume_ml / usual_volume_ml(n) for n, p in self.vertebrae if not p.cut]

    @cached_property
    def is_real(self) -> bool:
        """Whether at least two vertebrae are in order, with plausible distances and volumes."""
        chain = self.without_slivers
        if len(chain.vertebrae) < 2 or not chain.ordered:
            return False
        if len(chain.vertebrae) == 2 and all(part.cut for part in chain.parts):
            return False  # the centres of truncated vertebrae are not comparable
        if chain.levels[-1] == "Sacrum":
            above, sacrum = chain.parts[-2:]
            gap_mm = np.linalg.norm(above.centre_lps_mm - sacrum.centre_lps_mm)
            if chain.levels[-2] == "L5" and gap_mm > _SACRUM_MM:
                return False
        ratios, volumes = chain.step_ratios, chain.volume_ratios or [1.0]
        return (
            _STEP_RATIOS[0] <= min(ratios)
            and max(ratios) <= _STEP_RATIOS[1]
            and _MEDIAN_STEP_RATIO[0] <= np.median(ratios) <= _MEDIAN_STEP_RATIO[1]
            and MEDIAN_VOLUME_RATIO[0] <= np.median(volumes) <= MEDIAN_VOLUME_RATIO[1]
        )

    def renamed(self, shift: int) -> Chain | None:
        """Return the vertebrae with names shifted down by some levels; None if any is invalid."""
        ranks = [USUAL.index(n) + shift if n in USUAL else -1 for n, _ in self.vertebrae]
        if min(ranks) < 0 or max(ranks) >= len(USUAL):
            return None
        return Chain(tuple(USUAL[k] for k in ranks), tuple(p for _, p in self.vertebrae))

    def cost(self) -> float:
        """Return the misfit of the names: sum of squared deviations of steps and volumes."""
        pairs = itertools.pairwise(p.cut for _, p in self.vertebrae)
        steps = [r for r, cut in zip(self.step_ratios, pairs, strict=True) if not any(cut)]
        cost = _deviation(np.log(steps), _STEP_SPREAD, _STEP_SIZE_SPREAD)
        return cost + _deviation(np.log(self.volume_ratios), _VOLUME_SPREAD, _VOLUME_SIZE_SPREAD)


def _usual_step_mm(upper: str, lower: str) -> float:
    """Return the expected distance between the centres of two levels, the upper one first."""
    between = [n for n in USUAL if ORDER[upper] < ORDER[n] < ORDER[lower]]
    names = [upper, *between, lower]
    return sum(STEP_MM.get(pair, ANY_STEP_MM)[0] for pair in itertools.pairwise(names))


def _joined(parts: list[LabelStats]) -> LabelStats:
    volume = sum(part.volume_ml for part in parts)
    centre = sum(part.volume_ml * part.centre_lps_mm for part in parts) / volume
    return LabelStats(centre, volume, any(part.cut for part in parts))


def _deviation(logarithms: np.ndarray, spread: float, common: float) -> float:
    if not len(logarithms):
        return 0.0
    mean = logarithms.mean()
    return float(((logarithms - mean) ** 2).sum() / spread**2 + (mean / common) ** 2)
