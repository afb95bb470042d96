"""Recognise the numbering of a label map from positions and volumes of its labels.

Label maps have no names. The values alone are ambiguous: 20 is L1 in VerSe's numbering and L3 in
TotalSegmentator's first, and instances numbered 1, 2, 3 look like C1, C2, C3. Anatomy resolves
this: VerSe's values increase from cranial to caudal, TotalSegmentator's decrease, and cervical
vertebrae are small and close together. Undecidable cases are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spinemamba.anatomy.label_schemes import (
    OPTION,
    TOTALSEGMENTATOR,
    TOTALSEGMENTATOR_MR,
    TOTALSEGMENTATOR_V1,
    TOTALSPINESEG,
    VERSE,
    VISTA3D,
    Numbering,
)
from spinemamba.anatomy.labels import BY_NAME
from spinemamba.anatomy.statistics import usual_volume_ml
from spinemamba.common.errors import UserError
from spinemamba.labelmaps.numbered_chain import (
    MEDIAN_VOLUME_RATIO,
    USUAL,
    Chain,
    LabelStats,
    label_stats,
)

__all__ = ["check_numbering", "guess_numbering", "label_stats"]

_TOO_FAR, _TOO_FAR_CERVICAL = 1.8, 1.45
"""Largest median ratio of distances to the expected ones. The strict limit applies to values from 1
to 7, which are often instance numbers."""

_TOO_LARGE_ML = 400.0
"""Larger than any vertebra, even than two fused ones."""

_CERVICAL = 7
_FIRST_OF_INSTANCES = 2
"""Instance numbers begin with 1, or with 2 if the first instance was cropped."""

_DOUBTED_COST = 2.0
"""Minimum advantage in cost of another software's numbering for VerSe's to be refused."""

_LEAST_WHOLE = 2
"""Minimum number of complete vertebrae to distinguish a neck from instance numbers by size."""

_FITS_COST = 3.0
"""Mean squared deviation per step or volume up to which names fit a chain."""

_BETTER_COST = {1: 0.5, 2: 0.5, 3: 4.0, 4: 4.0, 5: 4.0, 6: 4.0, 7: 4.0}
"""Minimum advantage in cost of other names for VerSe's numbering to be refused, by the first value.
From T1 down, chains are too similar."""

_DECIDED_COST = 4.0
"""Minimum advantage in cost of one of TotalSegmentator's numberings over the other."""

_COCCYX_ML = 40.0
"""Largest volume of a coccyx."""

_L6_ML = 150.0
"""Largest volume of an L6. Some software uses its value, 25, for the sacrum."""

_CAUDAL_TO_CRANIAL = (TOTALSEGMENTATOR, TOTALSEGMENTATOR_V1, TOTALSEGMENTATOR_MR, VISTA3D)
_ON_REQUEST = (TOTALSEGMENTATOR_MR, TOTALSPINESEG, VISTA3D)
"""Numberings that are used only on request. If one fits, other numberings are refused."""

_LOWEST_OTHER = min(TOTALSEGMENTATOR_V1.levels)
_REVERSED_TEXT = (
    "they rise from tail to head: either they follow {}, or the header holds the spine upside down"
)
_REMEDY = f"State what the values mean: --labels {OPTION}."


def guess_numbering(
    stats: Mapping[int, LabelStats], present: Sequence[int], name: str
) -> Numbering:
    """Return the numbering of a label map.

    Args:
        stats: Statistics of its values, from `label_stats`.
        present: All values, without 0.
        name: File name.

    Raises:
        UserError: If no numbering fits, or several do.
    """
    if not present:
        return VERSE
    verse = Chain.of(stats, VERSE)
    guess = _of_known(stats, present, name)
    if (other := _equally_good(stats, guess)) is not None:
        raise UserError(
            f"{name} {_listed(verse, present)}, but they may follow the numbering of "
            f"{other.title}.",
            _REMEDY,
        )
    return guess


def _of_known(stats: Mapping[int, LabelStats], present: Sequence[int], name: str) -> Numbering:
    """Return VerSe's numbering or one of TotalSegmentator's for CT; as `guess_numbering`."""
    verse = Chain.of(stats, VERSE)
    others = [n for n in (TOTALSEGMENTATOR, TOTALSEGMENTATOR_V1) if Chain.of(stats, n).is_real]
    problem = _problem(verse, [v for v in present if v not in VERSE.levels])
    if others and not verse.is_real:
        beyond = [v for n in others for v in n.levels if v in stats and v not in VERSE.levels]
        best = _best(stats, others)
        if beyond and best is not None:
            return best
        problem = _either(stats, others, bool(beyond))
    elif others:
        problem = "they fit several numberings"
    if problem := problem or _instances(verse):
        raise UserError(f"{name} {_listed(verse, present)}, but {problem}.", _REMEDY)
    return VERSE


def check_numbering(stats: Mapping[int, LabelStats], numbering: Numbering, name: str) -> None:
    """Refuse a caudal-to-cranial numbering if the labels run from cranial to caudal.

    Raises:
        UserError: If the numbering does not fit.
    """
    if numbering in _CAUDAL_TO_CRANIAL and Chain.of(stats, numbering).reversed:
        raise UserError(
            f"{name} does not follow the numbering of {numbering.title}: its vertebrae would lie "
            "upside down.",
            _REMEDY,
        )


def _problem(verse: Chain, unknown: list[int]) -> str:
    """Return a reason against VerSe's numbering; empty if there is none."""
    if not verse.levels:
        return "they are not levels"
    first = BY_NAME[verse.levels[0]].value
    if verse.levels in (("C1",), ("C1", "C2")):
        return "masks of one or two structures look the same"
    if any(part.volume_ml > _TOO_LARGE_ML for _, part in verse.vertebrae):
        return f"no vertebra is larger than {_TOO_LARGE_ML:g} mL"
    if verse.levels[-1] == "Coccyx" and verse.parts[-1].volume_ml > _COCCYX_ML:
        return f"no coccyx is larger than {_COCCYX_ML:g} mL"
    if any(n == "L6" and part.volume_ml > _L6_ML for n, part in verse.vertebrae):
        return f"no L6 is larger than {_L6_ML:g} mL"
    down, up = verse.directions
    lowest = min(BY_NAME[level].value for level in verse.levels)
    if verse.reversed and (first <= _FIRST_OF_INSTANCES + 1 or lowest >= _LOWEST_OTHER):
        return _REVERSED_TEXT.format("another numbering, such as TotalSegmentator's first")
    if down + up >= 4 and not verse.reversed and down <= up:
        return "they do not follow each other along the spine"
    if first <= _FIRST_OF_INSTANCES and len(verse.levels) > 1 and not verse.ordered:
        return "they do not follow each other from head to tail"
    if unknown and not verse.ordered and (len(verse.levels) > 1 or _elsewhere(unknown)):
        return (
            f"{unknown[0]} is not a level, and the others do not follow each other along the spine"
        )
    return _too_far(verse, first)


def _elsewhere(values: list[int]) -> bool:
    """Return whether a value is a level in another numbering."""
    return any(v in n.levels for n in (TOTALSEGMENTATOR, TOTALSEGMENTATOR_V1) for v in values)


def _too_far(verse: Chain, first: int) -> str:
    ratios = verse.without_slivers.step_ratios
    limit, least = (_TOO_FAR_CERVICAL, 1) if first <= _CERVICAL else (_TOO_FAR, 2)
    if len(ratios) >= least and np.median(ratios) > limit:
        return (
            f"these are {np.median(ratios):.1f} times as far apart as such vertebrae: the values "
            "may be instance numbers"
        )
    # A truncated vertebra was even larger, so that it counts too.
    volumes = [part.volume_ml / usual_volume_ml(name) for name, part in verse.vertebrae]
    if first <= _CERVICAL and volumes and np.median(volumes) > MEDIAN_VOLUME_RATIO[1]:
        return (
            f"these are {np.median(volumes):.1f} times as large as such vertebrae: the values may "
            "be instance numbers"
        )
    return ""


def _instances(verse: Chain) -> str:
    """Return a reason to take the values for instance numbers; empty if there is none."""
    chain = verse.without_slivers
    first = BY_NAME[chain.levels[0]].value if chain.ordered else 0
    if first not in _BETTER_COST or len(chain.vertebrae) < 2:
        return ""
    cut = [part.cut for _, part in chain.vertebrae]
    if first <= _FIRST_OF_INSTANCES and cut.count(False) < _LEAST_WHOLE:
        return "most of them are truncated, so that they may also be instance numbers"
    renamed = [chain.renamed(shift) for shift in range(-len(USUAL), len(USUAL)) if shift]
    costs = {other.levels[0]: other.cost() for other in renamed if other is not None}
    best = min(costs, key=costs.__getitem__, default="")
    limit = min(chain.cost() - _BETTER_COST[first], 2 * _FITS_COST * len(cut))
    if best and costs[best] < limit:
        return f"they look more like vertebrae from {best} down: they may be instance numbers"
    return ""


def _best(stats: Mapping[int, LabelStats], numberings: list[Numbering]) -> Numbering | None:
    """Return the numbering that explains most values, or fits clearly better; None if tied."""
    chains = {n.title: Chain.of(stats, n).without_slivers for n in numberings}
    by_title = {n.title: n for n in numberings}
    ranked = sorted(chains, key=lambda t: (-len(chains[t].levels), chains[t].cost()))
    if len(ranked) > 1 and len(chains[ranked[0]].levels) == len(chains[ranked[1]].levels):
        costs = [chains[title].cost() for title in ranked]
        if costs[1] < costs[0] + _DECIDED_COST:
            return None
    return by_title[ranked[0]]


def _equally_good(stats: Mapping[int, LabelStats], guess: Numbering) -> Numbering | None:
    """Return another numbering with as many levels and a similar fit, or None."""
    read = Chain.of(stats, guess)
    for other in _ON_REQUEST:
        chain = Chain.of(stats, other)
        if not chain.is_real or len(chain.levels) < len(read.levels):
            continue
        if not read.is_real or len(chain.levels) > len(read.levels):
            return other
        margin = _DOUBTED_COST if guess is VERSE else 0.0
        if chain.without_slivers.cost() + margin < read.without_slivers.cost():
            return other
    return None


def _either(stats: Mapping[int, LabelStats], numberings: list[Numbering], beyond: bool) -> str:
    titles = " or ".join(n.title for n in numberings)
    if beyond:
        return f"they may follow the numbering of {titles}"
    return _REVERSED_TEXT.format(f"the numbering of {titles}")


def _listed(verse: Chain, present: Sequence[int]) -> str:
    shown = ", ".join(map(str, present[:6])) + (" ..." if len(present) > 6 else "")
    if not verse.levels:
        return f"holds the values {shown}"
    names = ", ".join(verse.levels[:6]) + (" ..." if len(verse.levels) > 6 else "")
    return f"holds the values {shown}, which would be {names} in VerSe's numbering"
