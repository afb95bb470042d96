"""Which sides of an image cut a vertebra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spinemamba.export.draft import Place

SIDES = (("right", "left"), ("anterior", "posterior"), ("inferior", "superior"))
"""Names of the two directions along L, P and S, backwards and forwards."""

Extent = Sequence[tuple[int, int]]
"""First and last voxel along x, y and z."""


def cut_sides(box_xyz: Extent, image_xyz: Extent, place: Place) -> tuple[str, ...]:
    """Return the sides of an image that a vertebra reaches.

    Args:
        box_xyz: The voxels of the vertebra.
        image_xyz: The voxels of the image.
        place: Where voxels lie, in LPS.

    Returns:
        Names such as "superior", each for the direction nearest to the axis; sorted.
    """
    middle = np.mean(np.asarray(image_xyz, float), axis=1)
    sides = set()
    for axis, ((first, last), (start, end)) in enumerate(zip(box_xyz, image_xyz, strict=True)):
        step = np.eye(3)[axis]
        before, after = place(np.array([middle - step, middle + step]))
        direction = after - before
        main = int(np.abs(direction).argmax())
        low, high = SIDES[main] if direction[main] > 0 else SIDES[main][::-1]
        sides |= {low} if first <= start else set()
        sides |= {high} if last >= end else set()
    return tuple(sorted(sides))
