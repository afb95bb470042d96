"""Which numbering the values of a label image follow, judged by where and how large they are.

Label images carry no names. Numbers alone do not tell numberings apart (20 is L1 in VerSe's, L3 in
TotalSegmentator's first), and instances that are counted 1, 2, 3 look like C1, C2, C3. Anatomy
does: VerSe's numbers rise from head to tail, TotalSegmentator's fall, and cervical vertebrae are
small and close together. What cannot be decided is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from spinemamba.errors import UserError
from spinemamba.labels import BY_NAME, LABELS, ORDER
from spinemamba.level_priors import ANY_STEP_MM, STEP_MM, usual_volume_ml
from spinemamba.numbering import (
    OPTION,
    TOTALSEGMENTATOR,
    TOTALSEGMENTATOR_V1,
    VERSE,
    Numbering,
)
from spinemamba.volume import Volume

CLEAR_SHARE = 0.3
"""A step counts as up or down if at least this share of it is along the patient's axis."""

SAME_WAY = 0.8
"""Share of the clear steps that go one way in a chain that is in order."""

STEP_RATIOS, MEDIAN_STEP_RATIO = (0.4, 2.0), (0.65, 1.4)
"""Distance between neighbours over the usual one: of each, and the median of a real spine."""

MEDIAN_VOLUME_RATIO = (0.25, 2.2)
SLIVER = 0.1
"""Pieces below this share of the usual volume do not count: the image's edge cuts them off."""

SACRUM_MM = 90.0
"""The centre of a sacrum is closer than this to the vertebra above it."""

TOO_FAR, TOO_FAR_CERVICAL = 1.8, 1.45
"""Median distance over the usual one from which names cannot be right. The strict one is for
numbers from 1 to 7, which are often those of instances."""

TOO_LARGE_ML = 400.0
"""No vertebra is as large, two grown together are not, either."""

CERVICAL = 7
FIRST_OF_INSTANCES = 2
"""Counted instances begin with 1, or with 2 where the first one was cut off."""

STEP_SPREAD, STEP_SIZE_SPREAD = 0.1, 0.2
VOLUME_SPREAD, VOLUME_SIZE_SPREAD = 0.2, 0.5
"""Standard deviations of logarithms: of steps and volumes over the usual ones of a patient's size,
and of what they have in common. Children and tall people are to be read, not refused; thick slices
and narrow images take much of all volumes."""

FITS_COST = 3.0
"""Mean squared deviation up to which a naming fits a chain."""

BETTER_COST = {1: 0.5, 2: 0.5, 3: 4.0, 4: 4.0, 5: 4.0, 6: 4.0, 7: 4.0}
"""What another naming must be better by for VerSe's numbers to be doubted, by the first number.
From T1 down chains look too much alike."""

DECIDED_COST = 4.0
"""What one of TotalSegmentator's numberings must be better by than the other."""

COCCYX_ML = 40.0

LOWEST_OTHER = min(TOTALSEGMENTATOR_V1.levels)
UPWARDS = (
    "they rise from tail to head: either they follow {}, or the header holds the spine upside down"
)
REMEDY = f"Say what the values mean: --labels {OPTION}."
USUAL = tuple(label.name for label in LABELS if label.name not in ("T13", "L6", "Coccyx", "Sacrum"))


@dataclass(frozen=True)
class Seen:
    """The voxels of one value.

    Attributes:
        centre_lps_mm: Their centroid, shape (3,).
        volume_ml: Their volume.
        cut: Whether they touch the edge of the image.
    """

    centre_lps_mm: np.ndarray
    volume_ml: float
    cut: bool


def seen_values(labels: Volume) -> dict[int, Seen]:
    """Return place and size of each value of a label image that is a level in any numbering."""
    known = {v for n in (VERSE, TOTALSEGMENTATOR, TOTALSEGMENTATOR_V1) for v in n.levels}
    boxes = ndimage.find_objects(labels.array, max(known))
    voxel_ml = float(np.prod(labels.spacing_mm)) / 1000
    found = {}
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
        found[value] = Seen(centre, count * voxel_ml, edge)
    return found


@dataclass(frozen=True)
class Chain:
    """Values under one numbering, from head to tail.

    Attributes:
        levels: Names.
        parts: What was seen of each.
    """

    levels: tuple[str, ...]
    parts: tuple[Seen, ...]

    @classmethod
    def of(cls, seen: Mapping[int, Seen], numbering: Numbering) -> Chain:
        """Return the levels that are there, each once."""
        parts: dict[str, list[Seen]] = {}
        for value, one in seen.items():
            if value in numbering.levels:
                parts.setdefault(numbering.levels[value].name, []).append(one)
        names = sorted(parts, key=ORDER.__getitem__)
        return cls(tuple(names), tuple(_joined(parts[name]) for name in names))

    @cached_property
    def whole_enough(self) -> Chain:
        """The chain without slivers."""
        kept = [
            (name, part)
            for name, part in zip(self.levels, self.parts, strict=True)
            if part.volume_ml >= SLIVER * usual_volume_ml(name)
        ]
        return Chain(tuple(n for n, _ in kept), tuple(p for _, p in kept))

    @property
    def vertebrae(self) -> list[tuple[str, Seen]]:
        """Levels above the sacrum."""
        pairs = zip(self.levels, self.parts, strict=True)
        return [pair for pair in pairs if pair[0] not in ("Sacrum", "Coccyx")]

    @cached_property
    def directions(self) -> tuple[int, int]:
        """How many clear steps go down, and how many up, along the patient's axis."""
        down = up = 0
        for a, b in itertools.pairwise(self.parts):
            step = b.centre_lps_mm - a.centre_lps_mm
            if abs(step[2]) >= CLEAR_SHARE * np.linalg.norm(step) and step[2] != 0:
                down, up = down + (step[2] < 0), up + (step[2] > 0)
        return down, up

    @property
    def ordered(self) -> bool:
        """Whether the levels go down."""
        down, up = self.directions
        return down > 0 and down >= SAME_WAY * (down + up)

    @property
    def reversed(self) -> bool:
        """Whether the levels go up."""
        down, up = self.directions
        return up > 0 and up >= SAME_WAY * (down + up)

    @cached_property
    def step_ratios(self) -> list[float]:
        """Distances between neighbouring vertebrae over the usual ones."""
        return [
            float(np.linalg.norm(b.centre_lps_mm - a.centre_lps_mm)) / usual_step_mm(upper, lower)
            for (upper, a), (lower, b) in itertools.pairwise(self.vertebrae)
        ]

    @cached_property
    def volume_ratios(self) -> list[float]:
        """Volumes of whole vertebrae over the usual ones."""
        return [p.volume_ml / usual_volume_ml(n) for n, p in self.vertebrae if not p.cut]

    @cached_property
    def is_real(self) -> bool:
        """Whether at least two vertebrae lie in order, as far apart and as large as in people."""
        chain = self.whole_enough
        if len(chain.vertebrae) < 2 or not chain.ordered:
            return False
        if len(chain.vertebrae) == 2 and all(part.cut for part in chain.parts):
            return False  # the distance of their centres says nothing
        if chain.levels[-1] == "Sacrum":
            above, sacrum = chain.parts[-2:]
            gap_mm = np.linalg.norm(above.centre_lps_mm - sacrum.centre_lps_mm)
            if chain.levels[-2] == "L5" and gap_mm > SACRUM_MM:
                return False
        ratios, volumes = chain.step_ratios, chain.volume_ratios or [1.0]
        return (
            STEP_RATIOS[0] <= min(ratios)
            and max(ratios) <= STEP_RATIOS[1]
            and MEDIAN_STEP_RATIO[0] <= np.median(ratios) <= MEDIAN_STEP_RATIO[1]
            and MEDIAN_VOLUME_RATIO[0] <= np.median(volumes) <= MEDIAN_VOLUME_RATIO[1]
        )

    def renamed(self, shift: int) -> Chain | None:
        """Return the vertebrae with other names, so many levels further down; None if none fit."""
        places = [USUAL.index(n) + shift if n in USUAL else -1 for n, _ in self.vertebrae]
        if min(places) < 0 or max(places) >= len(USUAL):
            return None
        return Chain(tuple(USUAL[k] for k in places), tuple(p for _, p in self.vertebrae))

    def cost(self) -> float:
        """Return how badly the names fit: the mean squared deviation of steps and volumes."""
        pairs = itertools.pairwise(p.cut for _, p in self.vertebrae)
        steps = [r for r, cut in zip(self.step_ratios, pairs, strict=True) if not any(cut)]
        cost = _deviation(np.log(steps), STEP_SPREAD, STEP_SIZE_SPREAD)
        return cost + _deviation(np.log(self.volume_ratios), VOLUME_SPREAD, VOLUME_SIZE_SPREAD)


def guess_numbering(seen: Mapping[int, Seen], present: Sequence[int], name: str) -> Numbering:
    """Return the numbering of a label image.

    Args:
        seen: Place and size of its values, from `seen_values`.
        present: All of its values, without 0.
        name: Of the file.

    Raises:
        UserError: If the values fit none, or more than one.
    """
    if not present:
        return VERSE
    verse = Chain.of(seen, VERSE)
    others = [n for n in (TOTALSEGMENTATOR, TOTALSEGMENTATOR_V1) if Chain.of(seen, n).is_real]
    problem = _problem(verse, [v for v in present if v not in VERSE.levels])
    if others and not verse.is_real:
        beyond = [v for n in others for v in n.levels if v in seen and v not in VERSE.levels]
        best = _best(seen, others)
        if beyond and best is not None:
            return best
        problem = _either(seen, others, bool(beyond))
    elif others:
        problem = "they fit several numberings"
    if problem := problem or _instances(verse):
        raise UserError(f"{name} {_listed(verse, present)}, but {problem}.", REMEDY)
    return VERSE


def check_numbering(seen: Mapping[int, Seen], numbering: Numbering, name: str) -> None:
    """Refuse one of TotalSegmentator's numberings for labels that run the other way, as VerSe's do.

    Raises:
        UserError: If it is so.
    """
    if numbering in (TOTALSEGMENTATOR, TOTALSEGMENTATOR_V1) and Chain.of(seen, numbering).reversed:
        raise UserError(
            f"{name} does not follow the numbering of {numbering.title}: its vertebrae would lie "
            "upside down.",
            REMEDY,
        )


def usual_step_mm(upper: str, lower: str) -> float:
    """Return the usual distance between the centres of two levels, the upper one first."""
    between = [n for n in USUAL if ORDER[upper] < ORDER[n] < ORDER[lower]]
    names = [upper, *between, lower]
    return sum(STEP_MM.get(pair, ANY_STEP_MM)[0] for pair in itertools.pairwise(names))


def _joined(parts: list[Seen]) -> Seen:
    volume = sum(part.volume_ml for part in parts)
    centre = sum(part.volume_ml * part.centre_lps_mm for part in parts) / volume
    return Seen(centre, volume, any(part.cut for part in parts))


def _deviation(logarithms: np.ndarray, spread: float, common: float) -> float:
    if not len(logarithms):
        return 0.0
    mean = logarithms.mean()
    return float(((logarithms - mean) ** 2).sum() / spread**2 + (mean / common) ** 2)


def _problem(verse: Chain, unknown: list[int]) -> str:
    """Return what speaks against VerSe's numbering; empty if nothing does."""
    if not verse.levels:
        return "they are no levels"
    first = BY_NAME[verse.levels[0]].value
    if verse.levels in (("C1",), ("C1", "C2")):
        return "masks of one or two structures look the same"
    if any(part.volume_ml > TOO_LARGE_ML for _, part in verse.vertebrae):
        return f"no vertebra is larger than {TOO_LARGE_ML:g} mL"
    if verse.levels[-1] == "Coccyx" and verse.parts[-1].volume_ml > COCCYX_ML:
        return f"no coccyx is larger than {COCCYX_ML:g} mL"
    down, up = verse.directions
    lowest = min(BY_NAME[level].value for level in verse.levels)
    if verse.reversed and (first <= FIRST_OF_INSTANCES + 1 or lowest >= LOWEST_OTHER):
        return UPWARDS.format("another numbering, such as TotalSegmentator's first")
    if down + up >= 4 and not verse.reversed and down <= up:
        return "they do not follow each other along the spine"
    if first <= FIRST_OF_INSTANCES and len(verse.levels) > 1 and not verse.ordered:
        return "they do not follow each other from head to tail"
    if unknown and not verse.ordered and (len(verse.levels) > 1 or _elsewhere(unknown)):
        return f"{unknown[0]} is none, and the others do not follow each other along the spine"
    return _too_far(verse, first)


def _elsewhere(values: list[int]) -> bool:
    """Return whether a value is a level in another numbering."""
    return any(v in n.levels for n in (TOTALSEGMENTATOR, TOTALSEGMENTATOR_V1) for v in values)


def _too_far(verse: Chain, first: int) -> str:
    ratios = verse.whole_enough.step_ratios
    limit, least = (TOO_FAR_CERVICAL, 1) if first <= CERVICAL else (TOO_FAR, 2)
    if len(ratios) >= least and np.median(ratios) > limit:
        return (
            f"these lie {np.median(ratios):.1f} times as far apart as such vertebrae do: the "
            "values may count instances"
        )
    # What the image cuts is larger still.
    volumes = [part.volume_ml / usual_volume_ml(name) for name, part in verse.vertebrae]
    if first <= CERVICAL and volumes and np.median(volumes) > MEDIAN_VOLUME_RATIO[1]:
        return (
            f"these are {np.median(volumes):.1f} times as large as such vertebrae are: the values "
            "may count instances"
        )
    return ""


def _instances(verse: Chain) -> str:
    """Return that the values count instances, if they look like that."""
    chain = verse.whole_enough
    first = BY_NAME[chain.levels[0]].value if chain.ordered else 0
    if first not in BETTER_COST or len(chain.vertebrae) < 2:
        return ""
    cut = [part.cut for _, part in chain.vertebrae]
    if first <= FIRST_OF_INSTANCES and all(cut):
        return "the image cuts them all, so that they may as well be counted instances"
    renamed = [chain.renamed(shift) for shift in range(-len(USUAL), len(USUAL)) if shift]
    costs = {other.levels[0]: other.cost() for other in renamed if other is not None}
    best = min(costs, key=costs.__getitem__, default="")
    limit = min(chain.cost() - BETTER_COST[first], 2 * FITS_COST * len(cut))
    if best and costs[best] < limit:
        return f"they look more like vertebrae from {best} down: the values may count instances"
    return ""


def _best(seen: Mapping[int, Seen], numberings: list[Numbering]) -> Numbering | None:
    """Return the numbering that explains most values, or fits clearly better; None if unclear."""
    chains = {n.title: Chain.of(seen, n).whole_enough for n in numberings}
    by_title = {n.title: n for n in numberings}
    ranked = sorted(chains, key=lambda t: (-len(chains[t].levels), chains[t].cost()))
    if len(ranked) > 1 and len(chains[ranked[0]].levels) == len(chains[ranked[1]].levels):
        costs = [chains[title].cost() for title in ranked]
        if costs[1] < costs[0] + DECIDED_COST:
            return None
    return by_title[ranked[0]]


def _either(seen: Mapping[int, Seen], numberings: list[Numbering], beyond: bool) -> str:
    titles = " or ".join(n.title for n in numberings)
    if beyond:
        return f"they may follow the numbering of {titles}"
    return UPWARDS.format(f"the numbering of {titles}")


def _listed(verse: Chain, present: Sequence[int]) -> str:
    shown = ", ".join(map(str, present[:6])) + (" ..." if len(present) > 6 else "")
    if not verse.levels:
        return f"holds the values {shown}"
    names = ", ".join(verse.levels[:6]) + (" ..." if len(verse.levels) > 6 else "")
    return f"holds the values {shown}, which would be {names} in VerSe's numbering"
