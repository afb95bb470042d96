"""Fine stage: predict bone, cores, levels and offsets around the spine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from spinemamba.common.progress import Progress
from spinemamba.imaging.resample import crop_geometry, grid_with_spacing, resample_box
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.coarse import CoarsePrediction
from spinemamba.inference.model import LoadedNetwork
from spinemamba.inference.predict import pad_geometry, predict
from spinemamba.inference.sliding_window import window_boxes
from spinemamba.inference.voxel_predictions import VoxelPredictions


@dataclass(frozen=True)
class FineOptions:
    """Options of the fine stage.

    Attributes:
        margin_mm: Margin around the mask of the coarse stage: two coarse voxels, and the tips of
            processes.
        window_overlap: Least overlap of neighbouring windows, as a fraction of the window.
    """

    margin_mm: float = 10.0
    window_overlap: float = 0.45


def fine_stage(
    image: Volume,
    coarse: CoarsePrediction,
    model: LoadedNetwork,
    progress: Progress,
    options: FineOptions = FineOptions(),
) -> VoxelPredictions:
    """Run the fine network on the corridor: the spine mask of the coarse stage plus a margin.

    Args:
        image: Normalised image in canonical orientation.
        coarse: Prediction of the coarse stage.
        model: The fine network.
        progress: Called after every window.
        options: Margin and overlap.

    Returns:
        Voxel predictions on a grid of the network's spacing that encloses the corridor;
        background outside the corridor.
    """
    corridor = _corridor(coarse, options.margin_mm)
    grid = pad_geometry(_grid_around(corridor, coarse.geometry, model.spacing_mm), model.patch_vox)
    resampled = torch.from_numpy(resample_box(image.array, image.geometry, grid))
    mask = resample_box(corridor, coarse.geometry, grid) > 0.5
    boxes = window_boxes(grid.shape, model.patch_vox, options.window_overlap, mask)
    prediction = predict(model, resampled, boxes, progress, "segment")
    # Windows extend beyond the corridor, where the fine network mistakes hips for vertebrae.
    inside = torch.from_numpy(mask) & _within(grid, image.geometry)
    offsets = prediction.offsets_mm
    return VoxelPredictions(
        bone=(prediction.bone * inside).numpy(),
        core=(prediction.core * inside).numpy(),
        levels=prediction.levels.numpy(),
        geometry=grid,
        coarse_levels=_resample_levels(coarse, grid),
        image_geometry=image.geometry,
        offsets_mm=None if offsets is None else offsets.numpy(),
    )


def _resample_levels(coarse: CoarsePrediction, grid: Geometry) -> np.ndarray:
    """Return the level probabilities of the coarse stage on another grid, float16 (25, z, y, x).

    Levels are resampled one at a time to save memory.
    """
    levels = np.empty((len(coarse.levels), *grid.shape), np.float16)
    for k, level in enumerate(coarse.levels):
        levels[k] = resample_box(level, coarse.geometry, grid)
    return levels


def _corridor(coarse: CoarsePrediction, margin_mm: float) -> np.ndarray:
    """Return the spine mask dilated by the margin, on the coarse grid."""
    steps = max(1, round(margin_mm / coarse.geometry.spacing_mm[0]))
    return ndimage.binary_dilation(coarse.spine, iterations=steps)


def _grid_around(mask: np.ndarray, geometry: Geometry, spacing_mm: float) -> Geometry:
    """Return a fine grid over the bounding box of a mask on a coarse grid."""
    return grid_with_spacing(
        crop_geometry(geometry, ndimage.find_objects(mask.astype(np.uint8))[0]), spacing_mm
    )


def _within(grid: Geometry, image: Geometry) -> torch.Tensor:
    """Return the mask of the voxels of a grid that lie inside the image, bool (z, y, x)."""
    first = image.to_index_zyx(np.asarray(grid.origin_lps_mm))
    step = np.asarray(grid.spacing_mm) / np.asarray(image.spacing_mm)
    axes = [
        torch.from_numpy((centres := first[a] + np.arange(grid.shape[a]) * step[a]) >= -0.5)
        & torch.from_numpy(centres <= image.shape[a] - 0.5)
        for a in range(3)
    ]
    return axes[0][:, None, None] & axes[1][None, :, None] & axes[2][None, None, :]
