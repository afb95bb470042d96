"""Smooth touching vertebrae together: one surface between them, not two that overlap or gape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spinemamba.export.meshing import vtk_surface
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.raw_surface import Draft, Mask
from spinemamba.export.meshing.vtk_surface import Filter


def others_around(masks: Sequence[Mask]) -> list[np.ndarray]:
    """Return for each mask of one image where the others are.

    Returns:
        Arrays in the shapes of the masks with one voxel more on every side.
    """
    first = [np.array(mask.first_xyz)[::-1] for mask in masks]
    found = []
    for own, start in zip(masks, first, strict=True):
        around = np.zeros(np.add(own.voxels.shape, 2), bool)
        for mask, low in zip(masks, first, strict=True):
            offset = low - (start - 1)
            begin = np.maximum(offset, 0)
            end = np.minimum(offset + mask.voxels.shape, around.shape)
            if mask is not own and (begin < end).all():
                here = tuple(map(slice, begin, end))
                there = tuple(map(slice, begin - offset, end - offset))
                around[here] |= mask.voxels[there] != 0
        found.append(around)
    return found


def smooth_together(drafts: Sequence[Draft], strength: float) -> list[tuple[Mesh, np.ndarray]]:
    """Smooth the surfaces of one image as a whole.

    Where two of them have the same point, they keep one.

    Args:
        drafts: Of one image.
        strength: As `Filter.of` takes it, in (0, 1].

    Returns:
        For each draft its smoothed surface, and for each of its points whether it is its alone.
    """
    places = np.concatenate([draft.numbers_xyz for draft in drafts])
    _, first, numbers = np.unique(places, axis=0, return_index=True, return_inverse=True)
    numbers = numbers.ravel()
    points_mm = np.concatenate([draft.raw.points_mm for draft in drafts])[first]
    own = (np.bincount(numbers) == 1)[numbers]
    starts = np.cumsum([0, *(len(draft.numbers_xyz) for draft in drafts)])
    whole = Mesh(
        points_mm,
        np.concatenate(
            [
                numbers[start + draft.raw.triangles]
                for start, draft in zip(starts, drafts, strict=False)
            ]
        ),
    )
    sinc = Filter.of(strength, max(draft.slices_for_one for draft in drafts))
    moved_mm = vtk_surface.smoothed(whole, sinc).points_mm[numbers]
    return [
        (draft.raw.moved_to(moved_mm[start:end]), own[start:end])
        for draft, start, end in zip(drafts, starts, starts[1:], strict=False)
    ]
