"""Result of the re-segmentation of one vertebra. Standard library only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from spinemamba.common.errors import UserError
from spinemamba.common.versioned_json import strip_schema

SCHEMA = 1


@dataclass(frozen=True)
class VertebraResult:
    """One vertebra, segmented in a region around a point.

    Attributes:
        again: Label value of the vertebra before; 0 if it had been missed.
        place_lps_mm: Point in the vertebral body that the region was centred on.
        centroid_lps_mm: Centroid of the voxels.
        volume_ml: Volume of the voxels.
        evidence: Level probabilities, by appearance alone, in the order of
            `labels.NETWORK_LEVELS`. The region is too small for the coarse network, which
            contributes equal probabilities.
        cut_sides: Sides of the field of view that truncate it.
        dice_before: Dice with the previous mask; None if it had been missed.
        seeded: Whether the point was used as the core, because the network predicted none.
        model_name: Name of the model.
        model_version: Version of its weights.
        model_hash: Hash of its weights.
        package_version: Version of this package.
        device: Device of the network.
        modality: "ct" or "mr".
    """

    again: int
    place_lps_mm: tuple[float, float, float]
    centroid_lps_mm: tuple[float, float, float]
    volume_ml: float
    evidence: tuple[float, ...]
    cut_sides: tuple[str, ...]
    dice_before: float | None
    seeded: bool
    model_name: str
    model_version: str
    model_hash: str
    package_version: str
    device: str
    modality: str

    def write(self, path: Path) -> None:
        """Write JSON; not atomic, so callers pass a path from `atomic_files`."""
        text = json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")


def read_vertebra_result(path: Path) -> VertebraResult:
    """Read and check a file written by `VertebraResult.write`.

    Raises:
        UserError: If the file is missing or damaged, or has another schema version.
    """
    try:
        values = strip_schema(json.loads(path.read_text(encoding="utf-8")), SCHEMA)
        if wrong := {f.name for f in fields(VertebraResult)} ^ set(values):
            raise ValueError(f"missing or unknown entries: {', '.join(sorted(wrong))}")
        return VertebraResult(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path.name} is not the result of a re-segmentation: {error}.",
            "Segment the vertebra again.",
        ) from error
