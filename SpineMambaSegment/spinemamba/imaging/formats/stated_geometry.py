"""Check the statements of an image header about its voxel grid for completeness and agreement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spinemamba.common.errors import UserError
from spinemamba.imaging.volume import GRID_TOLERANCE_VOX, Geometry, distinct_texts

ORTHONORMAL_TOLERANCE = 1e-3
"""Largest element of ``D @ D.T - I`` for a direction matrix ``D``."""

PARTS = {
    "spacing_mm": "how large its voxels are",
    "direction_lps": "how the image lies in the patient",
    "origin_lps_mm": "where the image lies in the patient",
}
REMEDY = "Export the image again from its source, with spacing, orientation and origin."


@dataclass(frozen=True)
class Statement:
    """Statement of one header field, or of the library, about the voxel grid.

    Attributes:
        source: Name of the field.
        spacing_mm: Along the x, y, z index axes; None if not stated.
        direction_lps: As `Geometry.direction_lps`; None if not stated.
        origin_lps_mm: As `Geometry.origin_lps_mm`; None if not stated.
        rounding_rad: Angular precision of the field's numbers.
    """

    source: str
    spacing_mm: tuple[float, ...] | None = None
    direction_lps: np.ndarray | None = None
    origin_lps_mm: tuple[float, ...] | None = None
    rounding_rad: float = 0.0


def check_statements(
    name: str,
    shape_xyz: tuple[int, int, int],
    statements: Sequence[Statement],
    missing: Mapping[str, str],
) -> Geometry:
    """Return the grid that a header states.

    Args:
        name: Name of the file, for messages.
        shape_xyz: Voxels along the index axes.
        statements: All statements of the header; the first about each part counts.
        missing: For each of `PARTS`, what the header lacks if no statement covers it.

    Raises:
        UserError: If a part of the geometry is not stated, has an invalid value, or is stated with
            values that differ by more than rounding.
    """
    for part, meaning in PARTS.items():
        stated = [one for one in statements if getattr(one, part) is not None]
        if not stated:
            raise UserError(f"{name} does not state {meaning} ({missing[part]}).", REMEDY)
        for one in stated:
            _check_possible(name, one, part)
    first = {
        part: next(v for s in statements if (v := getattr(s, part)) is not None) for part in PARTS
    }
    grid = Geometry(
        shape_xyz[::-1], first["spacing_mm"][::-1], first["origin_lps_mm"], first["direction_lps"]
    )
    for part in PARTS:
        stated = [one for one in statements if getattr(one, part) is not None]
        for other in stated[1:]:
            _check_agreement(name, grid, (stated[0], other), part)
    return grid


def not_orthonormal(name: str) -> UserError:
    """Return the error for an image with axes that are not orthogonal."""
    return UserError(
        f"{name} has axes that are not at right angles (a sheared volume).",
        "Resample the volume to a regular grid, for example with Slicer's 'Resample Scalar "
        "Volume', and try again.",
    )


def is_orthonormal(direction: np.ndarray) -> bool:
    """Return whether a direction matrix is orthonormal up to rounding."""
    return bool(np.abs(direction @ direction.T - np.eye(3)).max() <= ORTHONORMAL_TOLERANCE)


def _check_possible(name: str, one: Statement, part: str) -> None:
    value = np.asarray(getattr(one, part), float)
    if not np.isfinite(value).all() or (part == "spacing_mm" and value.min() <= 0):
        text = (" x " if part == "spacing_mm" else ", ").join(f"{v:g}" for v in value.ravel())
        raise UserError(f"{name} does not state {PARTS[part]}: {one.source} is {text}.", REMEDY)
    if part == "direction_lps" and not is_orthonormal(value):
        raise not_orthonormal(name)


def _check_agreement(
    name: str, grid: Geometry, pair: tuple[Statement, Statement], part: str
) -> None:
    """Refuse two statements that place a voxel differently by more than rounding."""
    values = [getattr(one, part) for one in pair]
    field = {"spacing_mm": values[1][::-1]} if part == "spacing_mm" else {part: values[1]}
    gap_vox = grid.gap_vox(replace(grid, **field))
    extent_vox = np.linalg.norm(np.multiply(grid.shape, grid.spacing_mm)) / min(grid.spacing_mm)
    rounding_vox = sum(one.rounding_rad for one in pair) * extent_vox
    if gap_vox > GRID_TOLERANCE_VOX + (rounding_vox if part == "direction_lps" else 0.0):
        rows = [np.asarray(value, float).ravel() for value in values]
        texts = distinct_texts(*rows, " x " if part == "spacing_mm" else ", ")
        both = " and ".join(f"{o.source} {t}" for o, t in zip(pair, texts, strict=True))
        raise UserError(f"{name} contradicts itself on {PARTS[part]}: {both}.", REMEDY)
