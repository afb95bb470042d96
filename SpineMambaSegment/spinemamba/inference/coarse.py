"""The coarse pass: where in the volume is spine, and a first idea of its levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from spinemamba.common.errors import Code, UserError
from spinemamba.common.progress import Progress
from spinemamba.imaging.resample import grid_with_spacing, resample_box
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.model import LoadedNetwork
from spinemamba.inference.predict import grow_to, predict
from spinemamba.inference.sliding_window import window_boxes

BONE_THRESHOLD = 0.4
CORE_THRESHOLD = 0.4
CHAIN_GAP_MM = 40.0
"""Neighbouring cores of one spine are not further apart, also past a vertebra that was missed."""

REACH_MM = 75.0
"""No process of a vertebra ends further from its core."""

OVERLAP = 0.25
LEAST_SPINE_ML = 3.0
"""Less than a cervical vertebra's body: nothing that could be segmented."""


@dataclass(frozen=True)
class Located:
    """Answer of the coarse pass on its own grid.

    Attributes:
        spine: Mask of the voxels that are spine, bool (z, y, x).
        bone: Probability of spine, float32 (z, y, x).
        levels: Probability of each level given spine, float16 (25, z, y, x).
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
    found = predict(model, coarse, boxes, progress, "locate")
    spine = spine_mask(found.bone.numpy(), found.core.numpy(), model.spacing_mm)
    volume_ml = float(spine.sum()) * model.spacing_mm**3 / 1000
    if volume_ml < LEAST_SPINE_ML:
        raise UserError(
            f"No spine found: {volume_ml:.1f} mL look like vertebrae, "
            f"at least {LEAST_SPINE_ML:.0f} mL are needed.",
            "Choose a CT or MR volume that shows the spine, and check its modality.",
            Code.NO_SPINE,
        )
    return Located(spine, found.bone.numpy(), found.levels.numpy(), grid)


def spine_mask(bone: np.ndarray, core: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Return the mask of the spine: the bone around the chain of body cores.

    Ribs, shoulders and pelvis look like vertebrae to a coarse network far more often than
    anything but a body looks like a body.

    Args:
        bone: Probability of spine, (z, y, x), canonical orientation.
        core: Probability of body core, (z, y, x).
        spacing_mm: Voxel size.

    Returns:
        bool mask, (z, y, x); empty if there is no core.
    """
    chain = _largest_chain(core > CORE_THRESHOLD, round(CHAIN_GAP_MM / spacing_mm))
    if not chain.any():
        return chain
    near = ndimage.distance_transform_edt(~chain, spacing_mm) < REACH_MM
    # The sacrum has no core: it hangs below the lowest body, bent backwards.
    z, y, x = np.argwhere(chain)[0]
    side, front, back = (round(mm / spacing_mm) for mm in (REACH_MM, 40.0, 110.0))
    near[:z, max(0, y - front) : y + back, max(0, x - side) : x + side] = True
    return near & (bone > BONE_THRESHOLD)


def _largest_chain(mask: np.ndarray, gap_vox: int) -> np.ndarray:
    """Return the largest piece of a mask, where gaps up to a size do not count."""
    bridged = ndimage.binary_dilation(mask, iterations=max(1, gap_vox // 2))
    pieces, count = ndimage.label(bridged)
    if not count:
        return mask
    sizes = ndimage.sum_labels(mask, pieces, np.arange(1, count + 1))
    return mask & (pieces == int(np.argmax(sizes)) + 1)
