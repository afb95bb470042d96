"""Which numbering the values of a label image follow, judged by where and how large they are.

Label images carry no names. Numbers alone do not tell numberings apart (20 is L1 in VerSe's, L3 in
TotalSegmentator's first), and instances that are counted 1, 2, 3 look like C1, C2, C3. Anatomy
does: VerSe's numbers rise from head to tail, TotalSegmentator's fall, and cervical vertebrae are
small and close together. What cannot be decided is refused.
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
from spinemamba.labelmaps.numbered_chain import MEDIAN_VOLUME_RATIO, USUAL, Chain, Seen, seen_values

__all__ = ["check_numbering", "guess_numbering", "seen_values"]

TOO_FAR, TOO_FAR_CERVICAL = 1.8, 1.45
"""Median distance over the usual one from which names cannot be right. The strict one is for
numbers from 1 to 7, which are often those of instances."""

TOO_LARGE_ML = 400.0
"""No vertebra is as large, two grown together are not, either."""

CERVICAL = 7
FIRST_OF_INSTANCES = 2
"""Counted instances begin with 1, or with 2 where the first one was cut off."""

DOUBTED_COST = 2.0
"""What the numbering of other software must be better by for VerSe's to be doubted."""

LEAST_WHOLE = 2
"""Vertebrae whose size tells those of the neck from counted instances."""

FITS_COST = 3.0
"""Mean squared deviation up to which a naming fits a chain."""

BETTER_COST = {1: 0.5, 2: 0.5, 3: 4.0, 4: 4.0, 5: 4.0, 6: 4.0, 7: 4.0}
"""What another naming must be better by for VerSe's numbers to be doubted, by the first number.
From T1 down chains look too much alike."""

DECIDED_COST = 4.0
"""What one of TotalSegmentator's numberings must be better by than the other."""

COCCYX_ML = 40.0
L6_ML = 150.0
"""No L6 is larger; some software gives its number, 25, to the sacrum."""

UPWARD = (TOTALSEGMENTATOR, TOTALSEGMENTATOR_V1, TOTALSEGMENTATOR_MR, VISTA3D)
ON_REQUEST = (TOTALSEGMENTATOR_MR, TOTALSPINESEG, VISTA3D)
"""Numberings that are not read unasked, but keep others from being read by mistake."""

LOWEST_OTHER = min(TOTALSEGMENTATOR_V1.levels)
UPWARDS = (
    "they rise from tail to head: either they follow {}, or the header holds the spine upside down"
)
REMEDY = f"Say what the values mean: --labels {OPTION}."


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
    guess = _of_known(seen, present, name)
    if (other := _as_good(seen, guess)) is not None:
        raise UserError(
            f"{name} {_listed(verse, present)}, but they may follow the numbering of "
            f"{other.title}.",
            REMEDY,
        )
    return guess


def _of_known(seen: Mapping[int, Seen], present: Sequence[int], name: str) -> Numbering:
    """Return VerSe's numbering or one of TotalSegmentator's for CT; as `guess_numbering`."""
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
    """Refuse a numbering from tail to head for labels that run the other way, as VerSe's do.

    Raises:
        UserError: If it is so.
    """
    if numbering in UPWARD and Chain.of(seen, numbering).reversed:
        raise UserError(
            f"{name} does not follow the numbering of {numbering.title}: its vertebrae would lie "
            "upside down.",
            REMEDY,
        )


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
    if any(n == "L6" and part.volume_ml > L6_ML for n, part in verse.vertebrae):
        return f"no L6 is larger than {L6_ML:g} mL"
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
    if first <= FIRST_OF_INSTANCES and cut.count(False) < LEAST_WHOLE:
        return "the image cuts most of them, so that they may as well be counted instances"
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


def _as_good(seen: Mapping[int, Seen], guess: Numbering) -> Numbering | None:
    """Return a numbering that explains as many values and fits as well; None if there is none."""
    read = Chain.of(seen, guess)
    for other in ON_REQUEST:
        chain = Chain.of(seen, other)
        if not chain.is_real or len(chain.levels) < len(read.levels):
            continue
        if not read.is_real or len(chain.levels) > len(read.levels):
            return other
        margin = DOUBTED_COST if guess is VERSE else 0.0
        if chain.whole_enough.cost() + margin < read.whole_enough.cost():
            return other
    return None


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
