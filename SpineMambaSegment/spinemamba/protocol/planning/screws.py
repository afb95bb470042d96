"""Table of screws and of the rules for a suggested corridor. Standard library only.

The table is a JSON file, or a CSV file with the columns region, diameter_mm and length_mm and the
default rules.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from spinemamba.common.errors import UserError
from spinemamba.common.json_schema import JsonFormat, Limits

REGIONS = ("cervical", "thoracic", "lumbar")
_COLUMNS = ("region", "diameter_mm", "length_mm")
_LETTERS = {"C": "cervical", "T": "thoracic", "L": "lumbar"}


@dataclass(frozen=True)
class Screw:
    """A screw.

    Attributes:
        region: Region of the spine in which it is used.
        diameter_mm: Outer diameter of the thread.
        length_mm: Length of the shaft.
    """

    region: Annotated[str, Limits(choices=REGIONS)]
    diameter_mm: Annotated[float, Limits(1, 12)]
    length_mm: Annotated[float, Limits(5, 120)]


@dataclass(frozen=True)
class ScrewTable:
    """Screws to choose from, and the rules of the choice.

    Attributes:
        screws: The screws.
        cortex_margin_mm: Least distance of a suggested screw from the surface of the bone.
        canal_margin_mm: Least distance from the spinal canal.
        depth_share: Largest share of the way from entry to anterior cortex.
        anterior_margin_mm: Least distance of the tip from the anterior cortex.
    """

    screws: tuple[Screw, ...]
    cortex_margin_mm: Annotated[float, Limits(0, 5)] = 0.5
    canal_margin_mm: Annotated[float, Limits(0, 10)] = 1.0
    depth_share: Annotated[float, Limits(0.3, 1)] = 0.85
    anterior_margin_mm: Annotated[float, Limits(0, 20)] = 3.0

    def of(self, level: str) -> list[Screw]:
        """Return the screws for a level, the thickest and then the longest first."""
        region = _LETTERS.get(level[0], "")
        mine = [screw for screw in self.screws if screw.region == region]
        return sorted(mine, key=lambda s: (-s.diameter_mm, -s.length_mm))

    def to_csv(self) -> str:
        """Return the screws as CSV text."""
        out = io.StringIO(newline="")
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_COLUMNS)
        rows = [(s.region, f"{s.diameter_mm:g}", f"{s.length_mm:g}") for s in self.screws]
        writer.writerows(rows)
        return out.getvalue()


def _usual() -> tuple[Screw, ...]:
    """Return common sizes of pedicle screws."""
    sizes = {
        "cervical": ((3.5, 4.0), range(18, 35, 2)),
        "thoracic": ((4.0, 4.5, 5.0, 5.5, 6.0, 6.5), range(20, 51, 5)),
        "lumbar": ((4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5), range(25, 61, 5)),
    }
    return tuple(
        Screw(region, diameter, float(length))
        for region, (diameters, lengths) in sizes.items()
        for diameter in diameters
        for length in lengths
    )


USUAL = ScrewTable(_usual())
"""Default table."""

SCREWS = JsonFormat(
    ScrewTable, "a table of screws", "Correct it, or leave --screws out.", version=1, defaults=True
)
"""Format of a table in JSON."""


def read_screws(path: Path) -> ScrewTable:
    """Read a table from JSON or CSV.

    Raises:
        UserError: If the file cannot be read, or has a wrong entry or no screw.
    """
    table = SCREWS.read(path) if path.suffix.lower() != ".csv" else _read_csv(path)
    if not table.screws:
        raise UserError(f"{path.name} has no screw.", "Add a row for each screw.")
    return table


def _read_csv(path: Path) -> ScrewTable:
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
        screws = [
            {"region": row["region"], **{key: float(row[key]) for key in _COLUMNS[1:]}}
            for row in rows
        ]
        return SCREWS.parse({"schema": 1, "screws": screws})
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"column {error} is missing" if isinstance(error, KeyError) else error
        raise UserError(
            f"{path.name} is not a table of screws: {reason}.",
            f"It needs the columns {', '.join(_COLUMNS)}.",
        ) from error
