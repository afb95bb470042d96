"""From the surface of one vertebra's voxels to one that can be printed, and what it measures.

The steps are `draft.draft_of`, `smooth` (or `joint.smooth_together`) and `finish`; `exporter`
calls them one after another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.export.meshing import vtk_surface
from spinemamba.export.meshing.decimate import decimated
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.raw_surface import Draft
from spinemamba.export.meshing.self_intersections import self_intersections
from spinemamba.export.meshing.vtk_surface import Filter

ROUNDS = 12
"""So often smoothing is held back where a surface cuts itself, each time in a wider part."""

DECIMATIONS = 8
"""So often a surface is decimated, with more points that stay where it cut itself."""

MOST_FIXED = 0.2
"""Where more of the points would have to stay, a smaller share of the triangles goes instead."""

NEWTON_STEPS = 3

SETTLED = 1e-5
"""Share of the volume that is not worth another of these steps."""

SAME_VOLUME = 0.0015
"""Difference from the volume of the label that needs no further offset."""


@dataclass(frozen=True)
class Deviation:
    """How far a surface lies from that of its label before smoothing.

    From the points of each to the nearest place of the other, both directions together.
    """

    mean_mm: float
    p95_mm: float
    max_mm: float


@dataclass(frozen=True)
class Finished:
    """A surface as it is written.

    Attributes:
        mesh: LPS; coordinates are rounded as files store them.
        draft: What it was made of.
        offset_mm: How far points were moved outwards, so that smoothing keeps the volume; the
            median.
        limited: Points that smoothing would have moved further than half a voxel diagonal from
            what the label says.
        held_back: Points where smoothing was held back because the surface cut itself.
        intersecting: Triangles that cut through others nevertheless.
        deviation: From its label.
        decimation: Share of the triangles that were to go.
    """

    mesh: Mesh
    draft: Draft
    offset_mm: float
    limited: int
    held_back: int
    intersecting: int
    deviation: Deviation
    decimation: float = 0.0

    @property
    def removed_share(self) -> float:
        """Share of the triangles that are gone."""
        return 1 - len(self.mesh.triangles) / len(self.draft.raw.triangles)


def smooth(draft: Draft, options: MeshOptions) -> Mesh:
    """Return the surface of a draft, smoothed by itself."""
    if not options.smoothing:
        return draft.raw
    return vtk_surface.smoothed(draft.raw, Filter.of(options.smoothing, draft.slices_for_one))


def keep_volume(mesh: Mesh, volume_mm3: float, free: np.ndarray | None = None) -> Mesh:
    """Return a surface moved outwards, the same everywhere, until it has a volume.

    Smoothing takes from ridges and tips; this gives it back, some hundredths of a millimetre.

    Args:
        mesh: Closed surface, facing outwards.
        volume_mm3: The volume to reach.
        free: For each point, whether it may move; all may if None.
    """
    for _ in range(NEWTON_STEPS):
        missing_mm3 = volume_mm3 - mesh.volume_mm3
        if abs(missing_mm3) < SETTLED * volume_mm3:
            break
        step_mm = missing_mm3 / mesh.area_mm2
        moves_mm = step_mm * mesh.point_normals()
        if free is not None:
            moves_mm[~free] = 0
        mesh = mesh.moved_to(mesh.points_mm + moves_mm)
    return mesh


def hold_back(raw: Mesh, wanted: Mesh) -> tuple[Mesh, np.ndarray, int]:
    """Return a surface that goes as far from a raw one towards a wanted one as it can be whole.

    Where the wanted surface cuts itself, points go half of the way, a quarter, and so on, in a
    part that grows each time: the raw surface never cuts itself.

    Returns:
        The surface, rounded to what files store; for each point whether it was held back; and how
        many triangles cut others nevertheless.
    """
    share, moved = np.ones((len(raw.points_mm), 1)), None
    for round_ in range(ROUNDS):
        mesh = stored(raw.moved_to(raw.points_mm + share * (wanted.points_mm - raw.points_mm)))
        cutting = self_intersections(mesh, moved)
        if not len(cutting):
            break
        part = np.zeros(len(share), bool)
        part[mesh.triangles[cutting]] = True
        for _ in range(1 + round_):
            part[mesh.triangles[part[mesh.triangles].any(axis=1)]] = True
        share[part] *= 0.5 if round_ < ROUNDS // 2 else 0.0
        moved = part[mesh.triangles].any(axis=1)
    return mesh, share[:, 0] < 1, len(cutting)


def finish(
    draft: Draft, smoothed: Mesh, options: MeshOptions, free: np.ndarray | None = None
) -> Finished:
    """Return a smoothed surface as it is written, with what it measures.

    Args:
        draft: What was smoothed.
        smoothed: Its surface after smoothing.
        options: How it is made.
        free: Points that do not belong to another vertebra, too; None if none does.
    """
    raw, wanted, limited = draft.raw, smoothed, 0
    for _ in range(ROUNDS if options.smoothing else 0):
        kept = keep_volume(wanted, draft.label_volume_mm3, free)
        wanted, limited = draft.reach.limit(raw, kept, free)
        # Points that were moved back took volume with them.
        if abs(wanted.volume_mm3 / draft.label_volume_mm3 - 1) < SAME_VOLUME:
            break
    mesh, held_back, intersecting = hold_back(raw, wanted)
    if options.decimation:
        mesh, intersecting = fewer_triangles(mesh, options.decimation, free)
    elif (welded := mesh.welded()) is not mesh:
        mesh, intersecting = welded, len(self_intersections(welded))
    moves_mm = wanted.points_mm - smoothed.points_mm
    offset_mm = float(np.median(np.einsum("pd,pd->p", moves_mm, smoothed.point_normals())))
    return Finished(
        mesh,
        draft,
        offset_mm,
        limited,
        int(held_back.sum()),
        intersecting,
        deviation(draft.label, mesh),
        options.decimation,
    )


def fewer_triangles(mesh: Mesh, share: float, free: np.ndarray | None = None) -> tuple[Mesh, int]:
    """Return a decimated surface, rounded as files store it, and how many triangles cut others.

    Where it cuts itself, the points around stay as they were; where that is nearly everywhere,
    more triangles stay.

    Args:
        mesh: Closed surface.
        share: Of the triangles, how many shall go.
        free: For each point, whether it may move; all may if None.
    """
    shared = np.zeros(len(mesh.points_mm), bool) if free is None else ~free
    fixed, made = shared.copy(), []
    for _ in range(DECIMATIONS):
        fewer = stored(decimated(mesh, share, fixed)).welded()
        cutting = self_intersections(fewer)
        made.append((fewer, len(cutting)))
        if not len(cutting):
            break
        fixed |= _around(mesh, fewer.corners_mm[cutting])
        if (fixed & ~shared).mean() > MOST_FIXED:
            fixed, share = shared.copy(), max(2 * share - 1, 0)
    return min(made, key=lambda one: one[1])


def _around(mesh: Mesh, corners_mm: np.ndarray) -> np.ndarray:
    """Return for each point of a surface whether it is near one of some triangles (n, 3, 3)."""
    near = np.zeros(len(mesh.points_mm), bool)
    for low_mm, high_mm in zip(corners_mm.min(axis=1), corners_mm.max(axis=1), strict=True):
        margin_mm = (high_mm - low_mm).max() / 2
        inside = (mesh.points_mm >= low_mm - margin_mm) & (mesh.points_mm <= high_mm + margin_mm)
        near |= inside.all(axis=1)
    return near


def stored(mesh: Mesh) -> Mesh:
    """Return a surface with its coordinates rounded to 32 bits, as files store them."""
    return mesh.moved_to(mesh.points_mm.astype(np.float32).astype(float))


def deviation(one: Mesh, other: Mesh) -> Deviation:
    """Return how far two surfaces lie from each other."""
    there = vtk_surface.distances_mm(one.points_mm, other)
    back = vtk_surface.distances_mm(other.points_mm, one)
    both = np.concatenate([there, back])
    return Deviation(float(both.mean()), float(np.percentile(both, 95)), float(both.max()))
