"""Levels of another scan as evidence of the level solver, or as fixed levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import UserError
from spinemamba.instances.find import Instance
from spinemamba.levels.outlines import OtherScan
from spinemamba.levels.scan_match import ScanMatch, level_range
from spinemamba.protocol.level_doubt import LEVELS_DIFFER
from spinemamba.protocol.result import InstanceResult, LevelsFrom

_CERTAIN = 0.97
"""Probability of a level that the shape of a vertebra in another scan names."""

_FLOOR = 0.01
"""Least level probability before, as for the level solver: no network is ever certain."""

_SEEN_AS = {"T13": "T12", "L6": "L5"}
"""Levels without a class of their own; the sequence distinguishes them."""

AnyInstance = TypeVar("AnyInstance", Instance, InstanceResult)


def with_scan_evidence(
    items: Sequence[AnyInstance], match: ScanMatch, other: OtherScan
) -> tuple[AnyInstance, ...]:
    """Return the instances with level probabilities that the other scan has changed.

    Unchanged if the match is undecided, or if it fixes the levels.
    """
    if match.status != "found" or fixes(match, other):
        return tuple(items)
    return tuple(
        _named(item, match.levels[item.id], match.certainty[item.id])
        if item.id in match.levels
        else item
        for item in items
    )


def _named(item: AnyInstance, level: str, certainty: float) -> AnyInstance:
    channel = NETWORK_LEVELS.index(_SEEN_AS.get(level, level))
    certain = _CERTAIN * certainty
    share = np.full(len(NETWORK_LEVELS), (1 - certain) / (len(NETWORK_LEVELS) - 1))
    share[channel] = certain
    values = np.maximum(item.level_probabilities, _FLOOR) * share
    return replace(item, level_probabilities=tuple(map(float, values / values.sum())))


def fixes(match: ScanMatch, other: OtherScan) -> bool:
    """Return whether levels are fixed: vertebrae at the same place, and the names are certain."""
    return match.status == "found" and match.method == "overlap" and not other.in_doubt


def fixed_levels(
    match: ScanMatch | None, other: OtherScan | None, pins: Mapping[int, str]
) -> dict[int, str]:
    """Return the levels by number that the other scan fixes, with those that the user has fixed.

    Args:
        match: Match with the other scan; None without one.
        other: The other scan.
        pins: Levels fixed by the user, which take precedence.
    """
    if match is None or other is None or not fixes(match, other):
        return dict(pins)
    return {**match.levels, **pins}


def check_decided(match: ScanMatch, other: OtherScan) -> None:
    """Refuse a match with two alternatives.

    Raises:
        UserError: If it is undecided.
    """
    if match.status == "undecided":
        raise UserError(
            _undecided(match, other), "Give a scan with more vertebrae in common, or fix a level."
        )


def match_warnings(
    match: ScanMatch, other: OtherScan, names: Mapping[int, str | None]
) -> list[str]:
    """Return what the user should know about the levels from another scan.

    Args:
        match: Match with the other scan.
        other: The other scan.
        names: Level found by number of the vertebra.
    """
    if match.status == "undecided":
        return [_undecided(match, other)]
    out = []
    if other.in_doubt:
        out.append(f"The levels of {other.source}, used as evidence, are in doubt themselves.")
    return [*out, *difference_warnings(other.source, match.levels, names)]


def difference_warnings(
    source: str, levels: Mapping[int, str], names: Mapping[int, str | None]
) -> list[str]:
    """Return the warning about levels that are not those of another scan, if there are any.

    Args:
        source: Name of the other scan.
        levels: Its levels, by number of the vertebra.
        names: Level found by number of the vertebra.
    """
    differ = [
        f"{names.get(number) or 'no vertebra'} instead of {level}"
        for number, level in levels.items()
        if names.get(number) != level
    ]
    if not differ:
        return []
    return [f"{LEVELS_DIFFER}{source}: {', '.join(differ)}. Check one level."]


def _undecided(match: ScanMatch, other: OtherScan) -> str:
    return (
        f"The levels are not taken from {other.source}: {level_range(match.levels)} fits, and "
        f"{level_range(match.other_levels)} nearly as well ({match.score_mm:.1f} and "
        f"{match.other_score_mm:.1f} mm off)."
    )


def levels_from(match: ScanMatch, other: OtherScan) -> LevelsFrom:
    """Return the entry of a result about the other scan."""
    return LevelsFrom(
        source=other.source,
        method=match.method,
        status=match.status,
        fixed=fixes(match, other),
        offset=match.offset,
        score_mm=match.score_mm,
        levels=tuple(match.levels.items()),
        second_levels=tuple(match.other_levels.items()),
        second_score_mm=match.other_score_mm,
    )
