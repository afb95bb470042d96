"""What is known of a vertebra that was looked for in a box. Standard library only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from spinemamba.common.errors import UserError
from spinemamba.common.versioned_json import strip_schema

SCHEMA = 1


@dataclass(frozen=True)
class VertebraResult:
    """One vertebra, looked for in a box.

    Attributes:
        again: Label value that it had before; 0 if it was missed.
        place_lps_mm: Where it was looked for.
        centroid_lps_mm: Centre of its voxels.
        volume_ml: Volume of its voxels.
        evidence: Probability of each of `labels.NETWORK_LEVELS` by appearance alone. The box
            shows too little for the coarse network: its share of the evidence is even.
        cut_sides: Sides of the image that cut it.
        dice_before: Dice with what it was before; None if it was missed.
        seeded: Whether the place itself had to stand for a body core that the network missed.
        model_name: Name of the model.
        model_version: Version of its weights.
        model_hash: Which weights exactly.
        package_version: Version of this package.
        device: Where the network ran.
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
        """Write it as JSON; the caller makes it whole or nothing."""
        text = json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")


def read_vertebra_result(path: Path) -> VertebraResult:
    """Read and check what `VertebraResult.write` wrote.

    Raises:
        UserError: If it is missing, damaged, or of another version.
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
            f"{path.name} does not say what was found: {error}.", "Look for the vertebra again."
        ) from error
