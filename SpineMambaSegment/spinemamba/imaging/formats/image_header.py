"""What the header of an image file says, read apart from the library that reads the voxels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from spinemamba.imaging.formats.stated_geometry import Statement
from spinemamba.imaging.formats.stored_voxels import StoredVoxels, UnreadableError


@dataclass(frozen=True)
class ImageHeader:
    """What a header says.

    Attributes:
        sizes: Voxels along the axes that lie in space, as the library orders them; a fourth may
            be time.
        statements: All that it says of the voxel grid, in LPS.
        voxels: Where they are.
        missing: For each part of the geometry what the header lacks if nothing states it.
        unit_mm: Millimetres that one unit of length of the statements is worth.
        in_order: Whether the library keeps the order of the numbers in the file.
    """

    sizes: tuple[int, ...]
    statements: tuple[Statement, ...]
    voxels: StoredVoxels
    missing: Mapping[str, str] = field(default_factory=dict)
    unit_mm: float = 1.0
    in_order: bool = True


def beside(header: Path, name: str) -> Path:
    """Return a file that a header names.

    Raises:
        UnreadableError: If it is missing or lies outside of the header's folder: a copied header
            could then show another patient's voxels.
    """
    # Links are not followed: some archives of data consist of them.
    folder = Path(os.path.abspath(header.parent))  # noqa: PTH100
    path = Path(os.path.abspath(folder / name))  # noqa: PTH100
    if Path(name).is_absolute() or not path.is_relative_to(folder):
        raise UnreadableError(f"its header names a file outside of its folder, {name}")
    if not path.is_file():
        raise UnreadableError(f"the file with its voxels, {name}, is not there")
    return path


def numbered(pattern: str, number: int) -> str:
    """Return the name of one of several numbered files.

    Raises:
        UnreadableError: If the pattern is not one ``%d``, of a width below 100.
    """
    if re.fullmatch(r"[^%]*%\d{0,2}[di][^%]*", pattern) is None:
        raise UnreadableError(f"its header names files as '{pattern[:60]}'")
    return pattern % number


def numbers(text: str, count: int, what: str) -> tuple[float, ...]:
    """Return the numbers of a field.

    Raises:
        UnreadableError: If they are not so many numbers.
    """
    try:
        values = tuple(map(float, text.split()))
    except ValueError:
        values = ()
    if len(values) != count:
        raise UnreadableError(
            f"its header states {what} as '{text[:60]}', {count} numbers are needed"
        )
    return values


def whole_numbers(text: str, count: int, what: str) -> tuple[int, ...]:
    """Return the whole numbers of a field; as `numbers`."""
    values = numbers(text, count, what)
    if any(not value.is_integer() for value in values):
        raise UnreadableError(f"its header states {what} as '{text[:60]}', no whole numbers")
    return tuple(map(int, values))


def grid_statement(source: str, matrix: np.ndarray, origin: Iterable[float] | None) -> Statement:
    """Return what a matrix says whose columns lead from voxel to voxel along x, y, z."""
    spacing = np.linalg.norm(matrix, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # refused later
        direction = matrix / spacing
    place = None if origin is None else tuple(map(float, origin))
    return Statement(source, tuple(map(float, spacing)), direction, place)


def once(fields: dict[str, str], name: str, value: str) -> None:
    """Add a field of a header.

    Raises:
        UnreadableError: If it is there already with another value.
    """
    if fields.setdefault(name, value) != value:
        raise UnreadableError(f"its header states {name} twice: '{fields[name]}' and '{value}'")
