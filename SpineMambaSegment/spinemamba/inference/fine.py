"""The fine pass: every voxel around the located spine."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from spinemamba.common.progress import Progress
from spinemamba.imaging.resample import crop_geometry, grid_with_spacing, resample_box
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.coarse import Located
from spinemamba.inference.model import LoadedNetwork
from spinemamba.inference.predict import grow_to, predict
from spinemamba.inference.sliding_window import window_boxes
from spinemamba.inference.voxel_predictions import Evidence

MARGIN_MM = 10.0
"""Around the located spine: two coarse voxels, and the tips of its processes."""


def refine(
    image: Volume, located: Located, model: LoadedNetwork, overlap: float, progress: Progress
) -> Evidence:
    """Run the fine network inside the spine's corridor.

    Args:
        image: Normalised image in canonical orientation.
        located: Answer of the coarse pass.
        model: The fine network.
        overlap: Share of a window that its neighbour also covers.
        progress: Called after every window.

    Returns:
        Evidence on a grid of the network's spacing that encloses the corridor; background
        outside it.
    """
    corridor = _corridor(located)
    grid = grow_to(_grid_around(corridor, located.geometry, model.spacing_mm), model.patch_vox)
    fine = torch.from_numpy(resample_box(image.array, image.geometry, grid))
    wanted = resample_box(corridor, located.geometry, grid) > 0.5
    boxes = window_boxes(grid.shape, model.patch_vox, overlap, wanted)
    found = predict(model, fine, boxes, progress, "segment")
    # A window shows more than the corridor, and hips seen from near look like vertebrae.
    inside = torch.from_numpy(wanted) & _within(grid, image.geometry)
    return Evidence(
        bone=(found.bone * inside).numpy(),
        core=(found.core * inside).numpy(),
        levels=found.levels.numpy(),
        geometry=grid,
        coarse_levels=_resample_levels(located, grid),
        image_geometry=image.geometry,
        offsets_mm=None if found.offsets_mm is None else found.offsets_mm.numpy(),
    )


def _resample_levels(located: Located, grid: Geometry) -> np.ndarray:
    """Return the coarse levels on another grid, float16, one level after the other."""
    found = np.empty((len(located.levels), *grid.shape), np.float16)
    for k, level in enumerate(located.levels):
        found[k] = resample_box(level, located.geometry, grid)
    return found


def _corridor(located: Located) -> np.ndarray:
    """Return the located spine grown by the margin, on the coarse grid."""
    steps = max(1, round(MARGIN_MM / located.geometry.spacing_mm[0]))
    return ndimage.binary_dilation(located.spine, iterations=steps)


def _grid_around(mask: np.ndarray, geometry: Geometry, spacing_mm: float) -> Geometry:
    """Return a fine grid over the bounding box of a mask on a coarse grid."""
    return grid_with_spacing(
        crop_geometry(geometry, ndimage.find_objects(mask.astype(np.uint8))[0]), spacing_mm
    )


def _within(grid: Geometry, image: Geometry) -> torch.Tensor:
    """Return which voxels of a grid lie inside the image, bool, shape of the grid."""
    first = image.to_index_zyx(np.asarray(grid.origin_lps_mm))
    step = np.asarray(grid.spacing_mm) / np.asarray(image.spacing_mm)
    axes = [
        torch.from_numpy((centre := first[a] + np.arange(grid.shape[a]) * step[a]) >= -0.5)
        & torch.from_numpy(centre <= image.shape[a] - 0.5)
        for a in range(3)
    ]
    return axes[0][:, None, None] & axes[1][None, :, None] & axes[2][None, None, :]
