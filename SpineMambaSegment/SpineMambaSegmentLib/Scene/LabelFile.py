"""Label files of the worker, read in short steps.

Slicer's own reader would block the panel: a label map of a large CT takes it most of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.errors import Code, UserError
from spinemamba.common.stepwise import Steps
from SpineMambaSegmentLib.Scene.Grid import Grid
from SpineMambaSegmentLib.Scene.LabelArray import imageOf
from SpineMambaSegmentLib.Scene.LazyImport import tool

_STEP_BYTES = 1 << 23
"""Bytes of voxels that are read in one step."""

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0])

Image = slicer.vtkOrientedImageData


def labelsInSteps(path: Path, grid: Grid, *, fine: bool = False) -> Steps[Image]:
    """Return the labels in an NRRD file, cropped, in the volume's own RAS (before transforms).

    Args:
        path: Written by the worker, on ``grid``.
        grid: Grid of the volume.
        fine: Whether the labels may be on a subdivision of ``grid``.

    Returns:
        uint8; its extent is that of the labels, one voxel of background if there are none.

    Raises:
        UserError: If the file cannot be read.
        ValueError: If it is not on ``grid``, or contains an unknown label.
    """
    try:
        header = tool("imaging.formats.nrrd_header").read_nrrd_header(path)
        found = _gridOf(path.name, header)
        if not (found.isSubdivisionOf(grid) if fine else found.isSameAs(grid)):
            raise ValueError(f"{path.name} is not on the voxel grid of the volume")
        pieces: list[tuple[tuple[int, int, int], np.ndarray]] = []
        values: set[int] = set()
        for firstSlice, slices in _slabs(header, found.size):
            if (piece := _cropped(slices, firstSlice)) is not None:
                pieces.append(piece)
                values |= set(np.unique(piece[1]).tolist()) - {0}
            yield
    except (OSError, tool("imaging.formats.stored_voxels").UnreadableError) as error:
        message = _("The result {path} could not be read.").format(path=path.name)
        raise UserError(message, _("Press Segment Spine again."), Code.INTERNAL) from error
    if unknown := values - set(BY_VALUE):
        raise ValueError(f"unknown labels in the result: {sorted(unknown)}")
    return _imageOf(pieces, found)


def _gridOf(name: str, header: Any) -> Grid:
    """Return the grid that a header states, in RAS."""
    check = tool("imaging.formats.stated_geometry").check_statements
    geometry = check(name, header.sizes, header.statements, header.missing)
    matrix = np.eye(4)
    steps = np.asarray(geometry.direction_lps) * geometry.spacing_mm[::-1]
    matrix[:3, :3] = _RAS_FROM_LPS @ steps
    matrix[:3, 3] = _RAS_FROM_LPS @ geometry.origin_lps_mm
    return Grid(matrix, header.sizes)


def _slabs(header: Any, size: tuple[int, int, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Read some slices at a time; return the index of the first, and their voxels (k, j, i)."""
    sliceBytes = size[0] * size[1] * header.voxels.dtype.itemsize
    count = max(1, _STEP_BYTES // sliceBytes)
    blocks = tool("imaging.formats.stored_voxels").voxel_blocks
    for n, voxels in enumerate(blocks(header.voxels, count * sliceBytes)):
        yield n * count, voxels.reshape(-1, size[1], size[0])


def _cropped(slices: np.ndarray, firstSlice: int) -> tuple[tuple[int, int, int], np.ndarray] | None:
    """Return the part of some slices that has labels, and its first index; None without labels."""
    inside = slices != 0
    plane = inside.any(axis=0)
    axes = inside.any(axis=(1, 2)), plane.any(axis=1), plane.any(axis=0)
    if not plane.any():
        return None
    ends = [np.flatnonzero(axis)[[0, -1]] for axis in axes]
    k, j, i = (slice(int(first), int(last) + 1) for first, last in ends)
    return (firstSlice + k.start, j.start, i.start), slices[k, j, i].copy()


def _imageOf(pieces: list[tuple[tuple[int, int, int], np.ndarray]], grid: Grid) -> Image:
    """Return an image that covers some pieces, on a right-handed grid, as Slicer's reader does."""
    if not pieces:
        pieces = [((0, 0, 0), np.zeros((1, 1, 1), np.uint8))]
    low = np.min([first for first, _values in pieces], axis=0)
    high = np.max([np.add(first, values.shape) for first, values in pieces], axis=0)
    labels = np.zeros(high - low, np.uint8)
    for first, values in pieces:
        box = [slice(n, n + size) for n, size in zip(first - low, values.shape, strict=True)]
        labels[tuple(box)] = values
    matrix = grid.ijkToRas.copy()
    if np.linalg.det(matrix[:3, :3]) < 0:
        labels = labels[::-1]
        low[0], high[0] = grid.size[2] - high[0], grid.size[2] - low[0]
        matrix[:3, 3] += matrix[:3, 2] * (grid.size[2] - 1)
        matrix[:3, 2] *= -1
    return imageOf(labels, Grid(matrix, grid.size), tuple(low.tolist()))
