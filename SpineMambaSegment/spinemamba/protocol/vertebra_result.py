"""Result of the re-segmentation of one vertebra. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spinemamba.common.json_schema import JsonFormat


@dataclass(frozen=True)
class VertebraResult:
    """One vertebra, segmented in a region around a point.

    Attributes:
        replaced_label: Label value of the vertebra before; 0 if it had been missed.
        point_lps_mm: Point in the vertebral body that the region was centred on.
        centroid_lps_mm: Centroid of the voxels.
        volume_ml: Volume of the voxels.
        level_probabilities: Level probabilities, by appearance alone, in the order of
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

    replaced_label: int
    point_lps_mm: tuple[float, float, float]
    centroid_lps_mm: tuple[float, float, float]
    volume_ml: float
    level_probabilities: tuple[float, ...]
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
        VERTEBRA_RESULT.write(self, path)


def read_vertebra_result(path: Path) -> VertebraResult:
    """Read and check a file written by `VertebraResult.write`.

    Raises:
        UserError: If the file is missing or damaged, or has a schema that is not supported.
    """
    return VERTEBRA_RESULT.read(path)


VERTEBRA_RESULT = JsonFormat(
    VertebraResult,
    "the result of a re-segmentation",
    "Segment the vertebra again.",
    version=2,
    renamed={
        1: {
            "again": "replaced_label",
            "place_lps_mm": "point_lps_mm",
            "evidence": "level_probabilities",
        }
    },
)
"""Format of the result of a re-segmentation."""
