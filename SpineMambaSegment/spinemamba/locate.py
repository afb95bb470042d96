"""The coarse pass: where in the volume is spine, and a first idea of its levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from spinemamba.checkpoint import LoadedNetwork
from spinemamba.errors import Code, UserError
from spinemamba.predict import grow_to, predict, split_logits
from spinemamba.progress import Progress
from spinemamba.resample import grid_with_spacing, resample_box
from spinemamba.volume import Geometry, Volume
from spinemamba.windows import window_boxes

BONE_THRESHOLD = 0.4
OVERLAP = 0.25
LEAST_SPINE_ML = 3.0
"""Less than a cervical vertebra's body: nothing that could be segmented."""


@dataclass(frozen=True)
class Located:
    """Answer of the coarse pass on its own grid.

    Attributes:
        spine: Mask of the voxels that are spine, bool (z, y, x).
        bone: Probability of spine, float32 (z, y, x).
        levels: Probability of each level given spine, float32 (25, z, y, x).
        geometry: Grid of these arrays.
    """

    spine: np.ndarray
    bone: np.ndarray
    levels: np.ndarray
    geometry: Geometry


def locate(image: Volume, model: LoadedNetwork, progress: Progress) -> Located:
    """Find the spine in a whole volume.

    Args:
        image: Normalised image in canonical orientation.
        model: The coarse network.
        progress: Called after every window.

    Raises:
        UserError: If there is no spine in view (NO_SPINE).
    """
    grid = grow_to(grid_with_spacing(image.geometry, model.spacing_mm), model.patch_vox)
    coarse = torch.from_numpy(resample_box(image.array, image.geometry, grid))
    boxes = window_boxes(grid.shape, model.patch_vox, OVERLAP)
    logits, _ = predict(model, coarse, boxes, progress, "locate")
    bone, _, levels = split_logits(logits)
    spine = spine_mask(bone.numpy(), model.spacing_mm)
    volume_ml = float(spine.sum()) * model.spacing_mm**3 / 1000
    if volume_ml < LEAST_SPINE_ML:
        raise UserError(
            f"No spine found: {volume_ml:.1f} mL look like vertebrae, "
            f"at least {LEAST_SPINE_ML:.0f} mL are needed.",
            "Choose a CT or MR volume that shows the spine, and check its modality.",
            Code.NO_SPINE,
        )
    return Located(spine, bone.numpy(), levels.numpy(), grid)


def spine_mask(bone: np.ndarray, spacing_mm: float, gap_mm: float = 12.0) -> np.ndarray:
    """Return the mask of the spine: the largest chain of bone, bridged over small gaps.

    Args:
        bone: Probability of spine, (z, y, x).
        spacing_mm: Voxel size.
        gap_mm: Pieces closer than this belong together, as vertebrae of one spine do.

    Returns:
        bool mask, (z, y, x); pieces smaller than a tenth of the largest are left out.
    """
    mask = bone > BONE_THRESHOLD
    if not mask.any():
        return mask
    bridged = ndimage.binary_dilation(mask, iterations=max(1, round(gap_mm / 2 / spacing_mm)))
    pieces, count = ndimage.label(bridged)
    sizes = ndimage.sum_labels(mask, pieces, np.arange(1, count + 1))
    wanted = np.flatnonzero(sizes >= 0.1 * sizes.max()) + 1
    return mask & np.isin(pieces, wanted)
