"""A vertebra to export, its entry in the manifest, and centroids of labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np

from spinemamba import __version__
from spinemamba.export.checks import Topology, findings
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.raw_surface import Mask
from spinemamba.export.meshing.smooth import FinishedSurface
from spinemamba.export.meshing.vtk_surface import Filter
from spinemamba.imaging.truncation import SIDES, Extent, Place, cut_sides_of_array
from spinemamba.protocol.manifest import FileEntry, Origin, VertebraEntry
from spinemamba.protocol.result import Result


class LeftOut(Exception):  # noqa: N818 - not an error: the export continues
    """A vertebra cannot be exported. The message is the reason."""


@dataclass(frozen=True)
class Vertebra:
    """One vertebra to export.

    Attributes:
        level: Name of its level.
        load: Returns its voxels; called just before the export. May raise `LeftOut`.
        place: Maps voxel indices to LPS.
        segment_id: ID of the segment in Slicer.
        cut_sides: Sides at which the field of view truncates it, if known in advance.
        image_xyz: First and last voxel of the image along x, y and z, in the indices of the mask;
            None if unknown.
        reviewed: Whether a user marked it as completed.
        reviewed_by: Name of that user, if known.
        origin: Model and run that made it.
        frame: Frame of the coordinates: "image", or "scene" with the transforms of the image in
            Slicer's scene applied.
    """

    level: str
    load: Callable[[], Mask]
    place: Place
    segment_id: str = ""
    cut_sides: tuple[str, ...] = ()
    image_xyz: Extent | None = None
    reviewed: bool = False
    reviewed_by: str = ""
    origin: Origin = field(default_factory=Origin)
    frame: str = "image"


def manifest_entry(
    vertebra: Vertebra, surface: FinishedSurface, files: tuple[FileEntry, ...], options: MeshOptions
) -> VertebraEntry:
    """Return the manifest entry of a vertebra."""
    topology = Topology.of(surface.mesh)
    flags = findings(
        surface, topology, vertebra.level, _cut_sides(vertebra, surface.raw_surface.mask)
    )
    return VertebraEntry(
        level=vertebra.level,
        segment_id=vertebra.segment_id,
        files=files,
        reviewed=vertebra.reviewed,
        reviewed_by=vertebra.reviewed_by,
        exported_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        exported_with=f"SpineMamba Segment {__version__}",
        coordinate_system=options.space,
        frame=vertebra.frame,
        voxels=surface.raw_surface.voxels,
        label_volume_ml=round(surface.raw_surface.label_volume_mm3 / 1000, 6),
        mesh_volume_ml=round(surface.mesh.volume_mm3 / 1000, 6),
        deviation_mean_mm=round(surface.deviation.mean_mm, 4),
        deviation_p95_mm=round(surface.deviation.p95_mm, 4),
        deviation_max_mm=round(surface.deviation.max_mm, 4),
        triangles=len(surface.mesh.triangles),
        watertight=topology.watertight,
        euler_number=topology.euler_number,
        bodies=topology.bodies,
        cavities=topology.cavities,
        tunnels=topology.tunnels,
        self_intersections=surface.intersecting,
        smoothing=_smoothing(surface, options),
        decimation=options.decimation,
        findings=tuple(flag.sentence for flag in flags),
        origin=vertebra.origin,
        crumbs=surface.crumbs,
        crumbs_ml=round(surface.crumbs_mm3 / 1000, 6),
    )


def _cut_sides(vertebra: Vertebra, mask: Mask) -> tuple[str, ...]:
    """Return the sides known in advance, and those at which the edge of the image truncates."""
    sides = set(vertebra.cut_sides)
    if vertebra.image_xyz is not None:
        parts = (mask.voxels, mask.first_xyz, vertebra.image_xyz, vertebra.place)
        sides |= set(cut_sides_of_array(*parts))
    return tuple(side for names in SIDES for side in names if side in sides)


def _smoothing(surface: FinishedSurface, options: MeshOptions) -> dict[str, Any]:
    if not options.smoothing:
        return {"method": "none"}
    sinc = Filter.of(options.smoothing, surface.raw_surface.slices_for_one)
    return {
        "method": "windowed sinc",
        "strength": options.smoothing,
        "slices_for_one": surface.raw_surface.slices_for_one,
        "pass_band": round(sinc.pass_band, 6),
        "iterations": sinc.iterations,
        "joint": options.joint,
        "volume_kept_by_offset_mm": round(surface.offset_mm, 4),
        "limited_points": surface.limited,
        "held_back_points": surface.held_back,
    }


def cut_by_result(result: Result | None, level: str) -> tuple[str, ...]:
    """Return the sides at which a run found a level truncated, because labels may be cropped."""
    if result is None:
        return ()
    return tuple(side for item in result.instances if item.name == level for side in item.cut_sides)


@dataclass(frozen=True)
class LabelCentroid:
    """Centroid of a label value.

    Attributes:
        centroid_zyx: Mean voxel index.
        voxels: Number of voxels.
    """

    centroid_zyx: tuple[float, float, float]
    voxels: int


def label_centroids(labels: np.ndarray) -> dict[int, LabelCentroid]:
    """Return the centroid of each nonzero value of a label map, shape (z, y, x)."""
    inside = np.flatnonzero(labels)
    values, numbers = np.unique(labels.ravel()[inside], return_inverse=True)
    counts = np.bincount(numbers.ravel(), minlength=len(values))
    sums = [
        np.bincount(numbers.ravel(), along, minlength=len(values))
        for along in np.unravel_index(inside, labels.shape)
    ]
    means = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]
    return {
        int(value): LabelCentroid(tuple(mean.tolist()), int(count))
        for value, mean, count in zip(values, means, counts, strict=True)
    }
