"""Slices between thick slices, so that slopes come out as slopes and not as terraces.

Shape-based interpolation (Raya, Udupa, IEEE Trans Med Imaging 9:32, 1990). In the middle of its own
slice every voxel stays what the label says, and on the way to the next slice it changes once at
most: nothing comes apart, nothing grows together, and a branch of one voxel stays.
"""

from __future__ import annotations

import numpy as np

THICK = 2.5
"""A slice of more than so many times the finest step gets others before the next one. Terraces of
thinner slices are low, and twice the triangles take twice the time: a whole spine of 400 slices
would no longer be exported in 15 s."""

SLOPE, PLATEAU = 1.0, 3.0
"""Widths of terraces, in thicknesses of slices. A narrow one is a slope that was cut into slices;
a wide one ends half way between slices, as without interpolation; between, some of both. With 1.5
and 3, 5 % of a real surface of slices of 2.5 mm were more than 0.7 mm off the label."""


def slices_for_one(steps_mm: np.ndarray) -> np.ndarray:
    """Return how many slices take the place of one along each axis, shape (3,); 1 but for one axis.

    Odd numbers: the border half way between two voxels is then one between new voxels, too.

    Args:
        steps_mm: Size of a voxel along each axis, shape (3,).
    """
    ratio = np.round(steps_mm / steps_mm.min(), 3)  # so that 4 is 4 wherever it was measured
    counts = np.ones(3, int)
    axis = int(ratio.argmax())
    if ratio[axis] > THICK:
        counts[axis] = max(3, 2 * int(ratio[axis] // 2) + 1)
    return counts


def with_slices_between(
    voxels: np.ndarray, counts: np.ndarray, steps_mm: np.ndarray, other: np.ndarray | None = None
) -> np.ndarray:
    """Return a mask with new slices between those along the axis of thick slices.

    Args:
        voxels: Not 0 inside, any axes.
        counts: How many slices take the place of one, for each axis; not 1 for one of them.
        steps_mm: Size of a voxel along each axis, shape (3,).
        other: Whether voxels belong to another vertebra, with one voxel more on every side; None
            if none does. Such a border stays half way between slices, where the other has it, too.

    Returns:
        Whether voxels are inside, beginning in the middle of the voxel before the first one.
    """
    axis = int(np.argmax(counts))
    inside = np.moveaxis(np.pad(voxels != 0, 1), axis, 0)
    steps_mm = np.array([steps_mm[axis], *np.delete(steps_mm, axis)])
    change = _change(inside, steps_mm)
    if other is not None:
        other = np.moveaxis(other, axis, 0)
        change[(inside[:-1] & other[1:]) | (other[:-1] & inside[1:])] = 0.5
    count = int(counts[axis])
    fine = np.empty(((len(inside) - 1) * count + 1, *inside.shape[1:]), bool)
    fine[-1] = inside[-1]
    for part in range(count):
        fine[part:-1:count] = np.where(part < count * change, inside[:-1], inside[1:])
    return np.moveaxis(fine, 0, axis)


def _change(inside: np.ndarray, steps_mm: np.ndarray) -> np.ndarray:
    """Return after which share of the way to the next slice columns change, (n - 1, y, x)."""
    to_edge_mm = edge_distance_mm(inside, steps_mm[1:], PLATEAU * steps_mm[0])
    here_mm, there_mm = to_edge_mm[:-1], to_edge_mm[1:]
    # Between an edge of this slice and one of the next: their distance is a terrace's width.
    width_mm = here_mm + there_mm
    as_slope = np.clip((PLATEAU - width_mm / steps_mm[0]) / (PLATEAU - SLOPE), 0, 1)
    return 0.5 + as_slope * (here_mm / width_mm - 0.5)


def edge_distance_mm(inside: np.ndarray, steps_mm: np.ndarray, most_mm: float) -> np.ndarray:
    """Return how far each voxel is from the edge of the shape in its own slice.

    Args:
        inside: Shape (n, y, x).
        steps_mm: Size of a voxel along y and x, shape (2,).
        most_mm: Larger distances are only known to be larger.
    """
    to_inside = _nearest_mm(inside, steps_mm, most_mm)
    to_other_side = np.where(inside, _nearest_mm(~inside, steps_mm, most_mm), to_inside)
    return to_other_side - steps_mm.min() / 2  # the edge is half way to that voxel


def _nearest_mm(wanted: np.ndarray, steps_mm: np.ndarray, most_mm: float) -> np.ndarray:
    """Return how far the nearest wanted voxel of the same slice is, first along x, then y."""
    number = np.arange(wanted.shape[2], dtype=np.float32)
    before = np.maximum.accumulate(np.where(wanted, number, -np.inf), axis=2)
    after = np.minimum.accumulate(np.where(wanted, number, np.inf)[..., ::-1], axis=2)[..., ::-1]
    along_x = np.minimum(number - before, after - number) * np.float32(steps_mm[1])
    along_x = np.minimum(along_x, np.float32(2 * most_mm)) ** 2
    squared = along_x.copy()
    for shift in range(1, min(int(most_mm / steps_mm[0]) + 1, wanted.shape[1])):
        along_y = np.float32((shift * steps_mm[0]) ** 2)
        np.minimum(squared[:, shift:], along_x[:, :-shift] + along_y, out=squared[:, shift:])
        np.minimum(squared[:, :-shift], along_x[:, shift:] + along_y, out=squared[:, :-shift])
    return np.sqrt(squared)
