"""The training cases on one grid spacing, in memory and in one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from spinemamba.anatomy.labels import NETWORK_LEVELS, channel_of_value
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.resample import crop_geometry, grid_with_spacing, resample_box
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.training.data.depth import bone_depth_mm, pack_depth
from spinemamba.training.data.tensors import load_tensors, save_tensors

IGNORE_INDEX = 255
"""Target value of voxels that nobody labelled; the losses leave them out."""

DATASET_VERSION = 2
"""Changes with what is made of the same files and seeds: older banks are not used."""

FIELDS = ("target", "core", "image", "tissues", "depth", "anchors", "centres")

COARSEST_FOR_TISSUES_MM = 2.0

TALLEST_CORE_MM = 45.0

CORE_DEPTH = 0.45
"""A body core is what lies deeper than this share of a vertebra's greatest depth.

Relative, because a cervical body is 12 mm tall and a lumbar one 28 mm.
"""


@dataclass(frozen=True)
class Case:
    """One training case in canonical orientation.

    Attributes:
        name: Name of the case, for reports.
        target: Network channel of each voxel (0 background, `IGNORE_INDEX`), uint8 (z, y, x).
        core: Whether a voxel belongs to a vertebra's core, uint8 (z, y, x).
        image: Image in HU, int16 (z, y, x); None if the case is only painted.
        tissues: `phantom.Tissue` of each voxel, uint8 (z, y, x); None if it is only real.
        depth: How deep a voxel lies in its vertebra, int8 as `pack_depth` makes it, (z, y, x);
            None without tissues.
        anchors: Voxels on the spine, equally many of each level, int32 (n, 3).
        centres: Centre of the core of each network channel's vertebra in voxels, float32
            (26, 3); NaN where there is none or more than one.
        key: What it was made of, see `cache`; empty where that is not known.
    """

    name: str
    target: torch.Tensor
    core: torch.Tensor
    image: torch.Tensor | None
    tissues: torch.Tensor | None
    depth: torch.Tensor | None
    anchors: torch.Tensor
    centres: torch.Tensor
    key: str = ""


def make_case(
    name: str,
    labels: Volume,
    spacing_mm: float,
    *,
    image: Volume | None = None,
    tissues: Volume | None = None,
    unknown: Volume | None = None,
) -> Case:
    """Bring a labelled case to the grid of the network.

    Args:
        name: Name of the case.
        labels: VerSe label values, canonical orientation, uint8.
        spacing_mm: Spacing of the network.
        image: Image in HU on the same grid.
        tissues: Tissue classes on the same grid.
        unknown: Mask of voxels without a trustworthy label.

    Returns:
        The case; the cores are found on the labels' own grid, where they are sharper.
    """
    grid = grid_with_spacing(labels.geometry, spacing_mm)
    lookup = np.zeros(256, np.uint8)
    for value, channel in channel_of_value().items():
        lookup[value] = channel
    target = lookup[sample_nearest(labels, grid)]
    core = sample_nearest(labels.with_array(body_cores(labels)), grid)
    if unknown is not None:
        target[sample_nearest(unknown, grid) > 0] = IGNORE_INDEX
    hu = None if image is None else resample_box(image.array, image.geometry, grid)
    kinds = depth = None
    # Thin cortex falls through the meshes of a coarse grid: only its image is any good there.
    if tissues is not None and spacing_mm <= COARSEST_FOR_TISSUES_MM:
        kinds = torch.from_numpy(sample_nearest(tissues, grid))
        deep_mm = resample_box(bone_depth_mm(labels), labels.geometry, grid)
        depth = torch.from_numpy(pack_depth(deep_mm))
    return Case(
        name,
        torch.from_numpy(target),
        torch.from_numpy(core),
        None if hu is None else torch.from_numpy(np.round(hu).astype(np.int16)),
        kinds,
        depth,
        torch.from_numpy(_anchors(target)),
        torch.from_numpy(core_centres(target, core, spacing_mm)),
    )


def _anchors(target: np.ndarray, per_level: int = 64) -> np.ndarray:
    """Return voxels of every level, evenly picked, so that each level is drawn equally often."""
    picked = [np.empty((0, 3), np.int32)]
    for level in np.setdiff1d(np.unique(target), (0, IGNORE_INDEX)):
        voxels = np.argwhere(target == level)
        picked.append(voxels[:: max(1, len(voxels) // per_level)][:per_level])
    return np.concatenate(picked).astype(np.int32)


def core_centres(target: np.ndarray, core: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Return the centre of each channel's core in voxels, float32 (26, 3); see `Case`."""
    centres = np.full((len(NETWORK_LEVELS) + 1, 3), np.nan, np.float32)
    cores = np.where((core > 0) & (target != IGNORE_INDEX), target, 0)
    for channel, box in enumerate(ndimage.find_objects(cores), start=1):
        # T13 shares the channel of T12, and L6 that of L5: two cores have no common centre.
        if box is None or (box[0].stop - box[0].start) * spacing_mm > TALLEST_CORE_MM:
            continue
        voxels = np.argwhere(cores[box] == channel) + [s.start for s in box]
        centres[channel] = voxels.mean(axis=0)
    return centres


def sample_nearest(volume: Volume, grid: Geometry) -> np.ndarray:
    """Return the values at the sample_nearest voxels on a grid with parallel axes."""
    first = volume.geometry.to_index_zyx(np.asarray(grid.origin_lps_mm))
    picks = [
        np.clip(
            np.round(
                first[a] + np.arange(grid.shape[a]) * grid.spacing_mm[a] / volume.spacing_mm[a]
            ),
            0,
            volume.array.shape[a] - 1,
        ).astype(int)
        for a in range(3)
    ]
    return np.ascontiguousarray(volume.array[np.ix_(*picks)])


def body_cores(labels: Volume) -> np.ndarray:
    """Return a mask of every vertebra's core, uint8, the shape of ``labels``.

    The deepest part of a vertebra is its body (C1: its lateral masses), because arches and
    processes are thin. The sacrum has none: it is told apart by its level.
    """
    core = np.zeros(labels.array.shape, np.uint8)
    for value, box in enumerate(ndimage.find_objects(labels.array), start=1):
        if box is None or value in (26, 27):
            continue
        mask = np.pad(labels.array[box] == value, 1)
        depth_mm = ndimage.distance_transform_edt(mask, labels.spacing_mm)[1:-1, 1:-1, 1:-1]
        core[box][large_pieces(depth_mm > CORE_DEPTH * depth_mm.max())] = 1
    return core


def large_pieces(mask: np.ndarray, least_share: float = 0.3) -> np.ndarray:
    """Return a mask without pieces smaller than a share of the largest.

    Laminae of a lumbar vertebra can be as deep as its core; they are small. The lateral masses
    of C1 are alike.
    """
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return (sizes >= least_share * sizes.max())[pieces] & mask


def crop_to(volume: Volume, box: tuple[slice, slice, slice]) -> Volume:
    """Return a box of a volume."""
    return Volume(np.ascontiguousarray(volume.array[box]), crop_geometry(volume.geometry, box))


def save_dataset(cases: list[Case], spacing_mm: float, path: Path) -> None:
    """Write cases into one safetensors file, whole or not at all.

    Raises:
        UserError: If it cannot be written (OUTPUT_BAD, DISK_FULL).
    """
    tensors = {}
    for case in cases:
        for field in FIELDS:
            if (tensor := getattr(case, field)) is not None:
                tensors[f"{case.name}/{field}"] = tensor.contiguous()
    about = {
        "version": DATASET_VERSION,
        "spacing_mm": spacing_mm,
        "cases": [case.name for case in cases],
        "keys": [case.key for case in cases],
    }
    save_tensors(tensors, about, path)


def load_dataset(path: Path, spacing_mm: float | None = None) -> list[Case]:
    """Read what `save_dataset` wrote.

    Args:
        path: The file.
        spacing_mm: Spacing that the cases must have; None takes any.

    Raises:
        UserError: If it is damaged or of another version (MODEL_BAD), or its cases have another
            spacing (INPUT_BAD).
    """
    tensors, about = load_tensors(path)
    if about.get("version") != DATASET_VERSION:
        raise UserError(
            f"{path} was made by another version.",
            "Delete it to have it made again.",
            Code.MODEL_BAD,
        )
    if spacing_mm is not None and about["spacing_mm"] != spacing_mm:
        raise UserError(
            f"{path} holds cases with voxels of {about['spacing_mm']:g} mm; this network learns "
            f"from {spacing_mm:g} mm.",
            "Choose another folder with --out, or delete the file to have it made again.",
            Code.INPUT_BAD,
        )
    return [
        Case(name, *(tensors.get(f"{name}/{field}") for field in FIELDS), key)
        for name, key in zip(about["cases"], about["keys"], strict=True)
    ]
