"""Uncertainties of measurements, from their spread over perturbed labels.

An uncertainty is an expanded one: twice the standard deviation, so that about 95 % of the true
values lie within it. The spread of a single item over a few draws is itself noisy. Therefore it is
combined with the usual spread of the same quantity in the same spine, as in an empirical Bayes
estimate of a variance.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from spinemamba.measure.pelvis import WITH_HIPS
from spinemamba.measure.vertebra import genant_grade
from spinemamba.protocol.measurements import Item
from spinemamba.protocol.quantities import BY_KEY

_COVERAGE = 2.0
"""Uncertainty in standard deviations."""

_NORMAL = math.sqrt(math.pi / 2)
"""Standard deviation of a normal distribution over its mean absolute deviation."""

_PRIOR_DRAWS = 5.0
"""Weight of the usual spread, in draws."""

_LEAST_ITEMS = 3
"""Smallest number of items that tell the usual spread."""

_LEAST_DRAWS = 0.5
"""Smallest share of the draws that must give the value."""

_IN_DOUBT = 1.5
"""Factor for levels that the image cuts, or whose shape has flags."""

_HIPS_DEG = 1.5
"""Uncertainty of an angle from that of the femoral heads, about 3 mm at a distance of 110 mm."""

_UNSTABLE = "not stable: half a voxel decides whether it can be measured"
_BELOW = "not larger than its uncertainty of {:.{}f} {}"
_VOID = "uncertain by {:.{}f} {}"

NO_FURTHER: Mapping[str, float] = MappingProxyType({})
"""No further uncertainties."""

_Key = tuple[str, str, str]


def with_uncertainties(
    items: Sequence[Item],
    draws: Sequence[Sequence[Item]],
    doubtful: Collection[str] = (),
    known: Mapping[str, float] = NO_FURTHER,
) -> list[Item]:
    """Return the items with uncertainties; values that they make void are replaced by a reason.

    Args:
        items: Items measured in the labels.
        draws: The same items measured in perturbed labels.
        doubtful: Levels with larger uncertainties: cut by the image, or flagged.
        known: Further uncertainties that labels do not show, by the key of the quantity.
    """
    values = [{_key(item): item.values for item in drawn} for drawn in draws]
    spread = {_key(item): _spreads(item, values) for item in items}
    usual = _usual(spread.values())
    out = []
    for item in items:
        factor = _IN_DOUBT if {*item.name.split("-")} & set(doubtful) else 1.0
        found = {
            key: factor * _COVERAGE * _combined(*own, usual.get(key))
            for key, own in spread[_key(item)].items()
        }
        found |= {key: math.hypot(found[key], known[key]) for key in known if key in found}
        if item.name in WITH_HIPS and "angle_deg" in found:
            found["angle_deg"] = math.hypot(found["angle_deg"], _HIPS_DEG)
        out.append(_judged(item, found, len(draws), spread[_key(item)]))
    return out


def _key(item: Item) -> _Key:
    return item.kind, item.name, item.view


def _spreads(
    item: Item, draws: Sequence[Mapping[_Key, Mapping[str, float | None]]]
) -> dict[str, tuple[float, int]]:
    """Return standard deviation and number of draws, by the keys of known values.

    The deviation from the value itself counts, not from the mean of the draws. It is estimated from
    the mean absolute deviation, because a single draw may lose a wall and be far off.
    """
    out = {}
    for key, value in item.values.items():
        if value is None:
            continue
        drawn = [values.get(_key(item), {}).get(key) for values in draws]
        off = np.array([other - value for other in drawn if other is not None])
        if BY_KEY[key].unit == "deg":
            off = (off + 180.0) % 360.0 - 180.0
        spread = _NORMAL * float(np.abs(off).mean()) if len(off) else 0.0
        out[key] = (spread, len(off))
    return out


def _usual(spreads: Collection[Mapping[str, tuple[float, int]]]) -> dict[str, float]:
    """Return the median spread of every quantity with enough items."""
    by_key = defaultdict(list)
    for found in spreads:
        for key, (spread, count) in found.items():
            if count:
                by_key[key].append(spread)
    return {k: float(np.median(v)) for k, v in by_key.items() if len(v) >= _LEAST_ITEMS}


def _combined(spread: float, count: int, usual: float | None) -> float:
    """Return the standard deviation from an own spread and the usual one."""
    if usual is None or count == 0:
        return spread if usual is None else max(spread, usual)
    return math.sqrt((_PRIOR_DRAWS * usual**2 + count * spread**2) / (_PRIOR_DRAWS + count))


def _judged(
    item: Item, found: dict[str, float], draws: int, counts: Mapping[str, tuple[float, int]]
) -> Item:
    """Return an item with its uncertainties, without values that are void."""
    values, reasons, kept = dict(item.values), dict(item.reasons), {}
    for key, uncertainty in found.items():
        quantity, value = BY_KEY[key], item.values[key]
        least = 0.5 * 10.0**-quantity.digits
        uncertainty = max(uncertainty, least)
        reason = ""
        if counts[key][1] < _LEAST_DRAWS * draws:
            reason = _UNSTABLE
        elif quantity.positive and value <= uncertainty:
            reason = _BELOW.format(uncertainty, quantity.digits, quantity.unit)
        elif quantity.void is not None and uncertainty > quantity.void:
            reason = _VOID.format(uncertainty, quantity.digits, quantity.unit)
        if reason:
            values[key], reasons[key] = None, reason
        else:
            kept[key] = uncertainty
    _grade(values, reasons, kept)
    words = dict(item.words)
    if "deformity" in words and not values.get("genant_grade"):
        del words["deformity"]
    return replace(item, values=values, reasons=reasons, words=words, uncertainties=kept)


def _grade(
    values: dict[str, float | None], reasons: dict[str, str], kept: dict[str, float]
) -> None:
    """Set the uncertainty of the Genant grade: the grades within that of the height loss."""
    if values.get("genant_grade") is None:
        return
    loss, grade = values["height_loss_percent"], values["genant_grade"]
    if loss is None:
        values["genant_grade"], reasons["genant_grade"] = None, reasons["height_loss_percent"]
        kept.pop("genant_grade", None)
        return
    width = kept["height_loss_percent"]
    ends = genant_grade(loss - width), genant_grade(loss + width)
    kept["genant_grade"] = float(max(grade - ends[0], ends[1] - grade))
