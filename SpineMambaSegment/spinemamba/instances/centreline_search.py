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


@dataclass(frozen=True)
class CentrelineOptions:
    """Thresholds and costs of the search.

    Attributes:
        core_threshold: Least core probability in a region. Higher than that of the seeds
            (`core_cuts`), as a region need not be complete.
        slab_mm: Thickness of the axial slabs.
        least_area_mm2: Least cross-section of a region; smaller ones are noise.
        full_area_mm2: Cross-section of an upper thoracic core. Larger ones, such as those of a
            hip, score no more.
        longest_gap_mm: Longest gap in the line: a vertebra without a predicted core is bridged.
        gap_cost: Cost of a slab without core, relative to the score of a full cross-section.
        sideways_slope: Usual slope of a spine to the side, mm per mm downwards.
        forward_slope: Usual slope of a spine to the front or back, mm per mm downwards.
        pair_mm: Least and greatest distance of two regions that are combined: the lateral masses
            of C1.
    """

    core_threshold: float = 0.4
    slab_mm: float = 6.0
    least_area_mm2: float = 15.0
    full_area_mm2: float = 150.0
    longest_gap_mm: float = 45.0
    gap_cost: float = 0.15
    sideways_slope: float = 0.35
    forward_slope: float = 2.0
    pair_mm: tuple[float, float] = (20.0, 60.0)


@dataclass(frozen=True)
class _Region:
    """A region of core in a slab: number of the slab, centre (z, y, x) in mm, and score."""

    slab: int
    centre_mm: np.ndarray
    score: float


def find_centreline(
    core: np.ndarray,
    spacing_mm: tuple[float, float, float],
    options: CentrelineOptions = CentrelineOptions(),
) -> CentreLine | None:
    """Find the centre line of the spine.

    Args:
        core: Core probability, (z, y, x), canonical orientation.
        spacing_mm: Voxel size along z, y, x.
        options: Thresholds and costs.

    Returns:
        The centre line, or None if there is no core.
    """
    regions = _regions(core, spacing_mm, options)
    if not regions:
        return None
    path = _best_path(regions, options)
    return line_through(np.array([region.centre_mm for region in path]))


def _regions(
    core: np.ndarray, spacing_mm: tuple[float, float, float], options: CentrelineOptions
) -> list[_Region]:
    """Return the regions of core of all slabs, from head to tail."""
    thickness = max(1, round(options.slab_mm / spacing_mm[0]))
    area_mm2 = float(np.prod(spacing_mm[1:])) / thickness
    starts = range(core.shape[0] - thickness, -1, -thickness)
    regions = []
    for slab, start in enumerate(starts):
        block = core[start : start + thickness]
        pieces, count = ndimage.label(block > options.core_threshold)
        if not count:
            continue
        numbers = np.arange(1, count + 1)
        areas = np.asarray(ndimage.sum_labels(block, pieces, numbers)) * area_mm2
        centres = np.array(ndimage.center_of_mass(block, pieces, numbers))
        centres[:, 0] += start
        keep = areas >= options.least_area_mm2
        single = list(zip(centres[keep] * np.asarray(spacing_mm), areas[keep], strict=True))
        regions += [
            _Region(slab, centre_mm, min(area / options.full_area_mm2, 1.0))
            for centre_mm, area in [*single, *_pairs(single, options.pair_mm)]
        ]
    return regions


def _pairs(
    single: list[tuple[np.ndarray, float]], pair_mm: tuple[float, float]
) -> list[tuple[np.ndarray, float]]:
    """Return the midpoints of pairs of similar regions side by side, with the smaller area.

    Args:
        single: Centres (z, y, x) in mm and areas in mm2.
        pair_mm: Least and greatest lateral distance.
    """
    pairs = []
    for (a, area_a), (b, area_b) in itertools.combinations(single, 2):
        gap_mm = abs(a[2] - b[2])
        similar = max(area_a, area_b) < 3 * min(area_a, area_b)
        if similar and pair_mm[0] < gap_mm < pair_mm[1] and abs(a[1] - b[1]) < gap_mm / 3:
            pairs.append(((a + b) / 2, min(area_a, area_b)))
    return pairs


def _best_path(regions: list[_Region], options: CentrelineOptions) -> list[_Region]:
    """Return the regions of the path with the highest total score, from head to tail."""
    totals, previous = np.zeros(len(regions)), [-1] * len(regions)
    reach = round(options.longest_gap_mm / options.slab_mm)
    for k, region in enumerate(regions):
        totals[k] = region.score
        for j in range(k - 1, -1, -1):
            if region.slab - regions[j].slab > reach:
                break
            if region.slab == regions[j].slab:
                continue
            total = totals[j] + region.score - _step_cost(regions[j], region, options)
            if total > totals[k]:
                totals[k], previous[k] = total, j
    k = int(np.argmax(totals))
    path = [regions[k]]
    while (k := previous[k]) >= 0:
        path.append(regions[k])
    return path[::-1]


def _step_cost(upper: _Region, lower: _Region, options: CentrelineOptions) -> float:
    """Return the cost of a step: a bending term, and a constant per slab without core."""
    slabs = lower.slab - upper.slab
    offset_mm = np.abs(lower.centre_mm - upper.centre_mm)
    _, forward, sideways = offset_mm / (slabs * options.slab_mm)
    bend = 0.5 * ((sideways / options.sideways_slope) ** 2 + (forward / options.forward_slope) ** 2)
    return bend + options.gap_cost * (slabs - 1)
