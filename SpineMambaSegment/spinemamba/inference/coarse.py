"""Coarse stage: find the spine in the whole volume, and predict levels at low resolution."""

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
from spinemamba.inference.predict import pad_geometry, predict
from spinemamba.inference.sliding_window import window_boxes


@dataclass(frozen=True)
class CoarseOptions:
    """Thresholds of the coarse stage.

    Attributes:
        bone_threshold: Least probability of bone in the mask of the spine. Below the 0.5 of the
            final labels, because the fine stage corrects what is too much.
        core_threshold: Least probability of a body core in the coarse network's output.
        core_gap_mm: Largest gap between neighbouring cores of one spine, even if one vertebra was
            missed.
        reach_mm: Largest distance from a core to the end of a process of the same vertebra.
        sacrum_front_mm: Extent of the sacrum in front of the lowest core. The sacrum has no core
            of its own.
        sacrum_back_mm: Extent of the sacrum behind the lowest core: it is bent backwards.
        window_overlap: Least overlap of neighbouring windows, as a fraction of the window.
        least_spine_ml: Least volume of a spine: smaller than a cervical vertebral body.
    """

    bone_threshold: float = 0.4
    core_threshold: float = 0.4
    core_gap_mm: float = 40.0
    reach_mm: float = 75.0
    sacrum_front_mm: float = 40.0
    sacrum_back_mm: float = 110.0
    window_overlap: float = 0.25
    least_spine_ml: float = 3.0


@dataclass(frozen=True)
class CoarsePrediction:
    """Prediction of the coarse network on its own grid.

    Attributes:
        spine: Mask of the spine, bool (z, y, x).
        bone: Probability of spine, float32 (z, y, x).
        levels: Probability of each level given spine, float16 (25, z, y, x).
        geometry: Grid of these arrays.
        certainty: How certain the network is of what it found, from 0 to 1; see `_certainty`.
    """

    spine: np.ndarray
    bone: np.ndarray
    levels: np.ndarray
    geometry: Geometry
    certainty: float = 0.0


def coarse_stage(
    image: Volume,
    model: LoadedNetwork,
    progress: Progress,
    options: CoarseOptions = CoarseOptions(),
) -> CoarsePrediction:
    """Find the spine in a whole volume.

    Args:
        image: Normalised image in canonical orientation.
        model: The coarse network.
        progress: Called after every window.
        options: Thresholds.

    Raises:
        UserError: If no spine is found (NO_SPINE).
    """
    grid = pad_geometry(grid_with_spacing(image.geometry, model.spacing_mm), model.patch_vox)
    resampled = torch.from_numpy(resample_box(image.array, image.geometry, grid))
    boxes = window_boxes(grid.shape, model.patch_vox, options.window_overlap)
    prediction = predict(model, resampled, boxes, progress, "locate")
    bone, core = prediction.bone.numpy(), prediction.core.numpy()
    spine = _spine_mask(bone, core, model.spacing_mm, options)
    volume_ml = float(spine.sum()) * model.spacing_mm**3 / 1000
    if volume_ml < options.least_spine_ml:
        raise UserError(
            f"No spine found: {volume_ml:.1f} mL look like vertebrae, "
            f"at least {options.least_spine_ml:.0f} mL are needed.",
            "Choose a CT or MR volume that shows the spine, and check its modality.",
            Code.NO_SPINE,
        )
    levels = prediction.levels.numpy()
    certainty = _certainty(bone, core, levels[:, spine], options)
    return CoarsePrediction(spine, bone, levels, grid, certainty)


def _certainty(
    bone: np.ndarray, core: np.ndarray, levels: np.ndarray, options: CoarseOptions
) -> float:
    """Return the product of the mean probabilities of core, bone and level where there is a spine.

    Args:
        bone: Probability of spine, (z, y, x).
        core: Probability of body core, (z, y, x).
        levels: Probability of each level in the voxels of the spine, (25, n).
        options: Thresholds.
    """
    of_core = core[core > options.core_threshold].mean(dtype=np.float64)
    of_bone = bone[bone > options.bone_threshold].mean(dtype=np.float64)
    # The expected probability of the level, if levels are drawn with these probabilities.
    of_level = (levels.astype(np.float32) ** 2).sum(axis=0).mean(dtype=np.float64)
    return float(of_core * of_bone * of_level)


def _spine_mask(
    bone: np.ndarray, core: np.ndarray, spacing_mm: float, options: CoarseOptions
) -> np.ndarray:
    """Return the mask of the spine: bone near the chain of body cores.

    Cores are more specific than bone: the coarse network often mistakes ribs, shoulders and pelvis
    for vertebrae, but rarely anything for a vertebral body.

    Args:
        bone: Probability of spine, (z, y, x), canonical orientation.
        core: Probability of body core, (z, y, x).
        spacing_mm: Voxel size.
        options: Thresholds.

    Returns:
        Mask, bool (z, y, x); all False if there is no core.
    """
    chain = _largest_chain(core > options.core_threshold, round(options.core_gap_mm / spacing_mm))
    if not chain.any():
        return chain
    near = ndimage.distance_transform_edt(~chain, spacing_mm) < options.reach_mm
    # The sacrum lies below the lowest body and is bent backwards.
    z, y, x = np.argwhere(chain)[0]
    extent_mm = (options.reach_mm, options.sacrum_front_mm, options.sacrum_back_mm)
    side, front, back = (round(mm / spacing_mm) for mm in extent_mm)
    near[:z, max(0, y - front) : y + back, max(0, x - side) : x + side] = True
    return near & (bone > options.bone_threshold)


def _largest_chain(mask: np.ndarray, gap_vox: int) -> np.ndarray:
    """Return the largest component of a mask after bridging gaps of up to ``gap_vox``."""
    bridged = ndimage.binary_dilation(mask, iterations=max(1, gap_vox // 2))
    components, count = ndimage.label(bridged)
    if not count:
        return mask
    sizes = ndimage.sum_labels(mask, components, np.arange(1, count + 1))
    return mask & (components == int(np.argmax(sizes)) + 1)
