"""Lines in Slicer's Markups JSON (``.mrk.json``): write those of a plan, read edited ones.

Standard library only, because the panel uses it. Slicer reads several lines of one file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinemamba.common.errors import UserError
from spinemamba.protocol.measurements import Vector

SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/"
    "Schema/markups-schema-v1.0.3.json#"
)
_DIAMETER = re.compile(r"diameter\s+([0-9]+(?:\.[0-9]+)?)\s*mm")
_SUGGESTION = "suggestion, diameter {:g} mm"


@dataclass(frozen=True)
class ScrewLine:
    """A line from the entry to the tip of a screw.

    Attributes:
        name: Name of the line, such as "L4 left".
        entry_lps_mm: First control point.
        tip_lps_mm: Second control point.
        diameter_mm: Diameter in the description of the first control point; None without one.
    """

    name: str
    entry_lps_mm: Vector
    tip_lps_mm: Vector
    diameter_mm: float | None = None


def description(diameter_mm: float) -> str:
    """Return the description of a control point, from which `diameter_in` reads."""
    return _SUGGESTION.format(diameter_mm)


def diameter_in(text: str) -> float | None:
    """Return the diameter in a description; None if it has none."""
    found = _DIAMETER.search(text)
    return float(found[1]) if found else None


def lines_text(lines: Iterable[ScrewLine]) -> str:
    """Return lines as Markups JSON."""
    markups = [_markup(line) for line in lines]
    return json.dumps({"@schema": SCHEMA, "markups": markups}, indent=1, allow_nan=False) + "\n"


def _markup(line: ScrewLine) -> dict[str, Any]:
    words = "" if line.diameter_mm is None else description(line.diameter_mm)
    points = (("entry", line.entry_lps_mm), ("tip", line.tip_lps_mm))
    return {
        "type": "Line",
        "name": line.name,
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "locked": False,
        "controlPoints": [
            {
                "id": str(k + 1),
                "label": f"{line.name} {what}",
                "description": words,
                "position": list(point),
                "positionStatus": "defined",
            }
            for k, (what, point) in enumerate(points)
        ],
        "display": {"visibility": True, "pointLabelsVisibility": False},
    }


def read_lines(path: Path) -> list[ScrewLine]:
    """Read the lines of a Markups JSON file.

    Raises:
        UserError: If the file cannot be read, or has no line with two points.
    """
    remedy = "Save lines from entry to tip in Slicer as .mrk.json."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        lines = [_line(markup) for markup in content["markups"] if markup["type"] == "Line"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path.name} has no lines of Slicer: {error}.", remedy) from error
    if not lines:
        raise UserError(f"{path.name} has no line.", remedy)
    return lines


def _line(markup: dict[str, Any]) -> ScrewLine:
    """Return a line in LPS.

    Raises:
        ValueError: If it does not have two defined points, or unknown coordinates.
    """
    system = markup.get("coordinateSystem", "LPS")
    if system not in ("LPS", "RAS"):
        raise ValueError(f"coordinates in {system}")
    points = [p for p in markup["controlPoints"] if p.get("positionStatus", "defined") == "defined"]
    if len(points) != 2:
        raise ValueError(f"a line with {len(points)} points")
    sign = 1.0 if system == "LPS" else -1.0
    entry, tip = (_position(point["position"], sign) for point in points)
    label = str(points[0].get("label", ""))
    name = str(markup.get("name") or label.removesuffix(" entry"))
    return ScrewLine(name, entry, tip, diameter_in(str(points[0].get("description", ""))))


def _position(values: Any, sign: float) -> Vector:
    numbers = [float(v) for v in values]
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"a point at {values}")
    return sign * numbers[0], sign * numbers[1], numbers[2]
