"""The line through the bodies of the vertebrae, found in the probability of body cores.

Cores are not known as objects yet: they may be joined, and hips, clavicles or ribs have cores of
their own. So thin slabs of the image are searched from head to tail for the way that passes the
most core with the least bending, by dynamic programming.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.imaging.centreline import CentreLine, line_through

SLAB_MM = 6.0
PLACE_THRESHOLD = 0.4
LEAST_AREA_MM2 = 15.0
FULL_AREA_MM2 = 150.0
"""The cross-section of an upper thoracic core; larger ones, such as a hip's, are worth no more."""

LONGEST_GAP_MM = 45.0
"""The line bridges a vertebra whose core was missed."""

GAP_COST = 0.15
SIDEWAYS, FORWARD = 0.35, 2.0
"""How steep a spine usually is: millimetres to the side, and to the front, for one downwards."""

PAIR_MM = (20.0, 60.0)
"""How far apart two pieces are that count as one: the lateral masses of C1."""


@dataclass(frozen=True)
class _Place:
    """A piece of core in a slab: the slab's number, its centre (z, y, x) and how much it counts."""

    slab: int
    centre_mm: np.ndarray
    gain: float


def find_centreline(core: np.ndarray, spacing_mm: tuple[float, float, float]) -> CentreLine | None:
    """Find the line of the spine.

    Args:
        core: Probability of body core, (z, y, x), canonical orientation.
        spacing_mm: Voxel size along z, y, x.

    Returns:
        The line; None if there is no core.
    """
    places = _places(core, spacing_mm)
    if not places:
        return None
    way = np.array([place.centre_mm for place in _best_way(places)])
    return line_through(way)


def _places(core: np.ndarray, spacing_mm: tuple[float, float, float]) -> list[_Place]:
    """Return the pieces of core in every slab, from head to tail."""
    thickness = max(1, round(SLAB_MM / spacing_mm[0]))
    area_mm2 = float(np.prod(spacing_mm[1:])) / thickness
    starts = range(core.shape[0] - thickness, -1, -thickness)
    places = []
    for slab, start in enumerate(starts):
        block = core[start : start + thickness]
        pieces, count = ndimage.label(block > PLACE_THRESHOLD)
        if not count:
            continue
        numbers = np.arange(1, count + 1)
        areas = np.asarray(ndimage.sum_labels(block, pieces, numbers)) * area_mm2
        centres = np.array(ndimage.center_of_mass(block, pieces, numbers))
        centres[:, 0] += start
        keep = areas >= LEAST_AREA_MM2
        found = list(zip(centres[keep] * np.asarray(spacing_mm), areas[keep], strict=True))
        places += [_place(slab, centre, area) for centre, area in [*found, *_pairs(found)]]
    return places


def _place(slab: int, centre_mm: np.ndarray, area_mm2: float) -> _Place:
    return _Place(slab, centre_mm, min(area_mm2 / FULL_AREA_MM2, 1.0))


def _pairs(found: list[tuple[np.ndarray, float]]) -> list[tuple[np.ndarray, float]]:
    """Return what lies between two like pieces left and right of each other."""
    pairs = []
    for (a, area_a), (b, area_b) in itertools.combinations(found, 2):
        apart = abs(a[2] - b[2])
        alike = max(area_a, area_b) < 3 * min(area_a, area_b)
        if alike and PAIR_MM[0] < apart < PAIR_MM[1] and abs(a[1] - b[1]) < apart / 3:
            pairs.append(((a + b) / 2, min(area_a, area_b)))
    return pairs


def _best_way(places: list[_Place]) -> list[_Place]:
    """Return the places of the best way from head to tail."""
    totals, before = np.zeros(len(places)), [-1] * len(places)
    reach = round(LONGEST_GAP_MM / SLAB_MM)
    for k, place in enumerate(places):
        totals[k] = place.gain
        for j in range(k - 1, -1, -1):
            if place.slab - places[j].slab > reach:
                break
            if place.slab == places[j].slab:
                continue
            total = totals[j] + place.gain - _step_cost(places[j], place)
            if total > totals[k]:
                totals[k], before[k] = total, j
    k = int(np.argmax(totals))
    way = [places[k]]
    while (k := before[k]) >= 0:
        way.append(places[k])
    return way[::-1]


def _step_cost(upper: _Place, lower: _Place) -> float:
    """Return what a step costs: for bending, and for every slab without core."""
    slabs = lower.slab - upper.slab
    _, forward, sideways = np.abs(lower.centre_mm - upper.centre_mm) / (slabs * SLAB_MM)
    bend = 0.5 * ((sideways / SIDEWAYS) ** 2 + (forward / FORWARD) ** 2)
    return bend + GAP_COST * (slabs - 1)
