"""Brightness of the structures of a body in CT, drawn anew for each patch."""

from __future__ import annotations

import torch
from torch import Tensor

from spinemamba.phantom.tissue import Tissue
from spinemamba.training.data import structures
from spinemamba.training.data.structures import STRUCTURE
from spinemamba.training.synthesis.augment import chance, uniform

_ARTERIAL_HU, _VENOUS_HU, _RENAL_HU, _ORGAN_HU = 330.0, 170.0, 190.0, 70.0
"""Largest enhancement by contrast medium."""

_POSITIVE_BOWEL = 0.25
"""Share of patients with contrast medium in the bowel."""

_CALCIFIED = 0.5
"""Share of patients whose aorta is calcified."""


def fill_organs(means: Tensor, spreads: Tensor, generator: torch.Generator) -> None:
    """Set the mean and the texture of each structure in HU, in place.

    Args:
        means: Mean of each value of tissue maps, (256,); those of `Tissue` are set already.
        spreads: Standard deviation of the texture, (256,).
        generator: Random generator.
    """
    # Scans without contrast medium, or with little, are the most frequent.
    phase = uniform(0, 1, generator) ** 1.5
    artery = 40 + phase * uniform(0, _ARTERIAL_HU, generator)
    vein = 40 + phase * uniform(0, _VENOUS_HU, generator)
    muscle = float(means[Tissue.MUSCLE])
    lung = uniform(-920, -700, generator)

    def fill(numbers: tuple[int, ...], mean: float, spread: float) -> None:
        for number in numbers:
            means[STRUCTURE + number], spreads[STRUCTURE + number] = mean, spread

    fill(tuple(range(1, structures.MOST_STRUCTURES + 1)), muscle, 12.0)
    for number in structures.ORGANS:
        fill((number,), uniform(35, 60, generator) + phase * uniform(0, _ORGAN_HU, generator), 12.0)
    kidney = uniform(25, 45, generator) + phase * uniform(0, _RENAL_HU, generator)
    fill(structures.KIDNEYS, kidney, 15.0)
    fill(structures.LUNGS, lung, uniform(20, 80, generator))
    fill((structures.TRACHEA,), -990.0, 12.0)
    for number in structures.BOWEL:
        filled = chance(_POSITIVE_BOWEL, generator)
        content = uniform(60, 300, generator) if filled else uniform(-60, 60, generator)
        fill((number,), content, uniform(15, 80, generator))
    fill(structures.FLUID, uniform(-5, 15, generator), 8.0)
    fill(structures.ARTERIES, artery, 12.0)
    fill(structures.VEINS, vein, 12.0)
    fill((structures.HEART,), 0.7 * artery + 12, 15.0)
    fill(structures.MUSCLES, muscle - uniform(0, 15, generator), uniform(8, 35, generator))
    fill((structures.CORD,), uniform(25, 50, generator), 12.0)
    fill((structures.BRAIN,), uniform(25, 45, generator), 8.0)
    fill(structures.CARTILAGE, uniform(80, 180, generator), 30.0)
    if not chance(_CALCIFIED, generator):
        means[Tissue.CALCIFICATION], spreads[Tissue.CALCIFICATION] = artery, 12.0
    if chance(0.5, generator):  # a field of view inside of the body
        for tissue in (Tissue.AIR, Tissue.SKIN, Tissue.TABLE):
            means[tissue] = means[Tissue.FAT]
