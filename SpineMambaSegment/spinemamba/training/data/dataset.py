"""Training cases at one voxel spacing, in memory and cached in one file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from spinemamba.anatomy.labels import NETWORK_LEVELS, channel_of_value
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.resample import grid_with_spacing, resample_box
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.training.data.origin import USER_ORIGIN, Origin
from spinemamba.training.data.tensors import load_tensors, save_tensors

IGNORE_INDEX = 255
"""Target value of voxels without a label; they are left out of the losses."""

BONE_HU = 120
"""Brighter voxels without a label may be bone, in scans that are not completely labelled."""

MR_UNITS = 1000
"""MR is stored as its normalised value times this, because its own values have no unit."""

_DATASET_VERSION = 3
"""Increases when the same files and seeds give other cases: older caches are rebuilt."""

UNITS_PER_MM = 16
"""Depths are stored as int8 in units of 1/16 mm, up to 7.9 mm; cortex is thinner than that."""

REACH_MM = 127 / UNITS_PER_MM
"""Depths are clipped to plus and minus this distance."""

_FIELDS = ("target", "core", "image", "tissues", "depth", "anchors", "centres")

_COARSEST_FOR_TISSUES_MM = 2.0

_TALLEST_CORE_MM = 45.0

_CORE_DEPTH = 0.45
"""A core consists of voxels deeper than this share of a vertebra's greatest depth.

It is relative because a cervical body is 12 mm tall and a lumbar one 28 mm.
"""


@dataclass(frozen=True)
class Case:
    """One training case in canonical orientation.

    Attributes:
        name: Name of the case, for reports.
        target: Network channel of each voxel (0 background, `IGNORE_INDEX`), uint8 (z, y, x).
        core: Mask of the cores of the vertebrae, uint8 (z, y, x).
        image: Image in HU, or MR in `MR_UNITS`, int16 (z, y, x); None if images are always painted
            from the tissues.
        tissues: `phantom.Tissue` of each voxel, uint8 (z, y, x); None if the image is always used.
        depth: Depth of each voxel in its vertebra, int8 (z, y, x), packed by `pack_depth`; None
            without tissues.
        anchors: Voxels on the spine, the same number for each level, int32 (n, 3).
        centres: Centre of the core for each network channel in voxels, float32 (26, 3); NaN if a
            channel has no vertebra, or several.
        key: Identifies the source files, see `gather`; empty if unknown.
        origin: Kind, source and licence, and weight of the case.
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
    origin: Origin = USER_ORIGIN


def make_case(
    name: str,
    labels: Volume,
    spacing_mm: float,
    *,
    image: Volume | None = None,
    tissues: Volume | None = None,
    unknown: Volume | None = None,
) -> Case:
    """Resample a labelled case to the voxel spacing of the network.

    Args:
        name: Name of the case.
        labels: VerSe label values, canonical orientation, uint8.
        spacing_mm: Voxel spacing of the network.
        image: Image in HU on the same grid.
        tissues: Tissue classes on the same grid.
        unknown: Mask of voxels without a reliable label.

    Returns:
        The case. Cores are computed on the grid of the labels, which is finer.
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
    tissue_classes = depth = None
    # On a coarser grid thin cortex has gaps, so only the image is used.
    if tissues is not None and spacing_mm <= _COARSEST_FOR_TISSUES_MM:
        tissue_classes = torch.from_numpy(sample_nearest(tissues, grid))
        depth_mm = resample_box(bone_depth_mm(labels), labels.geometry, grid)
        depth = torch.from_numpy(pack_depth(depth_mm))
    return Case(
        name,
        torch.from_numpy(target),
        torch.from_numpy(core),
        None if hu is None else torch.from_numpy(np.round(hu).astype(np.int16)),
        tissue_classes,
        depth,
        torch.from_numpy(_anchors(target)),
        torch.from_numpy(_core_centres(target, core, spacing_mm)),
    )


def _anchors(target: np.ndarray, per_level: int = 64) -> np.ndarray:
    """Return up to ``per_level`` evenly spaced voxels of each level, int32 (n, 3)."""
    anchors = [np.empty((0, 3), np.int32)]
    for level in np.setdiff1d(np.unique(target), (0, IGNORE_INDEX)):
        voxels = np.argwhere(target == level)
        anchors.append(voxels[:: max(1, len(voxels) // per_level)][:per_level])
    return np.concatenate(anchors).astype(np.int32)


def _core_centres(target: np.ndarray, core: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Return the centre of the core for each channel in voxels, float32 (26, 3); see `Case`."""
    centres = np.full((len(NETWORK_LEVELS) + 1, 3), np.nan, np.float32)
    cores = np.where((core > 0) & (target != IGNORE_INDEX), target, 0)
    for channel, box in enumerate(ndimage.find_objects(cores), start=1):
        # T13 shares the channel of T12, and L6 that of L5. Two cores are taller than one.
        if box is None or (box[0].stop - box[0].start) * spacing_mm > _TALLEST_CORE_MM:
            continue
        voxels = np.argwhere(cores[box] == channel) + [s.start for s in box]
        centres[channel] = voxels.mean(axis=0)
    return centres


def sample_nearest(volume: Volume, grid: Geometry) -> np.ndarray:
    """Return nearest-neighbour samples on a grid with parallel axes; indices are clamped."""
    first = volume.geometry.to_index_zyx(np.asarray(grid.origin_lps_mm))
    indices = [
        np.clip(
            np.round(
                first[a] + np.arange(grid.shape[a]) * grid.spacing_mm[a] / volume.spacing_mm[a]
            ),
            0,
            volume.array.shape[a] - 1,
        ).astype(int)
        for a in range(3)
    ]
    return np.ascontiguousarray(volume.array[np.ix_(*indices)])


def body_cores(labels: Volume) -> np.ndarray:
    """Return a mask of the cores of all vertebrae, uint8, the shape of ``labels``.

    The deepest part of a vertebra is its body (C1: its lateral masses), because arches and
    processes are thin. The sacrum and coccyx have no core; their level identifies them.
    """
    core = np.zeros(labels.array.shape, np.uint8)
    for value, box in enumerate(ndimage.find_objects(labels.array), start=1):
        if box is None or value in (26, 27):
            continue
        mask = np.pad(labels.array[box] == value, 1)
        depth_mm = ndimage.distance_transform_edt(mask, labels.spacing_mm)[1:-1, 1:-1, 1:-1]
        core[box][_large_pieces(depth_mm > _CORE_DEPTH * depth_mm.max())] = 1
    return core


def bone_depth_mm(labels: Volume) -> np.ndarray:
    """Return the signed distance of each voxel to the surface of its vertebra.

    The interface of two touching vertebrae is also a surface, so that a closed facet joint keeps
    its bright line.

    Args:
        labels: Label values, (z, y, x).

    Returns:
        float32 in mm, positive inside, clipped to `REACH_MM`, the shape of ``labels``. Voxels at
        the surface have half of the smallest voxel spacing.
    """
    array = labels.array
    depth = np.full(array.shape, -REACH_MM, np.float32)
    if not array.any():
        return depth
    half_mm = min(labels.spacing_mm) / 2
    margin = [int(np.ceil(REACH_MM / s)) + 1 for s in labels.spacing_mm]
    box = ndimage.find_objects((array > 0).astype(np.uint8))[0]
    around = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margin, strict=True))
    outside = ndimage.distance_transform_edt(array[around] == 0, labels.spacing_mm)
    depth[around] = half_mm - outside
    for value, part in enumerate(ndimage.find_objects(array), start=1):
        if part is None:
            continue
        grown = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in part)
        mask = array[grown] == value
        # The border of the image that truncates a vertebra is not a surface.
        inside = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"), labels.spacing_mm)
        depth[grown][mask] = inside[1:-1, 1:-1, 1:-1][mask] - half_mm
    return np.clip(depth, -REACH_MM, REACH_MM)


def pack_depth(depth_mm: np.ndarray) -> np.ndarray:
    """Return depths as int8 in units of 1 / `UNITS_PER_MM` mm."""
    return np.round(np.clip(depth_mm, -REACH_MM, REACH_MM) * UNITS_PER_MM).astype(np.int8)


def _large_pieces(mask: np.ndarray, least_share: float = 0.3) -> np.ndarray:
    """Return a mask without components smaller than a share of the largest.

    This removes laminae of a lumbar vertebra, which can be as deep as its core but are small, and
    keeps both lateral masses of C1, which are similar in size.
    """
    components, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return (sizes >= least_share * sizes.max())[components] & mask


def save_dataset(cases: list[Case], spacing_mm: float, path: Path) -> None:
    """Write cases to one safetensors file, completely or not at all.

    Raises:
        UserError: If the file cannot be written (OUTPUT_BAD, DISK_FULL).
    """
    tensors = {}
    for case in cases:
        for field in _FIELDS:
            if (tensor := getattr(case, field)) is not None:
                tensors[f"{case.name}/{field}"] = tensor.contiguous()
    metadata = {
        "version": _DATASET_VERSION,
        "spacing_mm": spacing_mm,
        "cases": [case.name for case in cases],
        "keys": [case.key for case in cases],
        "origins": [asdict(case.origin) for case in cases],
    }
    save_tensors(tensors, metadata, path)


def load_dataset(path: Path, spacing_mm: float | None = None) -> list[Case]:
    """Read a file written by `save_dataset`.

    Args:
        path: File to read.
        spacing_mm: Voxel spacing that the cases must have; None accepts any.

    Raises:
        UserError: If the file is damaged or of another version (MODEL_BAD), or its cases have
            another spacing (INPUT_BAD).
    """
    tensors, metadata = load_tensors(path)
    if metadata.get("version") != _DATASET_VERSION:
        raise UserError(
            f"{path} was written by another version.",
            "Delete it; it will be rebuilt.",
            Code.MODEL_BAD,
        )
    if spacing_mm is not None and metadata["spacing_mm"] != spacing_mm:
        raise UserError(
            f"{path} holds cases with voxels of {metadata['spacing_mm']:g} mm; this network needs "
            f"{spacing_mm:g} mm.",
            "Choose another folder with --out, or delete the file; it will be rebuilt.",
            Code.INPUT_BAD,
        )
    return [
        Case(name, *(tensors.get(f"{name}/{field}") for field in _FIELDS), key, Origin(**origin))
        for name, key, origin in zip(
            metadata["cases"], metadata["keys"], metadata["origins"], strict=True
        )
    ]
