"""A vertebra that is to be exported, and what the manifest says of it afterwards."""

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


class LeftOut(Exception):  # noqa: N818 - not an error: the others go on
    """A vertebra cannot be exported; the text says why."""


@dataclass(frozen=True)
class Vertebra:
    """One vertebra to export.

    Attributes:
        level: Name of its level.
        load: Returns its voxels; called when its turn comes. May raise `LeftOut`.
        place: Where its voxels lie.
        segment_id: Of the segment in Slicer.
        cut_sides: Sides of the image that cut it, as far as they are known beforehand.
        image_xyz: First and last voxel of the image along x, y and z, counted as the voxels of the
            mask are; None if it is not known.
        reviewed: Whether a person marked it as completed.
        reviewed_by: Who, if known.
        origin: What made it.
        frame: What coordinates are relative to: "image", or "scene" with the transforms of the
            image in Slicer's scene applied.
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


def entry_of(
    vertebra: Vertebra, made: Finished, files: tuple[FileEntry, ...], options: MeshOptions
) -> VertebraEntry:
    """Return what the manifest says of a vertebra."""
    topology = Topology.of(made.mesh)
    found = findings(made, topology, vertebra.level, _cut_sides(vertebra, made.draft.mask))
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
        voxels=made.draft.voxels,
        label_volume_ml=round(made.draft.label_volume_mm3 / 1000, 6),
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
        findings=tuple(flag.sentence for flag in found),
        origin=vertebra.origin,
    )


def _cut_sides(vertebra: Vertebra, mask: Mask) -> tuple[str, ...]:
    """Return the sides that are known beforehand, and those where the array ends."""
    sides = set(vertebra.cut_sides)
    if vertebra.image_xyz is not None:
        parts = (mask.voxels, mask.first_xyz, vertebra.image_xyz, vertebra.place)
        sides |= set(cut_sides_of_array(*parts))
    return tuple(side for names in SIDES for side in names if side in sides)


def _smoothing(made: Finished, options: MeshOptions) -> dict[str, Any]:
    if not options.smoothing:
        return {"method": "none"}
    sinc = Filter.of(options.smoothing, made.draft.slices_for_one)
    return {
        "method": "windowed sinc",
        "strength": options.smoothing,
        "slices_for_one": made.draft.slices_for_one,
        "pass_band": round(sinc.pass_band, 6),
        "iterations": sinc.iterations,
        "joint": options.joint,
        "volume_kept_by_offset_mm": round(made.offset_mm, 4),
        "limited_points": made.limited,
        "held_back_points": made.held_back,
    }


def cut_by_result(result: Result | None, level: str) -> tuple[str, ...]:
    """Return the sides that a run found cut; it knew the image, labels may be cropped."""
    if result is None:
        return ()
    return tuple(side for item in result.instances if item.name == level for side in item.cut_sides)
