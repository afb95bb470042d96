"""Training cases of a data list: padding, unlabelled bone, and tissues around label maps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.errors import UserError
from spinemamba.imaging.intensity import hounsfield_problem
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.resample import grid_with_spacing
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.phantom import paint_ct
from spinemamba.training.data.bodies import Body, body_case, box_around_spine, cropped
from spinemamba.training.data.data_list import DataList, ListedCase
from spinemamba.training.data.dataset import BONE_HU, Case, make_case, sample_nearest
from spinemamba.training.data.structures import BONES, MOST_STRUCTURES
from spinemamba.training.data.tissue_maps import tissues_around

_MARGIN_MM = 30.0
_COARSE_MM = 2.0
"""Networks with at least this voxel spacing learn from cases at their own spacing."""

_CORRIDOR_MM = 70.0
"""Around the spine, as the network of the outlines sees it, images are kept at this distance."""

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
            load = _LOADERS.get(entry.kind, _image_case)
            yield replace(load(data, entry, spacing_mm), origin=data.origin(entry))


def _image_case(data: DataList, entry: ListedCase, spacing_mm: float) -> Case:
    """Return a case with an image; padded, and unlabelled bone ignored, if it is incomplete."""
    image = _read_image(data, entry)
    labels = _read_labels(data.root / entry.label)
    _check_grids(image, labels, (entry.image, entry.label))
    others = _read_structures(data, entry, labels)
    if others is not None:
        bones = entry.other_bones or BONES
        others = others.with_array(np.isin(others.array, bones).astype(np.uint8))
    unknown, finest_mm = None, _finest_mm(spacing_mm)
    if finest_mm is not None and labels.array.any():
        box = box_around_spine(labels, _CORRIDOR_MM)
        image, labels = cropped(image, box), cropped(labels, box)
        others = None if others is None else cropped(others, box)
    if not entry.complete:
        image, labels = _pad(image, 0), _pad(labels, 0)
        others = None if others is None else _pad(others, 0)
        hidden = _unlabelled_bone(image, labels) | _pad_mask(labels)
        unknown = labels.with_array(hidden.astype(np.uint8))
    return make_case(
        entry.name,
        labels,
        spacing_mm,
        image=image,
        unknown=unknown,
        other_bone=others,
        finest_mm=finest_mm,
    )


def _body_case(data: DataList, entry: ListedCase, spacing_mm: float) -> Case:
    """Return a whole body, painted from its structures."""
    labels = _read_labels(data.root / entry.label)
    structures = _read_structures(data, entry, labels)
    if (most := int(structures.array.max())) > MOST_STRUCTURES:
        raise UserError(
            f"{entry.structures} holds the value {most}; TotalSegmentator 2 has "
            f"{MOST_STRUCTURES} structures.",
            "Convert the values, or give the case an image.",
        )
    image, above = None, 0.0
    if entry.image is not None:
        image, above = _read_image(data, entry), float(entry.known_above_hu)
        _check_grids(image, labels, (entry.image, entry.label))
    body = Body(entry.name, labels, structures, image, above)
    return body_case(body, spacing_mm, _finest_mm(spacing_mm))


def _finest_mm(spacing_mm: float) -> float | None:
    """Return the finest voxels of listed cases.

    Cases for outlines keep their own grid, so that a patch is resampled once, as an image is when
    it is segmented. The other networks see only coarse voxels.
    """
    return spacing_mm / 2 if spacing_mm < _COARSE_MM else None


def _read_image(data: DataList, entry: ListedCase) -> Volume:
    """Return the image of a case in canonical orientation.

    Raises:
        UserError: If the file cannot be read, or is not in Hounsfield units.
    """
    image = canonical(read_volume(data.root / entry.image))[0]
    problem = hounsfield_problem(image)
    if problem and entry.known_above_hu is None:
        raise UserError(
            f"{entry.image}: {problem}.",
            "Remove the case from the data list, or convert the image.",
        )
    return image


def _read_structures(data: DataList, entry: ListedCase, labels: Volume) -> Volume | None:
    """Return the structures of a case on the grid of its labels, uint8; None if it has none."""
    if entry.structures is None:
        return None
    structures = canonical(read_labels(data.root / entry.structures))[0]
    _check_grids(structures, labels, (entry.structures, entry.label))
    return structures.with_array(structures.array.astype(np.uint8))


def _check_grids(one: Volume, other: Volume, names: tuple[str | None, str | None]) -> None:
    """Raise UserError if two volumes, with these names, have different grids."""
    if difference := one.geometry.difference(other.geometry):
        raise UserError(
            f"{names[1]}: its grid is not that of {names[0]}: {difference}.",
            "Correct the data list, or resample the labels.",
        )


def _label_map_case(data: DataList, entry: ListedCase, spacing_mm: float) -> Case:
    """Return a case from a label map without an image, with tissues and a painted CT."""
    labels = _read_labels(data.root / entry.label)
    grid = grid_with_spacing(labels.geometry, _MASK_SPACING_MM)
    labels = _pad(Volume(sample_nearest(labels, grid), grid), 0)
    tissues = tissues_around(labels)
    painted = tissues.with_array(paint_ct(tissues, np.random.default_rng(len(entry.name))))
    return make_case(entry.name, labels, spacing_mm, image=painted, tissues=tissues)


_LOADERS = {"mask": _label_map_case, "body": _body_case}
"""Functions that read the kinds of cases without a whole image."""


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
