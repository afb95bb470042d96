"""manifest.json and manifest.csv: the proof of what was exported. Standard library only.

A schema of its own, versioned. Every vertebra carries all that is said of it, so that exports
into one folder at different times stay true side by side.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from spinemamba.common.errors import Code, UserError
from spinemamba.common.versioned_json import of_schema
from spinemamba.protocol.case_source import CaseSource

SCHEMA = 1
"""Raised when a field changes its meaning or goes away."""

JSON, CSV = "manifest.json", "manifest.csv"


@dataclass(frozen=True)
class FileEntry:
    """One file.

    Attributes:
        name: In the folder of the manifest.
        format: "stl" and so on.
        unit: Of its coordinates.
        bytes: Its size.
        sha256: Of its bytes, hexadecimal.
    """

    name: str
    format: str
    unit: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Origin:
    """What made a segmentation; empty where it is not known.

    Attributes:
        model: Name of the model.
        model_version: Version of its weights.
        model_hash: Which weights exactly.
        package_version: Version of this package that ran it.
        run_id: The run, as in its result.json.
    """

    model: str = ""
    model_version: str = ""
    model_hash: str = ""
    package_version: str = ""
    run_id: str = ""

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Origin:
        """Return what the tags of a segment say; runs write them, review keeps them."""
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
    """One vertebra.

    Attributes:
        level: Name of the level.
        segment_id: Of the segment in Slicer.
        files: Its files, all of the same surface.
        reviewed: Whether a person marked it as completed.
        reviewed_by: Who, as far as the segmentation says.
        exported_utc: When, ISO 8601.
        exported_with: Name and version of this software.
        coordinate_system: "LPS" or "RAS"; glTF files have their own, which is part of the format.
        frame: "image", or "scene" if the transforms of the image in Slicer's scene are applied.
        voxels: Number of voxels.
        label_volume_ml: Volume of the voxels.
        mesh_volume_ml: Volume inside the surface.
        deviation_mean_mm: From the surface before smoothing, both directions together.
        deviation_p95_mm: 95 % lie closer.
        deviation_max_mm: The largest.
        triangles: Number of triangles.
        watertight: Whether every edge belongs to two triangles that agree on what is outside.
        euler_number: Points minus edges plus triangles.
        bodies: Pieces that do not touch each other.
        cavities: Hollow spaces inside.
        tunnels: Holes that go through.
        self_intersections: Triangles that cut others.
        smoothing: What was done, with its numbers.
        decimation: Share of the triangles that were to go.
        findings: What a person should know, as sentences.
        origin: What made the segmentation.
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

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> VertebraEntry:
        """Return the entry in a dictionary.

        Raises:
            TypeError: If something is missing or unknown.
        """
        values = dict(values)
        files = tuple(FileEntry(**entry) for entry in values.pop("files"))
        findings, origin = tuple(values.pop("findings")), Origin(**values.pop("origin"))
        return cls(files=files, findings=findings, origin=origin, **values)


@dataclass(frozen=True)
class Manifest:
    """What a folder holds.

    Attributes:
        case: Name of the case, the beginning of every file name.
        vertebrae: In the order of their file names.
        left_out: Level and reason of each vertebra that was asked for and could not be exported;
            name and reason of each segment that is not recognised as one.
        unreviewed_accepted: Whether the user was asked about vertebrae that nobody had reviewed,
            and wanted them; None where all were reviewed or nobody was there to be asked.
        source: What tells the case from others of the same safe name; None in older manifests.
    """

    case: str
    vertebrae: tuple[VertebraEntry, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    unreviewed_accepted: bool | None = None
    source: CaseSource | None = None

    def with_vertebra(self, entry: VertebraEntry) -> Manifest:
        """Return a manifest with one more vertebra, which replaces any of the same files."""
        names = {file.name for file in entry.files}
        others = [v for v in self.vertebrae if not names & {file.name for file in v.files}]
        ordered = sorted([*others, entry], key=lambda v: v.files[0].name)
        return replace(self, vertebrae=tuple(ordered))

    def contents(self) -> dict[str, bytes]:
        """Return the two files by their names."""
        values = {
            "schema": SCHEMA,
            "notice": "For research and education. Not for clinical use.",
            **asdict(self),
        }
        text = json.dumps(values, indent=2, allow_nan=False, ensure_ascii=False)
        return {JSON: (text + "\n").encode(), CSV: _table(self.vertebrae).encode()}


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a folder; None if it has none.

    Raises:
        UserError: If it is damaged or of another version (OUTPUT_BAD).
    """
    path = folder / JSON
    if not path.exists():
        return None
    try:
        values = of_schema(json.loads(path.read_text(encoding="utf-8")), SCHEMA)
        return Manifest(
            values["case"],
            tuple(VertebraEntry.from_json(entry) for entry in values["vertebrae"]),
            tuple((level, reason) for level, reason in values["left_out"]),
            values["unreviewed_accepted"],
            CaseSource.from_json(values.get("source")),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{JSON} in {folder.name} is not the manifest of an export: {error}.",
            "Choose another folder.",
            Code.OUTPUT_BAD,
        ) from error


def _table(vertebrae: Sequence[VertebraEntry]) -> str:
    """Return a row for each file as CSV."""
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
