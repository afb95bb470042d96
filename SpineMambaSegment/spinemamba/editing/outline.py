"""Outline of the target vertebra, given the existing neighbours.

Existing vertebrae keep their voxels. The rest of the bone is the target vertebra, minus a 1.5 mm
rim where the network and the outline of an existing vertebra may disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.editing.assignment import EXISTING, TARGET, UNKNOWN
from spinemamba.editing.edge_model import EdgeInputs, learned_bone
from spinemamba.imaging.masks import grow_labels, without_islands
from spinemamba.imaging.resample import crop_geometry, resample_box
from spinemamba.imaging.volume import Box, Volume
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.find import InstanceOptions
from spinemamba.instances.to_input_grid import box_in

_RIM_MM = 1.5
"""One voxel of the fine stage. Bone this close to an existing neighbour may belong to it."""

_TRAINING_MM = 5.0
"""Distance from an outline up to which voxels train the edge model."""

_GAP_MM = 6.0
"""Upper limit of the width of a joint space."""

_MARGIN_MM = 18.0
"""Margin around the vertebra, in which outlines train the edge model."""


@dataclass(frozen=True)
class _View:
    """A part of the image at its own resolution; arrays (z, y, x).

    Attributes:
        image: Normalised intensities.
        bone: Bone probability.
        neighbours: Label values of the existing neighbours.
        unknown: Mask of voxels that are nearer to an unsegmented vertebra.
        spacing_mm: Voxel size.
    """

    image: np.ndarray
    bone: np.ndarray
    neighbours: np.ndarray
    unknown: np.ndarray
    spacing_mm: tuple[float, float, float]

    def crop(self, box: tuple[slice, ...]) -> _View:
        """Return a part of the view."""
        arrays = (self.image, self.bone, self.neighbours, self.unknown)
        return _View(*(array[box] for array in arrays), self.spacing_mm)

    @property
    def existing(self) -> np.ndarray:
        """Mask of the existing neighbours."""
        return self.neighbours > 0

    def distance_mm(self, mask: np.ndarray) -> np.ndarray:
        """Return the distance of each voxel from a non-empty mask."""
        return ndimage.distance_transform_edt(~mask, self.spacing_mm)


def outline(
    normal: Volume, predictions: VoxelPredictions, parts: np.ndarray, neighbours: np.ndarray
) -> np.ndarray:
    """Return the mask of the target vertebra on the grid of the image.

    Args:
        normal: The normalised image, canonical orientation.
        predictions: Voxel predictions of the fine network.
        parts: `TARGET`, `UNKNOWN` or `EXISTING` in bone, 0 elsewhere, on the grid of the voxel
            predictions.
        neighbours: Label values of the existing neighbours, 0 elsewhere, on the grid of the image.
    """
    mask = np.zeros(normal.array.shape, bool)
    window = box_in(predictions.geometry, normal.geometry)
    if window is None:
        return mask
    view = _view(normal, predictions, parts, window, neighbours)
    target = _free_bone(view, view.bone)
    if not target.any():
        return mask
    if view.existing.any():
        near = _box_around(target, view.spacing_mm)
        part = view.crop(near)
        target[near] = _free_bone(part, _learned_bone(part, target[near]))
    mask[window] = target
    return mask


def _view(
    normal: Volume,
    predictions: VoxelPredictions,
    parts: np.ndarray,
    window: Box,
    neighbours: np.ndarray,
) -> _View:
    grown = grow_labels(parts, InstanceOptions.rim_vox)
    stack = np.stack([predictions.bone, grown == UNKNOWN, (grown == TARGET) | (grown == EXISTING)])
    geometry = crop_geometry(normal.geometry, window)
    bone, unknown, known = resample_box(stack, predictions.geometry, geometry)
    return _View(normal.array[window], bone, neighbours[window], unknown > known, normal.spacing_mm)


def _free_bone(view: _View, bone: np.ndarray) -> np.ndarray:
    """Return the largest component of bone that belongs to no other vertebra."""
    free = (bone > InstanceOptions.bone_threshold) & ~view.existing & ~view.unknown
    if not view.existing.any():
        return without_islands(free)
    inner = without_islands(free & (view.distance_mm(view.existing) > _RIM_MM))
    if not inner.any():
        return inner
    limit_mm = _RIM_MM + 0.5 * min(view.spacing_mm)
    return without_islands(free & (view.distance_mm(inner) <= limit_mm))


def _learned_bone(view: _View, target: np.ndarray) -> np.ndarray:
    """Return the bone probability of an edge model, trained on the neighbours' outlines."""
    target_mm, existing_mm = view.distance_mm(target), view.distance_mm(view.existing)
    deep = ndimage.distance_transform_edt(view.existing, view.spacing_mm) > _TRAINING_MM
    away = ~view.unknown & (target_mm > np.maximum(_TRAINING_MM, existing_mm + _RIM_MM))
    training = away & ~deep & (existing_mm < _TRAINING_MM)
    query = target_mm < _TRAINING_MM
    gap_mm = np.where(query, existing_mm, _gap_mm(view, target_mm)).clip(max=_GAP_MM)
    inputs = EdgeInputs(view.image, view.bone, gap_mm.astype(np.float32), view.spacing_mm)
    return learned_bone(inputs, view.existing, training, query)


def _gap_mm(view: _View, target_mm: np.ndarray) -> np.ndarray:
    """Return the distance of the second nearest vertebra; the nearest one contains the outline."""
    values = np.unique(view.neighbours[view.existing])
    existing_mm = (view.distance_mm(view.neighbours == value) for value in values)
    return np.sort(np.stack([target_mm, *existing_mm]), axis=0)[1]


def _box_around(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[slice, ...]:
    """Return the bounding box of a mask with a margin."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    margins = [round(_MARGIN_MM / step) for step in spacing_mm]
    return tuple(
        slice(max(0, s.start - margin), min(n, s.stop + margin))
        for s, margin, n in zip(box, margins, mask.shape, strict=True)
    )
