"""Errors of measurements on analytic spines, and their lower bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from analytic_spine import (
    AnalyticVertebra,
    angle_deg,
    draw,
    random_spacing_mm,
    random_stack,
    slip_mm,
)
from voxel_limits import cobb_limit_deg, height_limit_mm, slip_limit_mm

from spinemamba.imaging.volume import Geometry
from spinemamba.measure.given import Given
from spinemamba.measure.spine import measure
from spinemamba.measure.walls import BAND
from spinemamba.protocol.measurements import Measurements

BARS = {"height mm": 0.5, "slip mm": 0.5, "Cobb deg": 1.0}
"""Largest allowed error of each measurement."""

HEIGHTS = ("anterior_height_mm", "middle_height_mm", "posterior_height_mm")


@dataclass(frozen=True)
class Error:
    """Error of one measurement.

    Attributes:
        what: One of `BARS`.
        off: Measured minus true.
        limit: Computes the lower bound of the error, see `voxel_limits`.
    """

    what: str
    off: float
    limit: Callable[[], float]

    @property
    def bar(self) -> float:
        """Largest allowed error."""
        return BARS[self.what]


def errors_of(seed: int, kind: str) -> Iterator[Error]:
    """Yield the errors of one spine."""
    vertebrae, direction = random_stack(seed)
    labels = draw(vertebrae, random_spacing_mm(seed, kind), direction)
    measured = measure(labels, given=Given(draws=0))
    found = {item.name: item.values for item in (*measured.of("vertebra"), *measured.of("disc"))}
    for vertebra in vertebrae:
        for place, (key, true) in enumerate(zip(HEIGHTS, vertebra.heights(), strict=True)):
            limit = partial(height_limit_mm, vertebra, place, labels.geometry)
            yield Error("height mm", found[vertebra.name][key] - true, limit)
    for upper, lower in pairwise(vertebrae):
        limit = partial(slip_limit_mm, upper, lower, BAND, labels.geometry)
        slip = found[f"{upper.name}-{lower.name}"]["slip_mm"]
        yield Error("slip mm", slip - slip_mm(upper, lower), limit)
    yield from _cobb_errors(vertebrae, measured, labels.geometry)


def _cobb_errors(
    vertebrae: list[AnalyticVertebra], measured: Measurements, grid: Geometry
) -> Iterator[Error]:
    """Yield the errors of the curves that are large enough to be reported."""
    for axis, view in enumerate(("coronal", "sagittal")):
        angles = {
            (upper, lower): angle_deg(upper_one.normal(1), lower_one.normal(-1), axis)
            for upper, upper_one in enumerate(vertebrae)
            for lower, lower_one in enumerate(vertebrae)
            if lower >= upper + 2
        }
        ends = max(angles, key=lambda pair: abs(angles[pair]))
        found = [item for item in measured.of("curve") if item.view == view]
        if not found:
            continue
        off = abs(found[0].values["cobb_deg"]) - abs(angles[ends])
        limit = partial(cobb_limit_deg, *(vertebrae[k] for k in ends), axis, grid)
        yield Error("Cobb deg", off, limit)
