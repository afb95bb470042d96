"""An analytic spine with a scoliosis and a lordosis, and edits of its labels and header."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.cli.main import main
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.measure.given import Given
from spinemamba.measure.spine import measure
from spinemamba.protocol.measurements import Measurements

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))
from analytic_spine import AnalyticVertebra, draw, stack

NAMES = ("T12", "L1", "L2", "L3", "L4", "L5")
SPACING_MM = (2.0, 2.0, 2.0)
TILTS = np.stack([np.linspace(16, -16, 6), np.linspace(24, -26, 6)], axis=1)
"""Coronal and sagittal: a scoliosis of 32 degrees, and a lordosis."""

measure_values = partial(measure, given=Given(draws=0))
"""`measure` without uncertainties, which take most of its time."""

SMALL = Geometry((12, 8, 8), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))


@cache
def vertebrae() -> list[AnalyticVertebra]:
    """Return the vertebrae; L4 lies 5 mm behind L3."""
    return stack(NAMES, TILTS, 9.0, [0, 0, 0, 0, 5, 0], size=(36.0, 28.0, 22.0))


@cache
def upright() -> Volume:
    """Return their labels under a correct header."""
    return draw(vertebrae(), SPACING_MM, np.eye(3))


@cache
def two_levels() -> Volume:
    """Return the labels of L4 and L5 only, which are faster to measure."""
    return renamed(upright(), dict.fromkeys(NAMES[:4]))


@cache
def reference() -> Measurements:
    """Return the measurements of the upright spine."""
    return measure_values(upright())


def turned(labels: Volume, matrix: np.ndarray) -> Volume:
    """Return the same voxels under a rotated or mirrored header."""
    place = labels.geometry
    origin = tuple(map(float, matrix @ np.asarray(place.origin_lps_mm)))
    direction = matrix @ np.asarray(place.direction_lps)
    return replace(labels, geometry=replace(place, origin_lps_mm=origin, direction_lps=direction))


def flipped(volume: Volume, axes: tuple[int, ...]) -> Volume:
    """Return the same volume with some array axes stored in reverse."""
    place = volume.geometry
    corner = [n - 1 if k in axes else 0 for k, n in enumerate(place.shape)]
    signs = np.array([-1.0 if 2 - k in axes else 1.0 for k in range(3)])
    geometry = replace(
        place,
        origin_lps_mm=tuple(map(float, place.to_lps_mm(corner))),
        direction_lps=np.asarray(place.direction_lps) * signs,
    )
    return Volume(np.ascontiguousarray(np.flip(volume.array, axes)), geometry)


def renamed(labels: Volume, names: dict[str, str | None]) -> Volume:
    """Return labels with renamed levels; None removes a level."""
    array = labels.array.copy()
    for old, new in names.items():
        array[labels.array == BY_NAME[old].value] = BY_NAME[new].value if new else 0
    return labels.with_array(array)


def values(measured: Measurements, kind: str, name: str) -> dict[str, float | None]:
    """Return the values of one measured item."""
    return next(item.values for item in measured.of(kind) if item.name == name)


def run_command(command: list[str], capsys) -> tuple[int, str, str]:
    """Run a command; return its exit code, its output, and its errors without progress lines."""
    code = main(command)
    said = capsys.readouterr()
    errors = [line for line in said.err.splitlines() if "measuring" not in line]
    return code, said.out, "\n".join(errors)


def one_block(*, empty: bool = False) -> Volume:
    """Return a small label image with a block of L2, or an empty one."""
    array = np.zeros(SMALL.shape, np.uint8)
    if not empty:
        array[2:5, 2:6, 2:6] = BY_NAME["L2"].value
    return Volume(array, SMALL)
