"""Training cases at one voxel spacing."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from scipy import ndimage

from spinemamba.anatomy.labels import NETWORK_LEVELS, channel_of_value
from spinemamba.imaging.resample import grid_with_spacing, resample_box
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.training.data.depth import bone_depth_mm, pack_depth
from spinemamba.training.data.origin import USER_ORIGIN, Origin

IGNORE_INDEX = 255
"""Target value of voxels without a label; they are left out of the losses."""

WHOLE_VOXEL = 255
"""Value of a voxel that is bone entirely. Nearest-neighbour labels at 1.5 mm move the surface by up
to half a voxel: returned to the grid of the labels, they reach a Dice of .94 to .98, shares of
voxels .975 to .995."""

BONE_HU = 120
"""Brighter voxels without a label may be bone, in scans that are not completely labelled."""

MR_UNITS = 1000
"""MR is stored as its normalised value times this, because its own values have no unit."""

DATASET_VERSION = 4
"""Increases when the same files and seeds give other cases: older files are made again."""

_COARSEST_FOR_TISSUES_MM = 2.0

_TALLEST_CORE_MM = 45.0

_BESIDE_MM = 12.0
"""Other bones within this distance of the spine, such as heads of ribs, are easily taken for it."""

_CONTACT_MM = 4.0
"""Other bones within this distance touch the spine: patches are also centred there."""

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
        bone: Share of each voxel that is labelled as bone, uint8 (z, y, x) in units of
            1 / `WHOLE_VOXEL`.
        core: Mask of the cores of the vertebrae, uint8 (z, y, x).
        image: Image in HU, or MR in `MR_UNITS`, int16 (z, y, x); None if images are always painted
            from the tissues.
        tissues: `phantom.Tissue` or structure (`structures.STRUCTURE`) of each voxel, uint8
            (z, y, x); None if the image is always used.
        depth: Depth of each voxel in its vertebra, int8 (z, y, x), packed by `pack_depth`; None
            without tissues.
        anchors: Voxels on the spine, the same number for each level, and some on other bones that
            touch it, int32 (n, 3).
        centres: Centre of the core for each network channel in voxels, float32 (26, 3); NaN if a
            channel has no vertebra, or several.
        other_depth: The same as ``depth`` for bones other than the spine; None if these are only
            among the tissues.
        known_image: Share of each voxel in which the image is known, in units of
            1 / `WHOLE_VOXEL`, uint8 (z, y, x); the image is zero elsewhere. None if it is complete.
        beside: Mask of other bones near the spine, uint8 (z, y, x); None if they are not known.
        core_known: Mask of the voxels in which ``core`` is known, uint8 (z, y, x); None if these
            are the voxels with a known target.
        spacing_mm: Voxel spacing (z, y, x).
        key: Identifies the source files, see `gather`; empty if unknown.
        origin: Kind, source and licence, and weight of the case.
    """

    name: str
    target: torch.Tensor
    bone: torch.Tensor
    core: torch.Tensor
    image: torch.Tensor | None
    tissues: torch.Tensor | None
    depth: torch.Tensor | None
    anchors: torch.Tensor
    centres: torch.Tensor
    other_depth: torch.Tensor | None = None
    known_image: torch.Tensor | None = None
    beside: torch.Tensor | None = None
    core_known: torch.Tensor | None = None
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    key: str = ""
    origin: Origin = USER_ORIGIN

    @property
    def levels(self) -> tuple[int, ...]:
        """Network channels of the levels whose core is in the case."""
        found = self.centres[:, 0].isfinite().nonzero()
        return tuple(found.flatten().tolist())

    def opened(self) -> Case:
        """Return this case, which is in memory; `case_store.StoredCase` reads one from a file."""
        return self


TENSORS = tuple(field.name for field in fields(Case) if "Tensor" in str(field.type))
"""Fields of a case that are tensors; those that the case does not have are None."""

_EMPTY: dict[str, torch.Tensor | None] = dict.fromkeys(TENSORS)


def make_case(
    name: str,
    labels: Volume,
    spacing_mm: float,
    *,
    image: Volume | None = None,
    tissues: Volume | None = None,
    unknown: Volume | None = None,
    other_bone: Volume | None = None,
    known_image: Volume | None = None,
    finest_mm: float | None = None,
) -> Case:
    """Resample a labelled case to the voxel spacing of the network.

    Args:
        name: Name of the case.
        labels: VerSe label values, canonical orientation, uint8.
        spacing_mm: Voxel spacing of the network.
        image: Image in HU on the same grid.
        tissues: Tissue classes on the same grid.
        unknown: Mask of voxels without a reliable label.
        other_bone: Mask of bones other than the spine on the same grid; with tissues, the case is a
            whole body.
        known_image: Mask of the voxels in which the image is known; None for all.
        finest_mm: Keep the grid of the labels along each axis on which it is not finer than this,
            so that patches are resampled only once; None to resample to cubic voxels.

    Returns:
        The case. Cores are computed on the grid of the labels, which is finer.
    """
    grid = grid_with_spacing(labels.geometry, _steps_mm(labels.geometry, spacing_mm, finest_mm))
    target = _channels()[sample_nearest(labels, grid)]
    core = sample_nearest(labels.with_array(body_cores(labels)), grid)
    if unknown is not None:
        target[sample_nearest(unknown, grid) > 0] = IGNORE_INDEX
    fields = _image_fields(image, known_image, grid)
    bone = resample_box(labels.array > 0, labels.geometry, grid)
    if tissues is not None and other_bone is not None:
        bone, painted = _body_fields(labels, tissues, other_bone, grid)
        fields |= painted
    # On a coarser grid thin cortex has gaps, so only the image is used.
    elif tissues is not None and spacing_mm <= _COARSEST_FOR_TISSUES_MM:
        depth_mm = resample_box(bone_depth_mm(labels), labels.geometry, grid)
        fields |= {"tissues": sample_nearest(tissues, grid), "depth": pack_depth(depth_mm)}
    anchors = _anchors(target)
    if other_bone is not None:
        fields["beside"], touching = _beside(target, sample_nearest(other_bone, grid) > 0, grid)
        anchors = np.concatenate([anchors, _spread(np.argwhere(touching), len(anchors) // 3)])
    fields |= {
        "target": target,
        "bone": np.round(bone * WHOLE_VOXEL).astype(np.uint8),
        "core": core,
        "anchors": anchors,
        "centres": _core_centres(target, core, grid.spacing_mm[0]),
    }
    tensors = {field: None if a is None else torch.from_numpy(a) for field, a in fields.items()}
    return Case(name=name, spacing_mm=grid.spacing_mm, **_EMPTY | tensors)


def _channels() -> np.ndarray:
    """Return the network channel of each label value, uint8 (256,)."""
    lookup = np.zeros(256, np.uint8)
    for value, channel in channel_of_value().items():
        lookup[value] = channel
    return lookup


def _steps_mm(
    geometry: Geometry, spacing_mm: float, finest_mm: float | None
) -> tuple[float, float, float]:
    if finest_mm is None:
        return (spacing_mm,) * 3
    z, y, x = (max(own, finest_mm) for own in geometry.spacing_mm)
    return z, y, x


def _image_fields(
    image: Volume | None, known: Volume | None, grid: Geometry
) -> dict[str, np.ndarray | None]:
    """Return the image and where it is known, as fields of a case."""
    if image is None:
        return {}
    hu = image.array if known is None else np.where(known.array > 0, image.array, 0)
    out = {"image": np.round(resample_box(hu, image.geometry, grid)).astype(np.int16)}
    if known is not None:
        share = resample_box(known.array > 0, known.geometry, grid)
        out["known_image"] = np.round(share * WHOLE_VOXEL).astype(np.uint8)
    return out


def _body_fields(
    labels: Volume, tissues: Volume, other_bone: Volume, grid: Geometry
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the share of bone of each voxel, and the fields from which a body is painted.

    Label maps of bodies have coarse voxels. Their stairs are smoothed through the depth.
    """
    depth_mm = ndimage.gaussian_filter(bone_depth_mm(labels), 0.5)
    share = np.clip(0.5 + depth_mm / min(labels.spacing_mm), 0, 1)
    others_mm = bone_depth_mm(other_bone.with_array((other_bone.array > 0).astype(np.uint8)))
    others_mm = ndimage.gaussian_filter(others_mm, 0.5)
    fields = {
        "tissues": sample_nearest(tissues, grid),
        "depth": pack_depth(resample_box(depth_mm, labels.geometry, grid)),
        "other_depth": pack_depth(resample_box(others_mm, labels.geometry, grid)),
    }
    return resample_box(share, labels.geometry, grid), fields


def _beside(
    target: np.ndarray, other_bone: np.ndarray, grid: Geometry
) -> tuple[np.ndarray, np.ndarray]:
    """Return masks of the other bones near the spine, and of those that touch it."""
    beside = np.zeros(target.shape, np.uint8)
    touching = np.zeros(target.shape, bool)
    spine = (target > 0) & (target != IGNORE_INDEX)
    if not spine.any():
        return beside, touching
    found = ndimage.find_objects(spine.astype(np.uint8))[0]
    reach = [int(np.ceil(_BESIDE_MM / step)) for step in grid.spacing_mm]
    box = tuple(slice(max(0, s.start - r), s.stop + r) for s, r in zip(found, reach, strict=True))
    distance_mm = ndimage.distance_transform_edt(~spine[box], grid.spacing_mm)
    others = other_bone[box] & (target[box] == 0)
    beside[box] = others & (distance_mm < _BESIDE_MM)
    touching[box] = others & (distance_mm < _CONTACT_MM)
    return beside, touching


def _spread(voxels: np.ndarray, most: int) -> np.ndarray:
    """Return at most ``most`` rows of ``voxels``, evenly spaced, int32."""
    return voxels[:: max(1, len(voxels) // max(1, most))][:most].astype(np.int32)


def _anchors(target: np.ndarray, per_level: int = 64) -> np.ndarray:
    """Return up to ``per_level`` evenly spaced voxels of each level, int32 (n, 3)."""
    anchors = [np.empty((0, 3), np.int32)]
    for level in np.setdiff1d(np.unique(target), (0, IGNORE_INDEX)):
        anchors.append(_spread(np.argwhere(target == level), per_level))
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
