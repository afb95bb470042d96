"""A user's calibration of CT densities: mg/mL of hydroxyapatite from Hounsfield units.

Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from spinemamba.common.errors import UserError
from spinemamba.common.json_schema import OPTIONAL, JsonFormat, Limits


@dataclass(frozen=True)
class Calibration:
    """A line from Hounsfield units to a density, valid for one scanner and protocol.

    Attributes:
        slope_mg_ml_per_hu: Slope; positive.
        offset_mg_ml: Density at 0 HU.
        uncertainty_mg_ml: Uncertainty of a density from the calibration itself, for a coverage of
            95 %.
        source: Where the line comes from, such as a phantom scan; for the reader.
    """

    slope_mg_ml_per_hu: Annotated[float, Limits(1e-3, 10)]
    offset_mg_ml: Annotated[float, Limits(-1000, 1000)]
    uncertainty_mg_ml: Annotated[float, Limits(0, 1000)] = field(default=0.0, metadata=OPTIONAL)
    source: str = field(default="", metadata=OPTIONAL)

    def density_mg_ml(self, intensity_hu: float) -> float:
        """Return the density for a mean in Hounsfield units."""
        return self.slope_mg_ml_per_hu * intensity_hu + self.offset_mg_ml


CALIBRATION = JsonFormat(
    Calibration,
    "a calibration line",
    'Write {"schema": 1, "slope_mg_ml_per_hu": 0.8, "offset_mg_ml": 5.0} into it.',
    version=1,
)
"""Format of a calibration file."""


def read_line(path: Path | None) -> Calibration | None:
    """Return the calibration in a file; None without a file.

    Raises:
        UserError: If the file cannot be read, or a value is out of range.
    """
    return None if path is None else CALIBRATION.read(path)


def read_calibration(text: str) -> Calibration:
    """Return the calibration given as "slope,offset", or by the path of a file.

    Raises:
        UserError: If the text is neither, or a value is out of range.
    """
    parts = text.split(",")
    if len(parts) == 2:
        try:
            slope, offset = map(float, parts)
            values = {"schema": 1, "slope_mg_ml_per_hu": slope, "offset_mg_ml": offset}
            return CALIBRATION.parse(values)
        except ValueError as error:
            raise UserError(
                f"'{text}' is no calibration: {error}.",
                "Give slope and offset in mg/mL, such as 0.8,5.",
            ) from error
    path = Path(text)
    if not path.is_file():
        raise UserError(
            f"'{text}' is neither slope,offset nor a file.",
            "Give slope and offset in mg/mL, such as 0.8,5, or a JSON file.",
        )
    return CALIBRATION.read(path)
