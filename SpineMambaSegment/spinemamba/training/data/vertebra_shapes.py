"""Shapes of real vertebrae for phantoms, extracted from label images in local frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.volume import Volume
from spinemamba.phantom.stored import UNITS_PER_MM, ShapeBank, StoredShape
from spinemamba.training.data.data_list import DataList
from spinemamba.training.data.dataset import body_cores
from spinemamba.training.data.tensors import load_tensors, save_tensors

_SPACING_MM = 1.25
_MARGIN_MM = 4.0


def extract_all_shapes(data: DataList, report: Callable[[str], None]) -> list[StoredShape]:
    """Return the shapes of the complete vertebrae of every donor.

    Args:
        data: Data list with the donors.
        report: Receives the name of each donor.

    Raises:
        UserError: If a file is missing or damaged.
    """
    shapes = []
    for donor in data.donors:
        report(f"shapes of {donor.case}")
        labels = canonical(read_labels(data.label(donor.case)))[0]
        labels = labels.with_array(labels.array.astype(np.uint8))
        top, bottom = (NETWORK_LEVELS.index(level) for level in (donor.first, donor.last))
        shapes += extract_shapes(labels, donor.case, NETWORK_LEVELS[top : bottom + 1])
    return shapes


def extract_shapes(labels: Volume, donor: str, names: tuple[str, ...]) -> list[StoredShape]:
    """Return the shapes of some vertebrae of a spine.

    The frame of a vertebra has its origin at the centre of the core. Z points along the chain of
    cores towards the head, Y towards the arch.

    Args:
        labels: VerSe label values, canonical orientation.
        donor: Name of the spine.
        names: Levels to extract; those without a core are skipped.
    """
    centres = core_centres_mm(labels, body_cores(labels))
    order = [name for name in NETWORK_LEVELS if name in centres]
    out = []
    for k, name in enumerate(order):
        neighbours = [order[j] for j in (k - 1, k + 1) if 0 <= j < len(order)]
        if name not in names or not neighbours:
            continue
        above, below = centres[neighbours[0]], centres[neighbours[-1]]
        if len(neighbours) == 1:
            above, below = (centres[name], below) if k == 0 else (above, centres[name])
        steps = [np.linalg.norm(centres[other] - centres[name]) for other in neighbours]
        out.append(_extract(labels, (name, donor), centres[name], above - below, np.mean(steps)))
    return out


def core_centres_mm(labels: Volume, cores: np.ndarray) -> dict[str, np.ndarray]:
    """Return the centre X, Y, Z of each vertebra's core in mm from the first voxel.

    Args:
        labels: VerSe label values.
        cores: Mask of the cores, same shape.
    """
    cores = np.where(cores > 0, labels.array, 0)
    names = {label.value: name for name, label in BY_NAME.items()}
    spacing_xyz = np.asarray(labels.spacing_mm)[::-1]
    centres = {}
    for value in np.unique(cores[cores > 0]):
        centre = ndimage.center_of_mass(cores == value)
        centres[names[int(value)]] = np.asarray(centre)[::-1] * spacing_xyz
    return centres


def _extract(
    labels: Volume, identity: tuple[str, str], centre: np.ndarray, along: np.ndarray, step_mm: float
) -> StoredShape:
    """Return the shape of one vertebra.

    Args:
        labels: VerSe label values.
        identity: Level and donor.
        centre: Centre of the core, X, Y, Z in mm.
        along: Direction towards the head, X, Y, Z.
        step_mm: Mean distance to the neighbours.
    """
    name, donor = identity
    spacing = np.asarray(labels.spacing_mm)
    mask = labels.array == BY_NAME[name].value
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    margin = np.ceil(2 * _MARGIN_MM / spacing).astype(int)
    padded = np.pad(mask[box], [(m, m) for m in margin])
    first_xyz = ((np.array([s.start for s in box]) - margin) * spacing)[::-1]
    depth = ndimage.distance_transform_edt(padded, spacing)
    outside = ndimage.distance_transform_edt(~padded, spacing)
    half_mm = min(labels.spacing_mm) / 2
    signed = np.where(padded, half_mm - depth, outside - half_mm)
    points = np.argwhere(padded)[:, ::-1] * spacing[::-1] + first_xyz - centre  # X, Y, Z
    axes = _axes(along, points.mean(axis=0))
    local = points @ axes.T
    low, high = local.min(axis=0) - _MARGIN_MM, local.max(axis=0) + _MARGIN_MM
    x, y, z = (np.arange(a, b, _SPACING_MM) for a, b in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(z, y, x, indexing="ij"), axis=-1)[..., ::-1]  # (z, y, x, XYZ)
    index = (grid @ axes + centre - first_xyz) / spacing[::-1]
    sampled = ndimage.map_coordinates(
        signed, np.moveaxis(index[..., ::-1], -1, 0), order=1, mode="nearest"
    )
    units = np.clip(np.round(sampled * UNITS_PER_MM), -127, 127).astype(np.int8)
    return StoredShape(name, donor, float(step_mm), tuple(map(float, low)), _SPACING_MM, units)


def _axes(along: np.ndarray, towards_arch: np.ndarray) -> np.ndarray:
    """Return a frame with the rows left, posterior, superior."""
    up = along / np.linalg.norm(along)
    back = towards_arch - up * (towards_arch @ up)
    back /= np.linalg.norm(back)
    return np.stack([np.cross(back, up), back, up])


def save_shapes(shapes: list[StoredShape], path: Path, key: str = "") -> None:
    """Write shapes to one safetensors file; ``key`` identifies their source files."""
    tensors = {f"{k:03d}": torch.from_numpy(shape.distance) for k, shape in enumerate(shapes)}
    entries = [
        {"name": s.name, "donor": s.donor, "step_mm": s.step_mm, "low_mm": s.low_mm} for s in shapes
    ]
    save_tensors(tensors, {"key": key, "spacing_mm": _SPACING_MM, "shapes": entries}, path)


def load_shapes(path: Path, key: str = "") -> ShapeBank:
    """Read a file written by `save_shapes`.

    Raises:
        UserError: If the file is damaged, or ``key`` differs (MODEL_BAD).
    """
    tensors, metadata = load_tensors(path)
    if metadata["key"] != key:
        raise UserError(
            f"{path} was made from other files.", "Delete it; it will be rebuilt.", Code.MODEL_BAD
        )
    return ShapeBank(
        [
            StoredShape(
                entry["name"],
                entry["donor"],
                entry["step_mm"],
                tuple(entry["low_mm"]),
                metadata["spacing_mm"],
                tensors[f"{k:03d}"].numpy(),
            )
            for k, entry in enumerate(metadata["shapes"])
        ]
    )
