"""The dens and the superior articular processes of C2."""

from __future__ import annotations

import numpy as np

from spinemamba.anatomy.parts import DENS, SUPERIOR

_BIN_MM = 1.0
_TIP_MM, _NECK_MM = 3.0, 9.0
"""Range below the tip in which the width of the dens is measured."""

_WIDER = 1.5
"""Where the bone is this much wider than the dens, the body begins."""

_THICK_MM = 5.0
"""Thickness of the superior articular processes, from their upper surface."""

_BEHIND_MM = 6.0
"""How far the superior articular processes may reach behind the posterior wall."""


def add_dens(values: np.ndarray, places_mm: np.ndarray, wall_mm: float) -> None:
    """Divide the dens and the superior articular processes from the body of C2, in place.

    Args:
        values: Parts of the voxels, (n,).
        places_mm: Voxels in the frame of the body, (n, 3).
        wall_mm: Y of its posterior wall.

    Raises:
        ValueError: If no dens stands out; the message is the reason.
    """
    ahead = places_mm[:, 1] < wall_mm + _BEHIND_MM
    base, half_width = _base(places_mm[ahead])
    x, z = places_mm[:, 0], places_mm[:, 2]
    dens = ahead & (z >= base) & (np.abs(x) <= half_width + _BIN_MM)
    values[dens] = DENS.value
    beside = ahead & ~dens & (np.abs(x) > half_width) & (z > 0)
    rows = np.flatnonzero(beside)
    chosen = rows[_upper_shell(places_mm[rows])]
    side = [part.value for part in SUPERIOR]
    values[chosen] = np.where(x[chosen] >= 0, *side)


def _base(places_mm: np.ndarray) -> tuple[float, float]:
    """Return Z of the base of the dens, and its half width.

    Raises:
        ValueError: If no dens stands out.
    """
    top = float(places_mm[:, 2].max())
    index = ((top - places_mm[:, 2]) / _BIN_MM).astype(int)
    widest = np.zeros(index.max() + 1)
    np.maximum.at(widest, index, np.abs(places_mm[:, 0]))
    first, last = int(_TIP_MM / _BIN_MM), int(_NECK_MM / _BIN_MM)
    if len(widest) <= last:
        raise ValueError("no dens is recognisable")
    half = float(np.median(widest[first:last]))
    wider = np.flatnonzero(widest[first:] > _WIDER * half)
    if not len(wider) or first + wider[0] < last:
        raise ValueError("no dens is recognisable")
    return top - (first + int(wider[0])) * _BIN_MM, half


def _upper_shell(places_mm: np.ndarray) -> np.ndarray:
    """Return which voxels lie at the top of their column, (n,) bool."""
    if not len(places_mm):
        return np.zeros(0, bool)
    cells = np.floor(places_mm[:, :2] / (2 * _BIN_MM)).astype(int)
    cells -= cells.min(axis=0)
    column = cells[:, 0] * (cells[:, 1].max() + 1) + cells[:, 1]
    top = np.full(int(column.max()) + 1, -np.inf)
    np.maximum.at(top, column, places_mm[:, 2])
    return top[column] - places_mm[:, 2] < _THICK_MM
