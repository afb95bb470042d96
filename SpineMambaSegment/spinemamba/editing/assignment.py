"""Assign the bone in a box to the target vertebra, to unsegmented or to existing vertebrae."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.editing.outline import EXISTING, TARGET, UNKNOWN
from spinemamba.editing.seeds import BoxSeeds, sample_nearest
from spinemamba.imaging.volume import Volume
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.find import expected_level
from spinemamba.instances.partition import VoxelHints, assign_voxels

HELD = 0.25
"""Share of a neighbour that overlaps the target. Above it, the neighbour contains the target by
mistake; less is a different boundary at the facet joints."""


@dataclass(frozen=True)
class Assignment:
    """Assignment of the bone in a box.

    Attributes:
        parts: `TARGET`, `UNKNOWN` or `EXISTING`, 0 for background; int16, on the grid of the voxel
            predictions.
        neighbours: Label values of the neighbours that keep their voxels, uint8, on the image.
    """

    parts: np.ndarray
    neighbours: np.ndarray


def assign_bone(
    seeds: BoxSeeds, predictions: VoxelPredictions, known: Volume, kept: np.ndarray
) -> Assignment:
    """Assign the bone in a box.

    Existing labels are not used as seeds: they begin at the facet joints of the target, and would
    reach its arch before the path from its own body does.

    Args:
        seeds: Seeds of the vertebrae.
        predictions: Voxel predictions of the fine network.
        known: Label values of the existing vertebrae, on the canonical image.
        kept: Mask of voxels of the image that must not be overwritten.
    """
    # The coarse stage does not run in a box.
    level = expected_level(predictions, seeds.bone, fine_weight=1.0)
    hints = VoxelHints(level, predictions.offsets_mm)
    numbers = assign_voxels(seeds.numbers, seeds.bone, hints, predictions.geometry.spacing_mm)
    labels = sample_nearest(known.array, known.geometry, predictions.geometry)
    containing = _containing_target(labels, numbers, seeds.target)
    existing = kept | ((known.array > 0) & ~np.isin(known.array, containing))
    existing_fine = sample_nearest(existing, known.geometry, predictions.geometry)
    code = np.full(int(numbers.max()) + 1, UNKNOWN, np.int16)
    for number in range(1, len(code)):
        seed = seeds.numbers == number
        if 2 * int((seed & existing_fine).sum()) > int(seed.sum()):
            code[number] = EXISTING
    code[0], code[seeds.target] = 0, TARGET
    return Assignment(code[numbers], np.where(existing, known.array, 0))


def _containing_target(labels: np.ndarray, numbers: np.ndarray, target: int) -> list[int]:
    """Return the label values of which a share above `HELD` is assigned to the target."""
    sizes = np.bincount(labels.ravel())
    overlap = np.bincount(labels[numbers == target], minlength=len(sizes))
    return [value for value in range(1, len(sizes)) if overlap[value] > HELD * sizes[value]]
