"""STL files as ADMesh reads them: the Debian package `admesh`."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

_FAULTS = (
    "Total disconnected facets",
    "Degenerate facets",
    "Edges fixed",
    "Facets removed",
    "Facets added",
    "Facets reversed",
    "Backwards edges",
    "Normals fixed",
)


@dataclass(frozen=True)
class Solid:
    """What ADMesh finds in a file.

    Attributes:
        faults: Kinds of faults with their number: open edges, flipped facets, wrong normals ...
        pieces: Number of connected surfaces; walls of cavities count, too.
        volume: In cubic units of the file; negative if facets point inwards.
        low: Smallest coordinates, (3,).
        high: Largest coordinates, (3,).
    """

    faults: dict[str, int]
    pieces: int
    volume: float
    low: np.ndarray
    high: np.ndarray


def solid_by_admesh(path: Path) -> Solid:
    """Return what ADMesh finds in an STL file; skip where it is missing."""
    if shutil.which("admesh") is None:
        pytest.skip("admesh is not installed")
    # Edges must match exactly; nothing is repaired by moving points.
    words = ["admesh", "--exact", "--normal-directions", "--normal-values", str(path)]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    counts = {name: int(_after(text, name)) for name in _FAULTS}
    ends = [[float(_after(text, f"{end} {axis}")) for axis in "XYZ"] for end in ("Min", "Max")]
    return Solid(
        {name: count for name, count in counts.items() if count},
        int(_after(text, "Number of parts")),
        float(_after(text, "Volume")),
        *np.array(ends),
    )


def _after(text: str, name: str) -> str:
    """Return the first number after a name; later columns tell the state after repairs."""
    found = re.search(rf"{name}\s*[:=]\s*(-?[\d.]+)", text)
    assert found, f"ADMesh prints no {name!r}:\n{text}"
    return found[1]
