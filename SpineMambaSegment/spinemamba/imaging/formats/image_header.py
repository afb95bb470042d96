"""Header of an image file, parsed independently of the library that reads the voxels."""

from __future__ import annotations

import math
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
    """Parsed header.

    Attributes:
        sizes: Voxels along the spatial axes, in the library's order; a fourth may be time.
        statements: All statements about the voxel grid, in LPS.
        voxels: Location and type of the voxels.
        missing: For each part of the geometry, what the header lacks if no statement covers it.
        unit_mm: Unit of length of the statements, in millimetres.
        in_order: Whether the library keeps the order of the numbers in the file.
    """

    sizes: tuple[int, ...]
    statements: tuple[Statement, ...]
    voxels: StoredVoxels
    missing: Mapping[str, str] = field(default_factory=dict)
    unit_mm: float = 1.0
    in_order: bool = True

    @property
    def components(self) -> int:
        """Numbers per voxel: colours, vectors, or the frames of a sequence in Slicer's files."""
        return self.voxels.count // max(1, math.prod(self.sizes))

    @property
    def volume_sizes(self) -> tuple[int, ...]:
        """Sizes without trailing axes of one voxel after the third."""
        sizes = self.sizes
        while len(sizes) > 3 and sizes[-1] == 1:
            sizes = sizes[:-1]
        return sizes


def data_file(header: Path, name: str) -> Path:
    """Return the path of a data file named in a header.

    Raises:
        UnreadableError: If it is missing, or outside the folder of the header: a copied header
            could then show another patient's voxels.
    """
    # Symbolic links are not resolved: some data archives consist of them.
    folder = Path(os.path.abspath(header.parent))  # noqa: PTH100
    path = Path(os.path.abspath(folder / name))  # noqa: PTH100
    if Path(name).is_absolute() or not path.is_relative_to(folder):
        raise UnreadableError(f"its header names a file outside of its folder, {name}")
    if not path.is_file():
        raise UnreadableError(f"the file with its voxels, {name}, is missing")
    return path


def numbered_name(pattern: str, number: int) -> str:
    """Return the name of one of several numbered data files.

    Raises:
        UnreadableError: If the pattern has not exactly one ``%d``, of a width below 100.
    """
    if re.fullmatch(r"[^%]*%\d{0,2}[di][^%]*", pattern) is None:
        raise UnreadableError(f"its header names files as '{pattern[:60]}'")
    return pattern % number


def parse_numbers(text: str, count: int, what: str) -> tuple[float, ...]:
    """Parse the numbers of a field.

    Raises:
        UnreadableError: If the field is not a list of ``count`` numbers.
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


def parse_integers(text: str, count: int, what: str) -> tuple[int, ...]:
    """Parse the integers of a field. Errors as in `parse_numbers`."""
    values = parse_numbers(text, count, what)
    if any(not value.is_integer() for value in values):
        raise UnreadableError(f"its header states {what} as '{text[:60]}', not whole numbers")
    return tuple(map(int, values))


def grid_statement(source: str, matrix: np.ndarray, origin: Iterable[float] | None) -> Statement:
    """Return the statement of a matrix whose columns are the voxel steps along x, y, z."""
    spacing = np.linalg.norm(matrix, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # `check_statements` refuses it
        direction = matrix / spacing
    origin_lps_mm = None if origin is None else tuple(map(float, origin))
    return Statement(source, tuple(map(float, spacing)), direction, origin_lps_mm)


def add_field(fields: dict[str, str], name: str, value: str) -> None:
    """Add a header field.

    Raises:
        UnreadableError: If the field already exists with another value.
    """
    if fields.setdefault(name, value) != value:
        raise UnreadableError(f"its header states {name} twice: '{fields[name]}' and '{value}'")
