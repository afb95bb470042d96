"""Whole bodies: label maps of the spine and of the structures around it, to be painted as CT."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from spinemamba.imaging.resample import crop_geometry, grid_with_spacing
from spinemamba.imaging.volume import Box, Volume
from spinemamba.phantom.tissue import Tissue
from spinemamba.training.data.dataset import Case, make_case, sample_nearest
from spinemamba.training.data.structures import AORTA, BONES, STRUCTURE, VERTEBRAE
from spinemamba.training.data.tissue_maps import tissues_around

_FINEST_MM = 1.5
"""Finest voxels of a painted body: outlines of structures are smooth."""

_MARGIN_MM = 100.0
"""The body is cropped to this distance from the spine."""

_SPINE_MM = 30.0
"""Around the spine, discs, canal and muscles are told apart."""

_SKIN_MM = (18.0, 20.0)
"""Depths of the skin outside of all structures; subcutaneous fat is under it, air outside."""

_MUSCLE_MM = 18.0
"""Soft tissue around bones that no structure covers."""

_TABLE_MM = (3.0, 15.0)
"""Extent of the table behind the skin of the back."""

_PLAQUE_SHARE = 0.12
"""Share of the wall of the aorta that is calcified."""


@dataclass(frozen=True)
class Body:
    """Label maps of one patient on one grid, in canonical orientation.

    Attributes:
        name: Name of the case.
        labels: VerSe label values, uint8.
        structures: Numbers of TotalSegmentator 2, uint8.
        image: CT in HU; None if there is none.
        known_above_hu: Voxels of the image below this value are unknown.
    """

    name: str
    labels: Volume
    structures: Volume
    image: Volume | None = None
    known_above_hu: float = 0.0


def body_case(body: Body, spacing_mm: float, finest_mm: float | None = None) -> Case:
    """Return the training case of a body; see `make_case` for the voxel spacing."""
    body = _around_spine(_coarsened(body))
    labels, numbers = body.labels, body.structures.array
    missing = np.isin(numbers, VERTEBRAE) & (labels.array == 0)
    other_bone = np.isin(numbers, BONES) & (labels.array == 0) | missing
    unknown = ndimage.binary_dilation(missing, iterations=2) & (labels.array == 0)
    known = None
    if body.image is not None:
        known = body.image.with_array((body.image.array >= body.known_above_hu).astype(np.uint8))
    return make_case(
        body.name,
        labels,
        spacing_mm,
        image=body.image,
        known_image=known,
        tissues=labels.with_array(_tissues(body, other_bone)),
        unknown=labels.with_array(unknown.astype(np.uint8)),
        other_bone=labels.with_array(other_bone.astype(np.uint8)),
        finest_mm=finest_mm,
    )


def _coarsened(body: Body) -> Body:
    """Return the body without voxels finer than `_FINEST_MM`; an image is kept as it is."""
    own = body.labels.spacing_mm
    if min(own) >= _FINEST_MM or body.image is not None:
        return body
    grid = grid_with_spacing(body.labels.geometry, tuple(max(s, _FINEST_MM) for s in own))
    labels, structures = (
        Volume(sample_nearest(volume, grid), grid) for volume in (body.labels, body.structures)
    )
    return replace(body, labels=labels, structures=structures)


def _around_spine(body: Body) -> Body:
    """Return the part of the body near the spine."""
    labels, box = body.labels, box_around_spine(body.labels, _MARGIN_MM)
    return replace(
        body,
        labels=cropped(labels, box),
        structures=cropped(body.structures, box),
        image=None if body.image is None else cropped(body.image, box),
    )


def box_around_spine(labels: Volume, margin_mm: float) -> Box:
    """Return the box around all labels, with a margin on each side as far as the image goes."""
    spine = ndimage.find_objects((labels.array > 0).astype(np.uint8))[0]
    margins = [int(np.ceil(margin_mm / step)) for step in labels.spacing_mm]
    z, y, x = (
        slice(max(0, s.start - margin), min(n, s.stop + margin))
        for s, n, margin in zip(spine, labels.array.shape, margins, strict=True)
    )
    return z, y, x


def cropped(volume: Volume, box: Box) -> Volume:
    """Return a part of a volume."""
    part = crop_geometry(volume.geometry, box)
    return Volume(np.ascontiguousarray(volume.array[box]), part)


def _tissues(body: Body, other_bone: np.ndarray) -> np.ndarray:
    """Return the tissue of each voxel, uint8: structures, and what lies between them."""
    labels, numbers = body.labels, body.structures.array
    step_mm = labels.spacing_mm
    tissues = np.full(labels.array.shape, Tissue.FAT, np.uint8)
    box = box_around_spine(labels, _SPINE_MM)
    tissues[box] = tissues_around(cropped(labels, box)).array
    near_bone = ndimage.distance_transform_edt(~other_bone, step_mm) < _MUSCLE_MM
    tissues[near_bone & (tissues == Tissue.FAT)] = Tissue.MUSCLE
    if numbers.any():
        outside_mm = ndimage.distance_transform_edt((numbers == 0) & (labels.array == 0), step_mm)
        tissues[outside_mm > _SKIN_MM[0]] = Tissue.SKIN
        tissues[outside_mm > _SKIN_MM[1]] = Tissue.AIR
        _add_table(tissues, step_mm[1])
    organ = (numbers > 0) & (labels.array == 0)
    tissues[organ] = numbers[organ] + STRUCTURE
    tissues[_plaques(numbers == AORTA)] = Tissue.CALCIFICATION
    return tissues


def _add_table(tissues: np.ndarray, step_mm: float) -> None:
    """Add a table behind the back, in place, if the volume extends so far."""
    rows = np.flatnonzero((tissues != Tissue.AIR).any(axis=(0, 2)))
    first, last = (rows[-1] + max(1, round(mm / step_mm)) for mm in _TABLE_MM)
    tissues[:, first:last] = Tissue.TABLE


def _plaques(aorta: np.ndarray) -> np.ndarray:
    """Return a mask of calcified parts of the wall; the same aorta has the same plaques."""
    wall = aorta & ~ndimage.binary_erosion(aorta)
    if not wall.any():
        return wall
    noise = np.random.default_rng(0).standard_normal(wall.shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, 1.5)
    return wall & (smooth > np.quantile(smooth[wall], 1 - _PLAQUE_SHARE))
