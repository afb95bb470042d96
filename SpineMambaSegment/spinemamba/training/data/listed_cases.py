"""Training cases of a data list: padding, unlabelled bone, and tissues around label maps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_NAME, BY_VALUE
from spinemamba.common.errors import UserError
from spinemamba.imaging.intensity import hounsfield_problem
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.resample import grid_with_spacing
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.phantom import Tissue, paint_ct
from spinemamba.training.data.data_list import DataList, ListedCase
from spinemamba.training.data.dataset import BONE_HU, Case, make_case, sample_nearest

_MARGIN_MM = 30.0
_MASK_SPACING_MM = 1.0
"""Voxel spacing of the tissue map around a mask; finer than that of the networks."""


def load_listed_cases(
    data: DataList, spacing_mm: float, names: Collection[str], report: Callable[[str], None]
) -> Iterator[Case]:
    """Yield training cases of a data list.

    Args:
        data: Data list.
        spacing_mm: Voxel spacing of the network.
        names: Names of the cases to read.
        report: Receives the name of each case.

    Raises:
        UserError: If a file is missing or damaged, image and label map have different grids, an
            image is not in Hounsfield units, or a label map holds values that are not VerSe's.
    """
    for entry in data.training:
        if entry.name in names:
            report(entry.name)
            load = _label_map_case if entry.image is None else _image_case
            yield replace(load(data, entry, spacing_mm), origin=data.origin(entry))


def _image_case(data: DataList, entry: ListedCase, spacing_mm: float) -> Case:
    """Return a case with an image; padded, and unlabelled bone ignored, if it is incomplete."""
    image = canonical(read_volume(data.root / entry.image))[0]
    labels = _read_labels(data.root / entry.label)
    if problem := hounsfield_problem(image):
        raise UserError(
            f"{entry.image}: {problem}.",
            "Remove the case from the data list, or convert the image.",
        )
    if difference := image.geometry.difference(labels.geometry):
        raise UserError(
            f"{entry.label}: its grid is not that of {entry.image}: {difference}.",
            "Correct the data list, or resample the labels.",
        )
    if entry.complete:
        return make_case(entry.name, labels, spacing_mm, image=image)
    image, labels = _pad(image, 0), _pad(labels, 0)
    unknown = _unlabelled_bone(image, labels) | _pad_mask(labels)
    mask = labels.with_array(unknown.astype(np.uint8))
    return make_case(entry.name, labels, spacing_mm, image=image, unknown=mask)


def _label_map_case(data: DataList, entry: ListedCase, spacing_mm: float) -> Case:
    """Return a case from a label map without an image, with tissues and a painted CT."""
    labels = _read_labels(data.root / entry.label)
    grid = grid_with_spacing(labels.geometry, _MASK_SPACING_MM)
    labels = _pad(Volume(sample_nearest(labels, grid), grid), 0)
    tissues = _tissues_around(labels)
    painted = tissues.with_array(paint_ct(tissues, np.random.default_rng(len(entry.name))))
    return make_case(entry.name, labels, spacing_mm, image=painted, tissues=tissues)


def _read_labels(path: Path) -> Volume:
    """Return a label map with VerSe values, uint8, in canonical orientation.

    Raises:
        UserError: If the file cannot be read, or holds other values.
    """
    labels = canonical(read_labels(path))[0]
    if unknown := sorted(set(np.unique(labels.array).tolist()) - {0, *BY_VALUE}):
        raise UserError(
            f"{path.name} holds the unknown values {unknown[:5]}.",
            "Use the values of VerSe; Resources/Docs/levels-and-flags.md lists them.",
        )
    return labels.with_array(labels.array.astype(np.uint8))


def _pad(volume: Volume, value: int) -> Volume:
    """Return the volume padded by `_MARGIN_MM` on each side."""
    margin = _margin_vox(volume.geometry)
    array = np.pad(volume.array, [(m, m) for m in margin], constant_values=value)
    origin = volume.geometry.to_lps_mm(-np.asarray(margin))
    g = volume.geometry
    return Volume(array, Geometry(array.shape, g.spacing_mm, tuple(origin), g.direction_lps))


def _pad_mask(padded: Volume) -> np.ndarray:
    """Return a mask of the voxels that `_pad` added, in the padded shape."""
    outside = np.ones(padded.array.shape, bool)
    outside[tuple(slice(m, -m) for m in _margin_vox(padded.geometry))] = False
    return outside


def _margin_vox(geometry: Geometry) -> list[int]:
    return [round(_MARGIN_MM / s) for s in geometry.spacing_mm]


def _unlabelled_bone(image: Volume, labels: Volume) -> np.ndarray:
    """Return a mask of bright voxels without a label.

    In scans with labels for a part of the spine, the sacrum and the neighbours above and below
    have no label. They must not be learned as background.
    """
    bright = (image.array > BONE_HU) & (labels.array == 0)
    near_label = ndimage.binary_dilation(labels.array > 0, iterations=2)
    bright &= ~near_label
    return ndimage.binary_dilation(bright, iterations=2) & (labels.array == 0)


def _tissues_around(labels: Volume) -> Volume:
    """Return a tissue map for a mask without an image: bone, canal, muscle and fat.

    Bone is cortical to a depth of 1.2 mm. The canal is background that bone encloses in an axial
    slice. Muscle extends to 25 mm from bone, surrounded by fat.
    """
    bone = labels.array > 0
    depth_mm = ndimage.distance_transform_edt(bone, labels.spacing_mm)
    outside_mm = ndimage.distance_transform_edt(~bone, labels.spacing_mm)
    tissues = np.where(outside_mm < 25, Tissue.MUSCLE, Tissue.FAT).astype(np.uint8)
    for k in range(bone.shape[0]):
        enclosed = ndimage.binary_fill_holes(bone[k]) & ~bone[k]
        tissues[k][enclosed] = Tissue.CANAL
    tissues[_between_bodies(labels)] = Tissue.DISC
    tissues[bone] = Tissue.TRABECULAR
    tissues[bone & (depth_mm < 1.2)] = Tissue.CORTICAL
    return labels.with_array(tissues)


def _between_bodies(labels: Volume) -> np.ndarray:
    """Return a mask of the discs: the gaps that a closing of the thick parts of bone fills."""
    bone = (labels.array > 0) & (labels.array != BY_NAME["Sacrum"].value)
    depth_mm = ndimage.distance_transform_edt(bone, labels.spacing_mm)
    grown = ndimage.distance_transform_edt(depth_mm < 5, labels.spacing_mm) < 9
    closed = ndimage.distance_transform_edt(grown, labels.spacing_mm) > 6
    return closed & ~bone
