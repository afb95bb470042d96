"""What the header of an image says of its voxel grid, and whether it says one thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spinemamba.common.errors import UserError
from spinemamba.imaging.volume import GRID_TOLERANCE_VOX, Geometry, told_apart

ORTHONORMAL_TOLERANCE = 1e-3
"""Largest difference of a direction matrix times its transpose from the identity."""

PARTS = {
    "spacing_mm": "how large its voxels are",
    "direction_lps": "how the image lies in the patient",
    "origin_lps_mm": "where the image lies in the patient",
}
REMEDY = "Export the image again from its source, with spacing, orientation and origin."


@dataclass(frozen=True)
class Statement:
    """What one field of a header, or the library that read it, says of the voxel grid.

    Attributes:
        source: Name of the field.
        spacing_mm: Along the x, y, z index axes; None if the field does not say.
        direction_lps: As `Geometry.direction_lps`; None if the field does not say.
        origin_lps_mm: As `Geometry.origin_lps_mm`; None if the field does not say.
        rounding_rad: Angle that the precision of the field's numbers leaves open.
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
        statements: All that the header says; where two speak of the same, the first counts.
        missing: For each of `PARTS` what the header lacks if nothing states it.

    Raises:
        UserError: If a part of the geometry is not stated, is no possible value, or is stated
            with values that differ by more than rounding.
    """
    for part, meaning in PARTS.items():
        said = [one for one in statements if getattr(one, part) is not None]
        if not said:
            raise UserError(f"{name} does not say {meaning} ({missing[part]}).", REMEDY)
        for one in said:
            _check_possible(name, one, part)
    first = {
        part: next(v for s in statements if (v := getattr(s, part)) is not None) for part in PARTS
    }
    grid = Geometry(
        shape_xyz[::-1], first["spacing_mm"][::-1], first["origin_lps_mm"], first["direction_lps"]
    )
    for part in PARTS:
        said = [one for one in statements if getattr(one, part) is not None]
        for other in said[1:]:
            _check_agreement(name, grid, (said[0], other), part)
    return grid


def not_orthonormal(name: str) -> UserError:
    """Return the error that the axes of an image are not at right angles."""
    return UserError(
        f"{name} has axes that are not at right angles (a sheared volume).",
        "Resample the volume to a regular grid, for example with Slicer's 'Resample Scalar "
        "Volume', and try again.",
    )


def is_orthonormal(direction: np.ndarray) -> bool:
    """Return whether axes are at right angles and of length 1, but for rounding."""
    return bool(np.abs(direction @ direction.T - np.eye(3)).max() <= ORTHONORMAL_TOLERANCE)


def _check_possible(name: str, one: Statement, part: str) -> None:
    value = np.asarray(getattr(one, part), float)
    if not np.isfinite(value).all() or (part == "spacing_mm" and value.min() <= 0):
        text = (" x " if part == "spacing_mm" else ", ").join(f"{v:g}" for v in value.ravel())
        raise UserError(f"{name} does not say {PARTS[part]}: {one.source} is {text}.", REMEDY)
    if part == "direction_lps" and not is_orthonormal(value):
        raise not_orthonormal(name)


def _check_agreement(
    name: str, grid: Geometry, said: tuple[Statement, Statement], part: str
) -> None:
    """Refuse two statements that would move a voxel by more than rounding."""
    values = [getattr(one, part) for one in said]
    field = {"spacing_mm": values[1][::-1]} if part == "spacing_mm" else {part: values[1]}
    gap_vox = grid.gap_vox(replace(grid, **field))
    extent_vox = np.linalg.norm(np.multiply(grid.shape, grid.spacing_mm)) / min(grid.spacing_mm)
    rounding_vox = sum(one.rounding_rad for one in said) * extent_vox
    if gap_vox > GRID_TOLERANCE_VOX + (rounding_vox if part == "direction_lps" else 0.0):
        rows = [np.asarray(value, float).ravel() for value in values]
        texts = told_apart(*rows, " x " if part == "spacing_mm" else ", ")
        both = " and ".join(f"{o.source} {t}" for o, t in zip(said, texts, strict=True))
        raise UserError(f"{name} says twice {PARTS[part]}, and differently: {both}.", REMEDY)
