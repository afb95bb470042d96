"""What the user knows about a case, besides labels and image."""

from __future__ import annotations

from dataclasses import dataclass

from spinemamba.measure.calibration import Calibration
from spinemamba.protocol.measurements import Vector


@dataclass(frozen=True)
class Given:
    """Facts that the labels do not contain.

    Attributes:
        calibration: Line from Hounsfield units to densities; None without one.
        hips_lps_mm: Centres of the femoral heads, in any order; empty if unknown.
        flagged: Levels whose shape has quality flags; their uncertainties are larger.
        draws: Number of perturbed copies of each vertebra for the uncertainties; 0 for values
            without uncertainties, which takes a fifth of the time.
    """

    calibration: Calibration | None = None
    hips_lps_mm: tuple[Vector, ...] = ()
    flagged: frozenset[str] = frozenset()
    draws: int = 5


NOTHING = Given()
"""No further facts."""
