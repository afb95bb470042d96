"""Structures of whole bodies, with the numbers of TotalSegmentator 2, and what they consist of."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spinemamba.phantom.tissue import Tissue
from spinemamba.training.data.depth import REACH_MM

STRUCTURE = 100
"""Added to the number of a structure to give its value in tissue maps, after those of `Tissue`."""

MOST_STRUCTURES = 118

ORGANS = (1, 5, 7, 8, 9, 17, 22)
"""Spleen, liver, pancreas, adrenal glands, thyroid and prostate: they take up contrast slowly."""

KIDNEYS = (2, 3)
LUNGS = (10, 11, 12, 13, 14)
TRACHEA = 16
BOWEL = (6, 15, 18, 19, 20)
"""Stomach, oesophagus, small bowel, duodenum and colon: gas, food or contrast medium."""

FLUID = (4, 21, 23, 24)
"""Gall bladder, urinary bladder and cysts of the kidneys."""

VERTEBRAE = tuple(range(25, 51))
"""Sacrum, S1, and L5 to C1."""

HEART = 51
AORTA = 52
ARTERIES = (52, 53, 54, 55, 56, 57, 58, 61, 65, 66)
VEINS = (59, 60, 62, 63, 64, 67, 68)
HIPS = (77, 78)
CORD = 79
MUSCLES = tuple(range(80, 90))
BRAIN = 90
RIBS = tuple(range(92, 116))
CARTILAGE = (117, 118)
"""Cartilage of the ribs; 118 in some releases."""

BONES = (*range(69, 79), 91, *RIBS, 116)
"""Shoulders, arms, legs, hips, skull, ribs and sternum: bones other than the spine."""


def rib_numbers(rib: int) -> tuple[int, int]:
    """Return the structures of a pair of ribs, left and right; 1 is the first pair."""
    return RIBS[0] + rib - 1, RIBS[0] + rib + 11


def similar_tissues() -> dict[int, Tissue]:
    """Return the tissue of phantoms that looks like each structure, by its value in tissue maps."""
    groups = {
        Tissue.ORGAN: ORGANS,
        Tissue.KIDNEY: KIDNEYS,
        Tissue.LUNG: LUNGS,
        Tissue.AIR: (TRACHEA,),
        Tissue.BOWEL: BOWEL,
        Tissue.CANAL: FLUID,
        Tissue.VESSEL: (HEART, *ARTERIES, *VEINS),
        Tissue.CORD: (CORD,),
        Tissue.MUSCLE: (*MUSCLES, *BONES, *VERTEBRAE),  # bone is painted by its depth
        Tissue.BRAIN: (BRAIN,),
        Tissue.CARTILAGE: CARTILAGE,
    }
    return {STRUCTURE + n: tissue for tissue, numbers in groups.items() for n in numbers}


def without_rib(
    tissues: Tensor, other_depth_mm: Tensor, rib: int, keep: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Remove a pair of ribs from a body.

    Args:
        tissues: Values of tissue maps, (..., D, H, W).
        other_depth_mm: Depth in bones other than the spine, the same shape.
        rib: Number of the pair.
        keep: Mask of the part that stays, for example the part near the spine; None for none.

    Returns:
        Tissues with muscle instead of the ribs, the depth without them, and the mask of what was
        removed, with the voxels at its surface.
    """
    left, right = rib_numbers(rib)
    found = (tissues == STRUCTURE + left) | (tissues == STRUCTURE + right)
    near = functional.max_pool3d(found.float().reshape(-1, 1, *found.shape[-3:]), 3, 1, 1)
    gone = (near.reshape(found.shape) > 0) & ~_in_other_bone(tissues, (left, right))
    if keep is not None:
        gone &= ~keep
    muscle = tissues.new_tensor(int(Tissue.MUSCLE))
    depth_mm = other_depth_mm.masked_fill(gone, -REACH_MM)
    return torch.where(gone & found, muscle, tissues), depth_mm, gone


def _in_other_bone(tissues: Tensor, except_for: tuple[int, int]) -> Tensor:
    """Return the mask of all bones other than two structures."""
    others = [STRUCTURE + n for n in BONES if n not in except_for]
    return torch.isin(tissues, tissues.new_tensor(others))
