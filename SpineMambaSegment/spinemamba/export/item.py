"""A vertebra to export, and its entry in the manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from spinemamba import __version__
from spinemamba.export.checks import Topology, findings
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.raw_surface import Mask
from spinemamba.export.meshing.smooth import Finished
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
    vertebra: Vertebra, made: Finished, files: tuple[FileEntry, ...], options: MeshOptions
) -> VertebraEntry:
    """Return the manifest entry of a vertebra."""
    topology = Topology.of(made.mesh)
    flags = findings(made, topology, vertebra.level, _cut_sides(vertebra, made.raw_surface.mask))
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
        voxels=made.raw_surface.voxels,
        label_volume_ml=round(made.raw_surface.label_volume_mm3 / 1000, 6),
        mesh_volume_ml=round(made.mesh.volume_mm3 / 1000, 6),
        deviation_mean_mm=round(made.deviation.mean_mm, 4),
        deviation_p95_mm=round(made.deviation.p95_mm, 4),
        deviation_max_mm=round(made.deviation.max_mm, 4),
        triangles=len(made.mesh.triangles),
        watertight=topology.watertight,
        euler_number=topology.euler_number,
        bodies=topology.bodies,
        cavities=topology.cavities,
        tunnels=topology.tunnels,
        self_intersections=made.intersecting,
        smoothing=_smoothing(made, options),
        decimation=options.decimation,
        findings=tuple(flag.sentence for flag in flags),
        origin=vertebra.origin,
    )


def _cut_sides(vertebra: Vertebra, mask: Mask) -> tuple[str, ...]:
    """Return the sides known in advance, and those at which the edge of the image truncates."""
    sides = set(vertebra.cut_sides)
    if vertebra.image_xyz is not None:
        parts = (mask.voxels, mask.first_xyz, vertebra.image_xyz, vertebra.place)
        sides |= set(cut_sides_of_array(*parts))
    return tuple(side for names in SIDES for side in names if side in sides)


def _smoothing(made: Finished, options: MeshOptions) -> dict[str, Any]:
    if not options.smoothing:
        return {"method": "none"}
    sinc = Filter.of(options.smoothing, made.raw_surface.slices_for_one)
    return {
        "method": "windowed sinc",
        "strength": options.smoothing,
        "slices_for_one": made.raw_surface.slices_for_one,
        "pass_band": round(sinc.pass_band, 6),
        "iterations": sinc.iterations,
        "joint": options.joint,
        "volume_kept_by_offset_mm": round(made.offset_mm, 4),
        "limited_points": made.limited,
        "held_back_points": made.held_back,
    }


def cut_by_result(result: Result | None, level: str) -> tuple[str, ...]:
    """Return the sides at which a run found a level truncated, because labels may be cropped."""
    if result is None:
        return ()
    return tuple(side for item in result.instances if item.name == level for side in item.cut_sides)
