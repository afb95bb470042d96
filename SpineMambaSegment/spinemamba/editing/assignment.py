"""What of the bone in a box is whose, by the networks and by the vertebrae that are there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.editing.outline import FIRM, OTHER, OWN
from spinemamba.editing.seeds import BoxSeeds, sampled
from spinemamba.imaging.volume import Volume
from spinemamba.inference.voxel_predictions import Evidence
from spinemamba.instances.find import expected_level
from spinemamba.instances.partition import VoxelHints, assign_voxels

HELD = 0.25
"""A neighbour of which so much would be the new vertebra's holds it by mistake; less is a
different opinion on where the facets part."""


@dataclass(frozen=True)
class BoxParts:
    """Whose bone it is.

    Attributes:
        parts: `OWN`, `OTHER` or `FIRM` on the evidence's grid, int16; 0 where there is no bone.
        there: Values of the neighbours where they are for certain, on the image, uint8.
    """

    parts: np.ndarray
    there: np.ndarray


def box_parts(seeds: BoxSeeds, evidence: Evidence, known: Volume, kept: np.ndarray) -> BoxParts:
    """Divide the bone of a box.

    What is known of the neighbours is no seed: it begins at the very facets of the vertebra, and
    would take its arch before the way from its own body gets there.

    Args:
        seeds: Where vertebrae begin.
        evidence: What the fine network says.
        known: Values of the vertebrae that are there, on the canonical image.
        kept: Voxels of the image that are others' for certain.
    """
    # The coarse network has not looked into a box.
    level = expected_level(evidence, seeds.bone, fine_share=1.0)
    hints = VoxelHints(level, evidence.offsets_mm)
    found = assign_voxels(seeds.numbers, seeds.bone, hints, evidence.geometry.spacing_mm)
    labels = sampled(known.array, known.geometry, evidence.geometry)
    held = _held(labels, found, seeds.own)
    firm = kept | ((known.array > 0) & ~np.isin(known.array, held))
    sure = sampled(firm, known.geometry, evidence.geometry)
    code = np.full(int(found.max()) + 1, OTHER, np.int16)
    for number in range(1, len(code)):
        seed = seeds.numbers == number
        if 2 * int((seed & sure).sum()) > int(seed.sum()):
            code[number] = FIRM
    code[0], code[seeds.own] = 0, OWN
    return BoxParts(code[found], np.where(firm, known.array, 0))


def _held(labels: np.ndarray, found: np.ndarray, own: int) -> list[int]:
    """Return the values of which a large share was found to be the vertebra's."""
    sizes = np.bincount(labels.ravel())
    lost = np.bincount(labels[found == own], minlength=len(sizes))
    return [value for value in range(1, len(sizes)) if lost[value] > HELD * sizes[value]]
