"""Ribs of other patients: steeper or flatter, with short last ribs, or without them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from spinemamba.imaging.vertebra_crops import crop_offsets_mm
from spinemamba.training.data.patches import Patch
from spinemamba.training.data.structures import without_rib
from spinemamba.training.levels.chains import Chain
from spinemamba.training.levels.spines import SPACING_MM
from spinemamba.training.synthesis.augment import chance, uniform

_LAST_RIB = 12

_ASIDE_MM = (18.0, 30.0)
"""Range of the distance from the middle beyond which ribs are sheared: beside the vertebra."""

_MOST_BACKWARDS = 0.4


def sheared(
    offsets: Tensor, options: tuple[float, float, float], generator: torch.Generator
) -> Tensor:
    """Return positions in a crop with what is lateral moved up or down, and back or forth.

    Args:
        offsets: Positions up, to the back and to the left of the vertebra in voxels, (..., 3).
        options: Share of chains that are changed, and the range of the slope.
        generator: Random generator.
    """
    share, low, high = options
    if not chance(share, generator):
        return offsets
    aside = (offsets[..., 2].abs() - uniform(*_ASIDE_MM, generator) / SPACING_MM).clamp_min(0)
    up = uniform(low, high, generator)
    back = uniform(-_MOST_BACKWARDS, _MOST_BACKWARDS, generator)
    back = back if chance(0.5, generator) else 0.0
    return offsets + aside[..., None] * torch.tensor([up, back, 0.0])


def with_other_ribs(
    patch: Patch, chain: Chain, short: tuple[float, float, float], generator: torch.Generator
) -> Patch:
    """Return all crops of a body with the last ribs that the chain should have.

    Args:
        patch: Crops of the vertebrae, one after the other along the first axis.
        chain: Chain of the vertebrae; without T12, the last ribs are removed.
        short: Share of bodies with short last ribs, and the range of their lengths in mm.
        generator: Random generator.
    """
    if patch.tissues is None or patch.other_depth_mm is None:
        return patch
    share, low, high = short
    keep = None
    if not chain.lacks_last_ribs:
        if not chance(share, generator):
            return patch
        aside_mm = torch.from_numpy(crop_offsets_mm()).float()[..., 2].abs()
        near = aside_mm < uniform(low, high, generator)
        keep = near.repeat(len(chain.entries), 1, 1)
    tissues, depth_mm, gone = without_rib(patch.tissues, patch.other_depth_mm, _LAST_RIB, keep)
    known = None if patch.known_image is None else patch.known_image * ~gone
    return replace(patch, tissues=tissues, other_depth_mm=depth_mm, known_image=known)
