"""Resample instances to the input grid.

Probabilities are interpolated, labels are not: interpolating labels at 1.5 mm lowers Dice by 4 %,
interpolating probabilities by 1 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage

from spinemamba.common.progress import Progress
from spinemamba.imaging.masks import grow_labels
from spinemamba.imaging.resample import crop_geometry, resample_box
from spinemamba.imaging.volume import Box, Geometry
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.find import InstanceOptions, Instances


def labels_on_input_grid(
    instances: Instances,
    values: dict[int, int],
    predictions: VoxelPredictions,
    progress: Progress,
    options: InstanceOptions | None = None,
) -> np.ndarray:
    """Return the label map of the instances on the canonical input grid.

    Args:
        instances: Instances on the grid of the predictions.
        values: Label value of each instance number; other instances are omitted.
        predictions: Voxel predictions.
        progress: Called after every instance.
        options: Thresholds; None for the defaults.

    Returns:
        Label values, uint8, with the shape of ``predictions.image_geometry``.
    """
    options = options or InstanceOptions()
    target = predictions.image_geometry
    labels = np.zeros(target.shape, np.uint8)
    best = np.zeros(target.shape, np.float16)
    grown = grow_labels(instances.labels, options.rim_vox)
    boxes = ndimage.find_objects(grown)
    for done, (number, value) in enumerate(values.items(), start=1):
        box = tuple(
            slice(max(0, s.start - 1), min(n, s.stop + 1))
            for s, n in zip(boxes[number - 1], grown.shape, strict=True)
        )
        source = crop_geometry(predictions.geometry, box)
        if (window := box_in(source, target)) is None:
            continue
        part = crop_geometry(target, window)
        mask = (grown[box] == number).astype(np.float32)
        share, bone = resample_box(np.stack([mask, predictions.bone[box]]), source, part)
        update = (bone > options.bone_threshold) & (share > best[window])
        best[window][update] = share[update]
        labels[window][update] = value
        progress("restore", done / len(values))
    return labels


def split_on_input_grid(
    instances: Instances,
    numbers: Sequence[int],
    predictions: VoxelPredictions,
    progress: Progress,
    options: InstanceOptions | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return instances on the input grid, and the bone of hidden neighbours beside them.

    Hidden neighbours are resampled like instances, so that the border to them is as exact.

    Args:
        instances: Instances on the grid of the predictions.
        numbers: Numbers of the instances to return, ascending.
        predictions: Voxel predictions.
        progress: Called after every instance.
        options: Thresholds; None for the defaults.

    Returns:
        Instance number of each voxel, 0 elsewhere; and the number of the first or the last
        instance where a hidden neighbour touches it. Both uint8, with the shape of
        ``predictions.image_geometry``.
    """
    values: dict[int, int] = {number: number for number in numbers}
    hidden_values: dict[int, int] = {}
    if instances.hidden is not None and numbers:
        # A neighbour of an instance that is not returned touches the next one.
        owners = {1: numbers[0], len(instances.items): numbers[-1]}
        labels, last = instances.labels.copy(), len(instances.items)
        for value in map(int, np.unique(instances.hidden[instances.hidden > 0])):
            last += 1
            labels[instances.hidden == value] = last
            values[last], hidden_values[last] = last, owners[value]
        instances = replace(instances, labels=labels)
    found = labels_on_input_grid(instances, values, predictions, progress, options)
    hidden = np.zeros_like(found)
    for value, owner in hidden_values.items():
        inside = found == value
        hidden[inside], found[inside] = owner, 0
    return found, hidden


def box_in(source: Geometry, target: Geometry) -> Box | None:
    """Return the box of voxels of ``target`` inside ``source``, or None if they do not overlap."""
    ends = source.to_lps_mm(np.array([[0, 0, 0], np.asarray(source.shape) - 1]))
    low, high = target.to_index_zyx(ends)
    first = np.clip(np.ceil(low - 1e-6), 0, target.shape).astype(int)
    stop = np.clip(np.floor(high + 1e-6) + 1, 0, target.shape).astype(int)
    if (stop <= first).any():
        return None
    z, y, x = (slice(int(a), int(b)) for a, b in zip(first, stop, strict=True))
    return z, y, x
