"""The cores of the bodies, one per vertebra, from head to tail.

Cores are cut from each other along the centre line. Where the data end in a vertebra, a sliver of
its core is all there is: too small, and too near to the next one, for the cut along the line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.imaging.centreline import CentreLine
from spinemamba.imaging.truncation import reaches_end
from spinemamba.inference.voxel_predictions import Evidence
from spinemamba.instances.centreline_search import find_centreline
from spinemamba.instances.core_cuts import cut_chain


@dataclass(frozen=True)
class CoreOptions:
    """Thresholds, each with its reason.

    Attributes:
        least_mm3: A fifth of the smallest cervical core in the real masks.
        certain: A core with this mean probability that the end of the image cuts is believed
            however little of it is in view; networks are this sure in the middle of a body.
        least_sliver_mm3: So little of a core, all the same, is a stray voxel.
        sliver_step_mm: A sliver lies at least this much further along the line than the core that
            the cut took it for.
        sliver_side_mm: And at most this much further left or right, or it may be the other lateral
            mass of C1.
    """

    least_mm3: float = 100.0
    certain: float = 0.95
    least_sliver_mm3: float = 20.0
    sliver_step_mm: float = 4.0
    sliver_side_mm: float = 12.0


def core_seeds(evidence: Evidence, bone: np.ndarray, options: CoreOptions) -> np.ndarray:
    """Return the cores, numbered from head to tail, int32 (z, y, x).

    Args:
        evidence: What the networks say.
        bone: Where cores may lie, bool (z, y, x).
        options: Thresholds.
    """
    spacing_mm = evidence.geometry.spacing_mm
    core = np.where(bone, evidence.core, 0)
    line = find_centreline(core, spacing_mm)
    if line is None:
        return np.zeros(core.shape, np.int32)
    pieces = _split_ends(cut_chain(core, line, spacing_mm), line, evidence, options)
    sizes = np.bincount(pieces.ravel())
    large = sizes * evidence.geometry.voxel_mm3 >= options.least_mm3
    large[list(certain_slivers(pieces, evidence, options))] = True
    large[0] = False
    return np.where(large, np.cumsum(large), 0).astype(np.int32)[pieces]


def certain_slivers(cores: np.ndarray, evidence: Evidence, options: CoreOptions) -> set[int]:
    """Return the numbers of cores at the upper or lower end of the data that are certain.

    Args:
        cores: Number of each core, 0 elsewhere, (z, y, x).
        evidence: What the networks say.
        options: Thresholds.
    """
    grid = evidence.geometry
    least = options.least_sliver_mm3 / grid.voxel_mm3
    found = set()
    for number, box in enumerate(ndimage.find_objects(cores), start=1):
        if box is None:
            continue
        own = cores[box] == number
        if own.sum() < least or evidence.core[box][own].mean() < options.certain:
            continue
        voxels = np.argwhere(own) + [s.start for s in box]
        if reaches_end(voxels, grid, evidence.field_of_view):
            found.add(number)
    return found


def _split_ends(
    pieces: np.ndarray, line: CentreLine, evidence: Evidence, options: CoreOptions
) -> np.ndarray:
    """Return the cores with slivers at both ends of the data numbered apart from the next core."""
    last = int(pieces.max())
    if not last:
        return pieces
    # Room for one before the first; the numbers are closed up later.
    out = np.where(pieces > 0, pieces + 1, 0).astype(np.int32)
    boxes = ndimage.find_objects(out)
    for end, new in ((2, 1), (last + 1, last + 2)):
        if (box := boxes[end - 1]) is None:
            continue
        parts = np.zeros_like(out)  # of this piece alone, but where it lies
        parts[box], count = ndimage.label(out[box] == end)
        for sliver in _slivers(parts, count, line, evidence, options, towards=new - end):
            out[box][parts[box] == sliver] = new
    return out


def _slivers(
    parts: np.ndarray,
    count: int,
    line: CentreLine,
    evidence: Evidence,
    options: CoreOptions,
    *,
    towards: int,
) -> list[int]:
    """Return which parts of a piece are slivers of the next vertebra.

    Args:
        parts: Number of each part of the first or last core of the chain, 0 elsewhere.
        count: How many there are.
        line: The centre line, head to tail.
        evidence: What the networks say.
        options: Thresholds.
        towards: -1 for a vertebra above, 1 for one below.
    """
    if count < 2:
        return []
    spacing_mm = np.asarray(evidence.geometry.spacing_mm)
    boxes = ndimage.find_objects(parts)
    centres_mm, sizes = np.zeros((count, 3)), np.zeros(count)
    for k, box in enumerate(boxes):
        voxels = np.argwhere(parts[box] == k + 1)
        centres_mm[k] = (voxels.mean(axis=0) + [s.start for s in box]) * spacing_mm
        sizes[k] = len(voxels)
    along, main = line.project(centres_mm)[0], int(sizes.argmax())
    further = towards * (along - along[main]) >= options.sliver_step_mm
    beside = np.abs(centres_mm[:, 2] - centres_mm[main, 2]) <= options.sliver_side_mm
    certain = certain_slivers(parts, evidence, options)
    return [k + 1 for k in np.flatnonzero(further & beside) if k + 1 in certain]
