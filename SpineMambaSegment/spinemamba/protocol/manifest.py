"""manifest.json and manifest.csv: list of exported surfaces. Standard library only.

Every vertebra has complete metadata of its own, because vertebrae of one folder may be exported at
different times.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from spinemamba.anatomy.labels import ORDER
from spinemamba.common.errors import Code
from spinemamba.common.json_schema import OPTIONAL, JsonFormat
from spinemamba.protocol.case_source import CaseSource

NOTICE = "For research and education. Not for clinical use."
JSON, CSV = "manifest.json", "manifest.csv"


@dataclass(frozen=True)
class FileEntry:
    """One exported file.

    Attributes:
        name: File name in the folder of the manifest.
        format: "stl", "ply", "obj" or "glb".
        unit: Unit of the coordinates.
        bytes: File size.
        sha256: SHA-256 of the file, hexadecimal.
    """

    name: str
    format: str
    unit: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Origin:
    """Model and run that made a segmentation; unknown entries are empty.

    Attributes:
        model: Name of the model.
        model_version: Version of its weights.
        model_hash: Hash of its weights.
        package_version: Version of this package.
        run_id: Identifier of the run, as in its result.json.
    """

    model: str = ""
    model_version: str = ""
    model_hash: str = ""
    package_version: str = ""
    run_id: str = ""

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Origin:
        """Return the origin in the tags of a segment, which runs write and reviews keep."""
        model, _, version = tags.get("SpineMamba.Model", "").rpartition(" ")
        return cls(
            model,
            version,
            tags.get("SpineMamba.ModelHash", ""),
            tags.get("SpineMamba.Version", ""),
            tags.get("SpineMamba.Run", ""),
        )


@dataclass(frozen=True)
class VertebraEntry:
    """One exported vertebra.

    Attributes:
        level: Name of the level.
        segment_id: Identifier of the segment in Slicer.
        files: Files of the surface, one for each format.
        reviewed: Whether a reviewer marked it as completed.
        reviewed_by: Name of the reviewer in the segmentation; may be empty.
        exported_utc: Time of the export, ISO 8601.
        exported_with: Name and version of this software.
        coordinate_system: "LPS" or "RAS"; glTF defines its own.
        frame: "image", or "scene" if the transforms of the image in Slicer's scene are applied.
        voxels: Number of voxels.
        label_volume_ml: Volume of the voxels.
        mesh_volume_ml: Volume enclosed by the surface.
        deviation_mean_mm: Mean distance to the surface before smoothing, both directions pooled.
        deviation_p95_mm: 95th percentile of these distances.
        deviation_max_mm: Maximum of these distances.
        triangles: Number of triangles.
        watertight: Whether every edge belongs to two triangles with consistent orientation.
        euler_number: Points minus edges plus triangles.
        bodies: Number of connected components.
        cavities: Number of enclosed cavities.
        tunnels: Number of through holes.
        self_intersections: Number of triangles that intersect others.
        smoothing: Smoothing method and its parameters.
        decimation: Share of the triangles requested to be removed.
        findings: Warnings about the surface, as sentences.
        origin: Model and run of the segmentation.
        crumbs: Number of loose pieces that were too small to be written; the volume of the voxels
            includes them.
        crumbs_ml: Their volume.
    """

    level: str
    segment_id: str
    files: tuple[FileEntry, ...]
    reviewed: bool
    reviewed_by: str
    exported_utc: str
    exported_with: str
    coordinate_system: str
    frame: str
    voxels: int
    label_volume_ml: float
    mesh_volume_ml: float
    deviation_mean_mm: float
    deviation_p95_mm: float
    deviation_max_mm: float
    triangles: int
    watertight: bool
    euler_number: int
    bodies: int
    cavities: int
    tunnels: int
    self_intersections: int
    smoothing: dict[str, Any]
    decimation: float
    findings: tuple[str, ...]
    origin: Origin
    crumbs: int = field(default=0, metadata=OPTIONAL)
    crumbs_ml: float = field(default=0.0, metadata=OPTIONAL)


@dataclass(frozen=True)
class Manifest:
    """Content of an export folder.

    Attributes:
        notice: Intended use of the surfaces.
        case: Name of the case, the prefix of every file name.
        vertebrae: Entries from cranial to caudal.
        left_out: Level and reason of each requested vertebra that was not exported; name and
            reason of each segment that was not recognised as a vertebra.
        unreviewed_accepted: True if the user confirmed the export of unreviewed vertebrae; None
            if there were none or the run was not interactive.
        source: Identity of the input; None in older manifests.
    """

    notice: str = field(default=NOTICE, kw_only=True)
    case: str
    vertebrae: tuple[VertebraEntry, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    unreviewed_accepted: bool | None = None
    source: CaseSource | None = field(default=None, metadata=OPTIONAL)

    def with_vertebra(self, entry: VertebraEntry) -> Manifest:
        """Return a manifest with one more vertebra; it replaces entries with the same files."""
        names = {file.name for file in entry.files}
        others = [v for v in self.vertebrae if not names & {file.name for file in v.files}]
        ordered = sorted([*others, entry], key=_place)
        return replace(self, vertebrae=tuple(ordered))

    def contents(self) -> dict[str, bytes]:
        """Return the bytes of manifest.json and manifest.csv by file name."""
        text = MANIFEST.to_text(self, ascii_only=False)
        return {JSON: text.encode(), CSV: _table(self.vertebrae).encode()}


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a folder, or None if the folder has no manifest.

    Raises:
        UserError: If it is damaged or has another schema version (OUTPUT_BAD).
    """
    path = folder / JSON
    if not path.exists():
        return None
    return MANIFEST.read(path, f"{JSON} in {folder.name}")


MANIFEST = JsonFormat(
    Manifest,
    "a manifest of this program",
    "Choose another folder.",
    Code.OUTPUT_BAD,
    version=1,
)
"""Format of manifest.json. The version increases when a field changes its meaning or is removed."""


def _place(entry: VertebraEntry) -> tuple[int, str]:
    """Return the rank of a level along the spine, and the name of its first file."""
    return ORDER.get(entry.level, len(ORDER)), entry.files[0].name


def _table(vertebrae: Sequence[VertebraEntry]) -> str:
    """Return a CSV table with a row for each file."""
    plain = [f.name for f in fields(VertebraEntry) if f.name not in ("files", "findings", "origin")]
    of_file = ["file" if f.name == "name" else f.name for f in fields(FileEntry)]
    columns = [*of_file, *plain, *(f.name for f in fields(Origin)), "findings"]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for entry in vertebrae:
        values = {name: getattr(entry, name) for name in plain}
        smoothing = " ".join(f"{key}={value}" for key, value in entry.smoothing.items())
        values |= {"smoothing": smoothing, "findings": " ".join(entry.findings)}
        for file in entry.files:
            row = {"file" if key == "name" else key: value for key, value in asdict(file).items()}
            writer.writerow(values | row | asdict(entry.origin))
    return out.getvalue()
