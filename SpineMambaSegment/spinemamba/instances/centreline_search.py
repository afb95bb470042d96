"""Search for the centre line through the vertebral bodies in the core probability.

Cores are not separate objects at this stage: neighbouring ones may be merged, and hips, clavicles
or ribs may be predicted as cores, too. The image is divided into thin axial slabs. Dynamic
programming from head to tail finds the path that passes the most core with the least bending.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.imaging.centreline import CentreLine, line_through

SLAB_MM = 6.0
REGION_THRESHOLD = 0.4
LEAST_AREA_MM2 = 15.0
FULL_AREA_MM2 = 150.0
"""Cross-section of an upper thoracic core. Larger ones, such as those of a hip, score no more."""

LONGEST_GAP_MM = 45.0
"""Longest gap in the line: a vertebra without a predicted core is bridged."""

GAP_COST = 0.15
SIDEWAYS, FORWARD = 0.35, 2.0
"""Usual slopes of a spine, to the side and to the front or back: mm per mm downwards."""

PAIR_MM = (20.0, 60.0)
"""Least and greatest distance of two regions that are combined: the lateral masses of C1."""


@dataclass(frozen=True)
class _Region:
    """A region of core in a slab: number of the slab, centre (z, y, x) in mm, and score."""

    slab: int
    centre_mm: np.ndarray
    score: float


def find_centreline(core: np.ndarray, spacing_mm: tuple[float, float, float]) -> CentreLine | None:
    """Find the centre line of the spine.

    Args:
        core: Core probability, (z, y, x), canonical orientation.
        spacing_mm: Voxel size along z, y, x.

    Returns:
        The centre line, or None if there is no core.
    """
    regions = _regions(core, spacing_mm)
    if not regions:
        return None
    return line_through(np.array([region.centre_mm for region in _best_path(regions)]))


def _regions(core: np.ndarray, spacing_mm: tuple[float, float, float]) -> list[_Region]:
    """Return the regions of core of all slabs, from head to tail."""
    thickness = max(1, round(SLAB_MM / spacing_mm[0]))
    area_mm2 = float(np.prod(spacing_mm[1:])) / thickness
    starts = range(core.shape[0] - thickness, -1, -thickness)
    regions = []
    for slab, start in enumerate(starts):
        block = core[start : start + thickness]
        pieces, count = ndimage.label(block > REGION_THRESHOLD)
        if not count:
            continue
        numbers = np.arange(1, count + 1)
        areas = np.asarray(ndimage.sum_labels(block, pieces, numbers)) * area_mm2
        centres = np.array(ndimage.center_of_mass(block, pieces, numbers))
        centres[:, 0] += start
        keep = areas >= LEAST_AREA_MM2
        single = list(zip(centres[keep] * np.asarray(spacing_mm), areas[keep], strict=True))
        regions += [_region(slab, centre, area) for centre, area in [*single, *_pairs(single)]]
    return regions


def _region(slab: int, centre_mm: np.ndarray, area_mm2: float) -> _Region:
    return _Region(slab, centre_mm, min(area_mm2 / FULL_AREA_MM2, 1.0))


def _pairs(single: list[tuple[np.ndarray, float]]) -> list[tuple[np.ndarray, float]]:
    """Return the midpoints of pairs of similar regions side by side, with the smaller area.

    Args:
        single: Centres (z, y, x) in mm and areas in mm2.
    """
    pairs = []
    for (a, area_a), (b, area_b) in itertools.combinations(single, 2):
        gap_mm = abs(a[2] - b[2])
        similar = max(area_a, area_b) < 3 * min(area_a, area_b)
        if similar and PAIR_MM[0] < gap_mm < PAIR_MM[1] and abs(a[1] - b[1]) < gap_mm / 3:
            pairs.append(((a + b) / 2, min(area_a, area_b)))
    return pairs


def _best_path(regions: list[_Region]) -> list[_Region]:
    """Return the regions of the path with the highest total score, from head to tail."""
    totals, previous = np.zeros(len(regions)), [-1] * len(regions)
    reach = round(LONGEST_GAP_MM / SLAB_MM)
    for k, region in enumerate(regions):
        totals[k] = region.score
        for j in range(k - 1, -1, -1):
            if region.slab - regions[j].slab > reach:
                break
            if region.slab == regions[j].slab:
                continue
            total = totals[j] + region.score - _step_cost(regions[j], region)
            if total > totals[k]:
                totals[k], previous[k] = total, j
    k = int(np.argmax(totals))
    path = [regions[k]]
    while (k := previous[k]) >= 0:
        path.append(regions[k])
    return path[::-1]


def _step_cost(upper: _Region, lower: _Region) -> float:
    """Return the cost of a step: a bending term, and a constant per slab without core."""
    slabs = lower.slab - upper.slab
    _, forward, sideways = np.abs(lower.centre_mm - upper.centre_mm) / (slabs * SLAB_MM)
    bend = 0.5 * ((sideways / SIDEWAYS) ** 2 + (forward / FORWARD) ** 2)
    return bend + GAP_COST * (slabs - 1)
