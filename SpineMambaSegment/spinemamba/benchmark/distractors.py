"""Things that a stress chain holds besides vertebrae: pieces beyond its ends and between them."""

from __future__ import annotations

import numpy as np

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.instances.find import Instance

PIECE_ML = {"above": (3.0, 15.0), "below": (1.5, 20.0)}
PIECE_STEP = (0.6, 1.3)
"""How far a piece beyond the end lies from the vertebra there, over the usual step."""


def piece(fault: str, beside: Instance, width: float, rng: np.random.Generator) -> Instance:
    """Return something beyond the end of a chain that looks like the next level, or like the last.

    Networks know no skull and no pelvis: they give them the levels that are nearest.

    Args:
        fault: "above" or "below".
        beside: The vertebra at that end.
        width: Standard deviation of a vertebra's evidence, in levels.
        rng: Decides the rest.
    """
    down = 1 if fault == "below" else -1
    place = int(np.argmax(beside.evidence)) + down * rng.uniform(0, 1)
    blur = width + rng.uniform(0, 1)
    evidence = bell(float(np.clip(place, 0, len(NETWORK_LEVELS) - 1)), blur)
    step_mm = 25.0 * (beside.volume_ml / 30.0) ** (1 / 3) * rng.uniform(*PIECE_STEP)
    aside_mm = rng.normal(0.0, 8.0, 2)
    centre = np.add(beside.centroid_lps_mm, (*aside_mm, -down * step_mm))
    volume_ml = rng.uniform(*PIECE_ML[fault])
    return Instance(0, tuple(map(float, centre)), volume_ml, evidence, False, ())


def bell(place: float, width: float) -> tuple[float, ...]:
    """Return evidence around a place among the levels, both in levels."""
    evidence = np.exp(-0.5 * ((np.arange(len(NETWORK_LEVELS)) - place) / width) ** 2)
    return tuple(evidence / evidence.sum())


def between(a: Instance, b: Instance, evidence: np.ndarray, volume_ml: float) -> Instance:
    """Return something halfway between two vertebrae, with evidence that need not sum to 1."""
    centre = np.add(a.centroid_lps_mm, b.centroid_lps_mm) / 2
    return Instance(0, tuple(centre), volume_ml, tuple(evidence / evidence.sum()), False, ())
