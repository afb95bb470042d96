"""Cores of the vertebral bodies, one per vertebra, numbered from head to tail.

Cores are separated along the centre line (`core_cuts`). If the field of view ends within a
vertebra, only a sliver of its core is visible. It is too small and too close to the next core to be
separated that way, and is handled here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from spinemamba.imaging.centreline import CentreLine
from spinemamba.imaging.truncation import reaches_end
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.centreline_search import CentrelineOptions, find_centreline
from spinemamba.instances.core_cuts import CoreCutOptions, segment_cores


@dataclass(frozen=True)
class CoreOptions:
    """Thresholds, each with its reason.

    Attributes:
        least_mm3: Least volume of a core: a fifth of the smallest cervical core in the real masks.
        certain_probability: A core truncated by the upper or lower end of the image is kept
            despite its small volume if its mean probability is at least this. Networks reach it
            in the middle of a body.
        least_sliver_mm3: Smaller truncated cores are stray voxels.
        sliver_step_mm: Least distance along the centre line between a sliver and the core that it
            was merged with.
        sliver_side_mm: Greatest distance to the left or right between the two. A piece further
            away may be the other lateral mass of C1.
        centreline: Options of the search for the centre line.
        cuts: Options of the cuts between cores.
    """

    least_mm3: float = 100.0
    certain_probability: float = 0.95
    least_sliver_mm3: float = 20.0
    sliver_step_mm: float = 4.0
    sliver_side_mm: float = 12.0
    centreline: CentrelineOptions = field(default_factory=CentrelineOptions)
    cuts: CoreCutOptions = field(default_factory=CoreCutOptions)


def core_seeds(predictions: VoxelPredictions, bone: np.ndarray, options: CoreOptions) -> np.ndarray:
    """Return the cores, numbered from head to tail, int32 (z, y, x); 0 is background.

    Args:
        predictions: Voxel predictions.
        bone: Mask in which cores are searched, bool (z, y, x).
        options: Thresholds.
    """
    spacing_mm = predictions.geometry.spacing_mm
    core = np.where(bone, predictions.core, 0)
    line = find_centreline(core, spacing_mm, options.centreline)
    if line is None:
        return np.zeros(core.shape, np.int32)
    merged = segment_cores(core, line, spacing_mm, options.cuts)
    pieces = _split_ends(merged, line, predictions, options)
    sizes = np.bincount(pieces.ravel())
    large = sizes * predictions.geometry.voxel_mm3 >= options.least_mm3
    large[list(certain_slivers(pieces, predictions, options))] = True
    large[0] = False
    return np.where(large, np.cumsum(large), 0).astype(np.int32)[pieces]


def certain_slivers(
    cores: np.ndarray, predictions: VoxelPredictions, options: CoreOptions
) -> set[int]:
    """Return the numbers of cores that are truncated at the top or bottom and yet certain.

    Args:
        cores: Core number of each voxel, 0 is background, (z, y, x).
        predictions: Voxel predictions.
        options: Thresholds.
    """
    grid = predictions.geometry
    least_voxels = options.least_sliver_mm3 / grid.voxel_mm3
    certain = set()
    for number, box in enumerate(ndimage.find_objects(cores), start=1):
        if box is None:
            continue
        mask = cores[box] == number
        if (
            mask.sum() < least_voxels
            or predictions.core[box][mask].mean() < options.certain_probability
        ):
            continue
        voxels = np.argwhere(mask) + [s.start for s in box]
        if reaches_end(voxels, grid, predictions.field_of_view):
            certain.add(number)
    return certain


def _split_ends(
    pieces: np.ndarray, line: CentreLine, predictions: VoxelPredictions, options: CoreOptions
) -> np.ndarray:
    """Return the cores with slivers at the top and bottom numbered as separate cores."""
    last = int(pieces.max())
    if not last:
        return pieces
    # Number 1 is reserved for a sliver above the first core; `core_seeds` closes gaps in numbering.
    out = np.where(pieces > 0, pieces + 1, 0).astype(np.int32)
    boxes = ndimage.find_objects(out)
    for end, new in ((2, 1), (last + 1, last + 2)):
        if (box := boxes[end - 1]) is None:
            continue
        parts = np.zeros_like(out)  # components of this core on the full grid
        parts[box], count = ndimage.label(out[box] == end)
        for sliver in _slivers(parts, count, line, predictions, options, towards=new - end):
            out[box][parts[box] == sliver] = new
    return out


def _slivers(
    parts: np.ndarray,
    count: int,
    line: CentreLine,
    predictions: VoxelPredictions,
    options: CoreOptions,
    *,
    towards: int,
) -> list[int]:
    """Return the components of a core that are slivers of the next vertebra.

    Args:
        parts: Component number of each voxel of the first or last core, 0 elsewhere, (z, y, x).
        count: Number of components.
        line: Centre line from head to tail.
        predictions: Voxel predictions.
        options: Thresholds.
        towards: -1 for a vertebra above, 1 for one below.
    """
    if count < 2:
        return []
    spacing_mm = np.asarray(predictions.geometry.spacing_mm)
    boxes = ndimage.find_objects(parts)
    centres_mm, sizes = np.zeros((count, 3)), np.zeros(count)
    for k, box in enumerate(boxes):
        voxels = np.argwhere(parts[box] == k + 1)
        centres_mm[k] = (voxels.mean(axis=0) + [s.start for s in box]) * spacing_mm
        sizes[k] = len(voxels)
    along, main = line.project(centres_mm)[0], int(sizes.argmax())
    further = towards * (along - along[main]) >= options.sliver_step_mm
    beside = np.abs(centres_mm[:, 2] - centres_mm[main, 2]) <= options.sliver_side_mm
    certain = certain_slivers(parts, predictions, options)
    return [k + 1 for k in np.flatnonzero(further & beside) if k + 1 in certain]
