"""Smooth, check and measure the surface of a vertebra.

The steps are `raw_surface.make_raw_surface`, `smooth` (or `shared_borders.smooth_together`) and
`finish`; `exporter` calls them in this order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.export.meshing import vtk_surface
from spinemamba.export.meshing.decimate import decimated
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.raw_surface import RawSurface
from spinemamba.export.meshing.self_intersections import self_intersections
from spinemamba.export.meshing.vtk_surface import Filter

_ROUNDS = 12
"""Maximum rounds in which smoothing is reduced at self-intersections, each in a wider region."""

_DECIMATIONS = 8
"""Maximum attempts of decimation, each with more fixed points at self-intersections."""

_MOST_FIXED = 0.2
"""Largest share of fixed points. Beyond it, fewer triangles are removed instead."""

_NEWTON_STEPS = 3

_SETTLED = 1e-5
"""Relative volume error at which the steps stop."""

_SAME_VOLUME = 0.0015
"""Relative difference from the volume of the label at which no further offset is applied."""


@dataclass(frozen=True)
class _Deviation:
    """Distance between a surface and the unsmoothed surface of its label.

    Distances are from the points of each surface to the other surface, both directions pooled.
    """

    mean_mm: float
    p95_mm: float
    max_mm: float


@dataclass(frozen=True)
class FinishedSurface:
    """A finished surface.

    Attributes:
        mesh: The surface in LPS; coordinates are rounded to 32 bits.
        raw_surface: The surface before smoothing.
        offset_mm: Median outward shift of the points that compensates the volume lost by smoothing.
        limited: Points that smoothing would have moved more than half a voxel diagonal away from
            the label.
        held_back: Points at which smoothing was reduced because of a self-intersection.
        intersecting: Triangles that still intersect others.
        deviation: Distance from the label.
        decimation: Requested share of removed triangles.
        crumbs: Number of loose pieces that were left out.
        crumbs_mm3: Their volume.
    """

    mesh: Mesh
    raw_surface: RawSurface
    offset_mm: float
    limited: int
    held_back: int
    intersecting: int
    deviation: _Deviation
    decimation: float = 0.0
    crumbs: int = 0
    crumbs_mm3: float = 0.0

    @property
    def removed_share(self) -> float:
        """Share of removed triangles."""
        return 1 - len(self.mesh.triangles) / len(self.raw_surface.raw.triangles)


def smooth(raw_surface: RawSurface, options: MeshOptions) -> Mesh:
    """Return the smoothed surface of a single vertebra."""
    if not options.smoothing:
        return raw_surface.raw
    return vtk_surface.smoothed(
        raw_surface.raw, Filter.of(options.smoothing, raw_surface.slices_for_one)
    )


def _keep_volume(mesh: Mesh, volume_mm3: float, free: np.ndarray | None = None) -> Mesh:
    """Offset a surface uniformly along its normals until it has a given volume.

    Smoothing shrinks ridges and tips; the offset is some hundredths of a millimetre.

    Args:
        mesh: Closed surface, facing outwards.
        volume_mm3: Volume to reach.
        free: Whether each point may move; None if all may.
    """
    for _ in range(_NEWTON_STEPS):
        missing_mm3 = volume_mm3 - mesh.volume_mm3
        if abs(missing_mm3) < _SETTLED * volume_mm3:
            break
        step_mm = missing_mm3 / mesh.area_mm2
        moves_mm = step_mm * mesh.point_normals()
        if free is not None:
            moves_mm[~free] = 0
        mesh = mesh.moved_to(mesh.points_mm + moves_mm)
    return mesh


def reduce_at_self_intersections(raw: Mesh, target: Mesh) -> tuple[Mesh, np.ndarray, int]:
    """Reduce the displacement from a raw to a smoothed surface at self-intersections.

    Around each self-intersection, displacements are halved repeatedly, in a region that grows each
    time. This ends because the raw surface has no self-intersection.

    Returns:
        The surface, rounded to 32 bits; whether each point was held back; and the number of
        triangles that still intersect others.
    """
    share, moved = np.ones((len(raw.points_mm), 1)), None
    for round_ in range(_ROUNDS):
        mesh = _rounded(raw.moved_to(raw.points_mm + share * (target.points_mm - raw.points_mm)))
        cutting = self_intersections(mesh, moved)
        if not len(cutting):
            break
        region = np.zeros(len(share), bool)
        region[mesh.triangles[cutting]] = True
        for _ in range(1 + round_):
            region[mesh.triangles[region[mesh.triangles].any(axis=1)]] = True
        share[region] *= 0.5 if round_ < _ROUNDS // 2 else 0.0
        moved = region[mesh.triangles].any(axis=1)
    return mesh, share[:, 0] < 1, len(cutting)


def finish(
    raw_surface: RawSurface, smoothed: Mesh, options: MeshOptions, free: np.ndarray | None = None
) -> FinishedSurface:
    """Correct the volume of a smoothed surface, decimate it, and measure it.

    Args:
        raw_surface: The surface before smoothing.
        smoothed: The surface after smoothing.
        options: Options of the surface.
        free: Whether each point belongs to this vertebra only; None if all do.
    """
    raw, target, limited = raw_surface.raw, smoothed, 0
    for _ in range(_ROUNDS if options.smoothing else 0):
        corrected = _keep_volume(target, raw_surface.label_volume_mm3, free)
        target, limited = raw_surface.bound.limit(raw, corrected, free)
        # Points that were moved back have changed the volume.
        if abs(target.volume_mm3 / raw_surface.label_volume_mm3 - 1) < _SAME_VOLUME:
            break
    mesh, held_back, intersecting = reduce_at_self_intersections(raw, target)
    if options.decimation:
        mesh, intersecting = _decimated_safely(mesh, options.decimation, free)
    elif (welded := mesh.welded()) is not mesh:
        mesh, intersecting = welded, len(self_intersections(welded))
    moves_mm = target.points_mm - smoothed.points_mm
    offset_mm = float(np.median(np.einsum("pd,pd->p", moves_mm, smoothed.point_normals())))
    return FinishedSurface(
        mesh,
        raw_surface,
        offset_mm,
        limited,
        int(held_back.sum()),
        intersecting,
        deviation(raw_surface.label, mesh),
        options.decimation,
    )


def _decimated_safely(mesh: Mesh, share: float, free: np.ndarray | None = None) -> tuple[Mesh, int]:
    """Return a decimated surface, rounded to 32 bits, and the number of intersecting triangles.

    Points around self-intersections are fixed, and decimation is repeated. If too many points
    become fixed, fewer triangles are removed.

    Args:
        mesh: Closed surface.
        share: Share of triangles to remove.
        free: Whether each point may move; None if all may.
    """
    shared = np.zeros(len(mesh.points_mm), bool) if free is None else ~free
    fixed, attempts = shared.copy(), []
    for _ in range(_DECIMATIONS):
        fewer = _rounded(decimated(mesh, share, fixed)).welded()
        cutting = self_intersections(fewer)
        attempts.append((fewer, len(cutting)))
        if not len(cutting):
            break
        fixed |= _around(mesh, fewer.corners_mm[cutting])
        if (fixed & ~shared).mean() > _MOST_FIXED:
            fixed, share = shared.copy(), max(2 * share - 1, 0)
    return min(attempts, key=lambda attempt: attempt[1])


def _around(mesh: Mesh, corners_mm: np.ndarray) -> np.ndarray:
    """Return whether each point of a surface is near one of some triangles (n, 3, 3)."""
    near = np.zeros(len(mesh.points_mm), bool)
    for low_mm, high_mm in zip(corners_mm.min(axis=1), corners_mm.max(axis=1), strict=True):
        margin_mm = (high_mm - low_mm).max() / 2
        inside = (mesh.points_mm >= low_mm - margin_mm) & (mesh.points_mm <= high_mm + margin_mm)
        near |= inside.all(axis=1)
    return near


def _rounded(mesh: Mesh) -> Mesh:
    """Round the coordinates of a surface to 32 bits, as files store them."""
    return mesh.moved_to(mesh.points_mm.astype(np.float32).astype(float))


def deviation(one: Mesh, other: Mesh) -> _Deviation:
    """Return the distance between two surfaces."""
    forward = vtk_surface.distances_mm(one.points_mm, other)
    backward = vtk_surface.distances_mm(other.points_mm, one)
    both = np.concatenate([forward, backward])
    return _Deviation(float(both.mean()), float(np.percentile(both, 95)), float(both.max()))
