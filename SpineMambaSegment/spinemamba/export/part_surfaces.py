"""Write each part of a spine as a surface file, with a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.terminology import SegmentInfo
from spinemamba.common.atomic_files import all_or_none, check_place
from spinemamba.export.meshing import formats
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.raw_surface import Mask, make_raw_surface
from spinemamba.export.meshing.smooth import finish, smooth
from spinemamba.export.meshing.vtk_surface import share_cores
from spinemamba.export.names import safe_case
from spinemamba.imaging.volume import Volume

_RAS_FROM_LPS = np.array([-1.0, -1.0, 1.0])
TABLE = "surfaces.csv"
"""End of the name of the table."""

_COLUMNS = ("file", "segment", "value", "label_ml", "mesh_ml", "triangles", "coordinate_system")


@dataclass(frozen=True)
class PartSurfaces:
    """Surfaces to write.

    Attributes:
        labels: Values of parts.
        segments: The segments to write.
        folder: An existing folder.
        case: Beginning of the file names; converted to a safe one.
        overwrite: Whether existing files may be replaced.
    """

    labels: Volume
    segments: Sequence[SegmentInfo]
    folder: Path
    case: str
    overwrite: bool = False

    def paths(self, options: MeshOptions) -> list[Path]:
        """Return the files to write: surfaces, then the table."""
        case = safe_case(self.case)
        stems = [f"{case}_{safe_case(segment.name)}" for segment in self.segments]
        files = [f"{stem}.{suffix}" for stem in stems for suffix in options.formats]
        return [self.folder / name for name in (*files, f"{case}_{TABLE}")]


def write_part_surfaces(surfaces: PartSurfaces, options: MeshOptions) -> Iterator[float]:
    """Write all files or none; yield the completed share, so that the work can be stopped.

    Raises:
        UserError: If a file exists and must not be replaced, or cannot be written.
    """
    paths = surfaces.paths(options)
    for path in paths:
        check_place(path, overwrite=surfaces.overwrite)
    share_cores()
    boxes = ndimage.find_objects(surfaces.labels.array)
    rows = []
    with all_or_none(paths, overwrite=surfaces.overwrite) as partial:
        for k, segment in enumerate(surfaces.segments):
            data, numbers = _surface(surfaces.labels, segment, boxes[segment.value - 1], options)
            own = paths[k * len(data) : (k + 1) * len(data)]
            for path, content in zip(own, data, strict=True):
                partial[path].write_bytes(content)
                row = (path.name, segment.name, segment.value, *numbers, options.space)
                rows.append(dict(zip(_COLUMNS, row, strict=True)))
            yield (k + 1) / len(surfaces.segments)
        partial[paths[-1]].write_text(_table(rows), encoding="utf-8", newline="\n")


def _surface(
    labels: Volume, segment: SegmentInfo, box: tuple[slice, ...], options: MeshOptions
) -> tuple[list[bytes], tuple[str, str, int]]:
    """Return the files of a segment, and its volumes and number of triangles."""
    first_xyz = tuple(part.start for part in reversed(box))
    mask = Mask(labels.array[box] == segment.value, first_xyz)
    raw = make_raw_surface(mask, lambda xyz: labels.geometry.to_lps_mm(xyz[..., ::-1]), options)
    mesh = finish(raw, smooth(raw, options), options).mesh
    numbers = f"{raw.label_volume_mm3 / 1000:.3f}", f"{mesh.volume_mm3 / 1000:.3f}"
    if options.space == "RAS":
        mesh = mesh.moved_to(mesh.points_mm * _RAS_FROM_LPS)
    data = [formats.encode(mesh, kind, options.space, segment.color) for kind in options.formats]
    return data, (*numbers, len(mesh.triangles))


def _table(rows: Sequence[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
