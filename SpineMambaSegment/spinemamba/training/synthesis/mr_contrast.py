"""Contrasts of sagittal MR: the signal of each tissue relative to marrow, by sequence."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from spinemamba.training.synthesis.augment import uniform

_Signals = tuple[float, ...]


@dataclass(frozen=True)
class Contrast:
    """Signal of the tissues of one image; marrow has 1.

    Attributes:
        fat: Subcutaneous, visceral and epidural fat.
        muscle: Muscle.
        fluid: Cerebrospinal and other fluid.
        cord: Spinal cord and roots.
        nucleus: Nucleus of a disc that is not degenerated.
        annulus: Annulus of a disc, and the nucleus of a degenerated one.
        organ: Liver, spleen and other organs.
        cortex: Cortical bone and ligaments beside it.
        void: Vessels with flow void, tendons and gas.
    """

    fat: float
    muscle: float
    fluid: float
    cord: float
    nucleus: float
    annulus: float
    organ: float
    cortex: float
    void: float


_TISSUES = tuple(field.name for field in fields(Contrast))

CONTRASTS: dict[str, tuple[_Signals, _Signals]] = {
    # fat, muscle, fluid, cord, nucleus, annulus, organ, cortex, void
    "T2": (
        (1.3, 0.2, 1.8, 0.6, 0.5, 0.1, 0.4, 0.05, 0.02),
        (3.2, 0.6, 4.5, 1.1, 2.2, 0.5, 1.3, 0.3, 0.15),
    ),
    "T1": (
        (1.2, 0.4, 0.2, 0.6, 0.45, 0.35, 0.5, 0.05, 0.02),
        (2.6, 0.9, 0.55, 0.95, 0.85, 0.7, 1.1, 0.35, 0.15),
    ),
    "fat suppressed": (
        (0.15, 0.8, 2.5, 1.2, 1.0, 0.2, 0.8, 0.1, 0.05),
        (1.0, 1.9, 7.0, 2.4, 4.0, 0.9, 2.5, 0.6, 0.25),
    ),
    "water": (
        (0.05, 1.2, 0.7, 1.2, 1.2, 0.7, 1.0, 0.1, 0.05),
        (0.4, 2.6, 3.0, 2.4, 2.8, 2.0, 2.5, 0.7, 0.6),
    ),
    "fat": (
        (1.5, 0.03, 0.02, 0.03, 0.02, 0.02, 0.03, 0.02, 0.02),
        (3.5, 0.35, 0.2, 0.25, 0.25, 0.25, 0.3, 0.3, 0.1),
    ),
    "fat fraction": (
        (1.5, 0.05, 0.02, 0.03, 0.02, 0.02, 0.03, 0.1, 0.02),
        (3.5, 0.4, 0.3, 0.3, 0.3, 0.35, 0.4, 0.7, 0.4),
    ),
    "in phase": (
        (1.1, 0.7, 0.4, 0.8, 0.7, 0.5, 0.6, 0.05, 0.05),
        (2.0, 1.2, 1.8, 1.3, 1.5, 1.1, 1.3, 0.45, 0.3),
    ),
    "opposed phase": (
        (1.2, 1.2, 1.0, 1.5, 1.2, 1.0, 1.0, 0.1, 0.1),
        (6.0, 5.0, 6.0, 5.0, 5.0, 4.0, 5.0, 0.8, 0.6),
    ),
}
"""Lowest and highest signal of each tissue by sequence, in the order of the fields of `Contrast`.

T1, T2 and fat suppressed: signals of the nine real volumes of SpineSource relative to the marrow
beside them, widened. Images of water and fat, and both phases of a gradient echo: expected from the
fat fraction of marrow (0.3 to 0.6) at short repetition times; there was no real image to measure.
"""

_FREQUENCY = {
    "T2": 4.0,
    "T1": 4.0,
    "fat suppressed": 2.0,
    "water": 3.0,
    "fat": 2.0,
    "fat fraction": 1.0,
    "in phase": 1.0,
    "opposed phase": 1.0,
}

GRADIENT_ECHO = ("water", "in phase", "opposed phase")
"""Sequences in which blood flowing in is often bright."""


def draw_contrast(generator: torch.Generator) -> tuple[str, Contrast]:
    """Return a random sequence, one of `CONTRASTS`, and a contrast of it."""
    names = tuple(_FREQUENCY)
    weights = torch.tensor([_FREQUENCY[name] for name in names])
    name = names[int(torch.multinomial(weights, 1, generator=generator))]
    ranges = zip(_TISSUES, *CONTRASTS[name], strict=True)
    return name, Contrast(**{tissue: uniform(low, high, generator) for tissue, low, high in ranges})
