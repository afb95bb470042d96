"""Smooth touching vertebrae together, so that they share one border without overlap or gap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spinemamba.export.meshing import vtk_surface
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.raw_surface import Mask, RawSurface
from spinemamba.export.meshing.vtk_surface import Filter


def neighbour_masks(masks: Sequence[Mask]) -> list[np.ndarray]:
    """Return for each mask of one image the voxels of the other masks.

    Returns:
        Arrays in the shapes of the masks, padded by one voxel on every side.
    """
    first = [np.array(mask.first_xyz)[::-1] for mask in masks]
    out = []
    for mask, start in zip(masks, first, strict=True):
        neighbours = np.zeros(np.add(mask.voxels.shape, 2), bool)
        for other, low in zip(masks, first, strict=True):
            offset = low - (start - 1)
            begin = np.maximum(offset, 0)
            end = np.minimum(offset + other.voxels.shape, neighbours.shape)
            if other is not mask and (begin < end).all():
                here = tuple(map(slice, begin, end))
                there = tuple(map(slice, begin - offset, end - offset))
                neighbours[here] |= other.voxels[there] != 0
        out.append(neighbours)
    return out


def smooth_together(
    raw_surfaces: Sequence[RawSurface], strength: float
) -> list[tuple[Mesh, np.ndarray]]:
    """Smooth the surfaces of one image as one mesh, in which equal points are merged.

    Args:
        raw_surfaces: Surfaces of one image.
        strength: As for `Filter.of`, in (0, 1].

    Returns:
        For each surface: the smoothed surface, and whether each point belongs to it only.
    """
    indices = np.concatenate([raw_surface.index_xyz for raw_surface in raw_surfaces])
    _, first, numbers = np.unique(indices, axis=0, return_index=True, return_inverse=True)
    numbers = numbers.ravel()
    points_mm = np.concatenate([raw_surface.raw.points_mm for raw_surface in raw_surfaces])[first]
    unshared = (np.bincount(numbers) == 1)[numbers]
    starts = np.cumsum([0, *(len(raw_surface.index_xyz) for raw_surface in raw_surfaces)])
    merged = Mesh(
        points_mm,
        np.concatenate(
            [
                numbers[start + raw_surface.raw.triangles]
                for start, raw_surface in zip(starts, raw_surfaces, strict=False)
            ]
        ),
    )
    sinc = Filter.of(strength, max(raw_surface.slices_for_one for raw_surface in raw_surfaces))
    moved_mm = vtk_surface.smoothed(merged, sinc).points_mm[numbers]
    return [
        (raw_surface.raw.moved_to(moved_mm[start:end]), unshared[start:end])
        for raw_surface, start, end in zip(raw_surfaces, starts, starts[1:], strict=False)
    ]
