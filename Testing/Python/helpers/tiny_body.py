"""A small body of blocks: labels of the spine, and structures with TotalSegmentator's numbers."""

from __future__ import annotations

import numpy as np

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.training.data.structures import AORTA, LUNGS, MUSCLES, rib_numbers

NAMES = ("T10", "T11", "T12", "L1", "L2", "L3")
SPACING_MM = 3.0
STEP = 9
"""Distance of the vertebrae in voxels."""

SHAPE = (STEP * len(NAMES) + 20, 60, 64)
MIDDLE = 32


def vertebra_top(name: str) -> int:
    """Return the row above the block of a vertebra; rows increase towards the head."""
    return SHAPE[0] - 10 - STEP * NAMES.index(name)


def body_volumes() -> tuple[Volume, Volume]:
    """Return labels and structures; ribs 10 to 12 touch their vertebrae, one voxel away."""
    labels, structures = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    structures[:, 8:56, 6:58] = MUSCLES[0]
    structures[SHAPE[0] // 2 :, 10:40, 10:18] = LUNGS[0]
    structures[:, 10:16, 30:36] = AORTA
    for name in NAMES:
        top = vertebra_top(name)
        labels[top - STEP + 1 : top, 20:32, MIDDLE - 6 : MIDDLE + 7] = BY_NAME[name].value
        labels[top - STEP + 3 : top - 2, 32:42, MIDDLE - 1 : MIDDLE + 2] = BY_NAME[name].value
        if name[0] == "T":
            left, right = rib_numbers(int(name[1:]))
            structures[top - 5 : top - 2, 28:32, MIDDLE + 7 : MIDDLE + 22] = left
            structures[top - 5 : top - 2, 28:32, MIDDLE - 21 : MIDDLE - 6] = right
    structures[labels > 0] = 0
    grid = Geometry(SHAPE, (SPACING_MM,) * 3, (0.0, 0.0, 0.0), np.eye(3))
    return Volume(labels, grid), Volume(structures, grid)
