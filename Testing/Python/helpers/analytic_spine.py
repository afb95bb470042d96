"""A spine of known geometry: analytic vertebrae with plane endplates, on any grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.imaging.volume import Geometry, Volume

PLACES = (-0.7, 0.0, 0.7)
"""Anterior, middle, posterior: shares of the half depth, 15, 50 and 85 % of the depth."""


@dataclass(frozen=True)
class AnalyticVertebra:
    """A vertebra: a body between two planes, pedicles, laminae and a spinous process.

    Attributes:
        name: Level.
        centre: Middle of the body, LPS mm.
        axes: Rows: left, posterior, up.
        size: Width, depth and middle height of the body, mm.
        wedge_deg: Wedge angles: lower in front, and lower on the left, degrees.
        canal: Width and depth of the canal, mm.
        rounded: Whether the canal is an ellipse, as in the thoracic spine, or a rectangle.
    """

    name: str
    centre: np.ndarray
    axes: np.ndarray
    size: tuple[float, float, float] = (42.0, 32.0, 26.0)
    wedge_deg: tuple[float, float] = (0.0, 0.0)
    canal: tuple[float, float] = (22.0, 16.0)
    rounded: bool = False

    def normal(self, sign: int) -> np.ndarray:
        """Return the normal of the upper (1) or lower (-1) endplate, towards the head, in LPS."""
        sagittal, coronal = np.radians(self.wedge_deg) / 2 * sign
        local = np.array([-np.tan(coronal), np.tan(sagittal), 1.0])
        return local / np.linalg.norm(local) @ self.axes

    def middle(self, sign: int) -> np.ndarray:
        """Return the middle of an endplate, LPS."""
        return self.centre + sign * self.size[2] / 2 * self.axes[2]

    def on_plate(self, sign: int, left: float, posterior: float) -> np.ndarray:
        """Return the point of an endplate at an offset to the left and to the back in mm, LPS."""
        start = self.middle(sign) + left * self.axes[0] + posterior * self.axes[1]
        normal = self.normal(sign)
        return start - (start - self.middle(sign)) @ normal / (self.axes[2] @ normal) * self.axes[2]

    def heights(self) -> list[float]:
        """Return the anterior, middle and posterior height on the midline, along the axis up."""
        places = [share * self.size[1] / 2 for share in PLACES]
        return [(self.on_plate(1, 0, y) - self.on_plate(-1, 0, y)) @ self.axes[2] for y in places]

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return which points (..., 3) in LPS are in the vertebra."""
        # A column for each axis: numpy is slow along the last of (..., 3).
        x, y, z = (points @ axis - self.centre @ axis for axis in self.axes)
        width, depth, height = self.size
        between = (points - self.middle(1)) @ self.normal(1) <= 0
        between &= (points - self.middle(-1)) @ self.normal(-1) >= 0
        # Products: numpy's third power takes ten times as long.
        a, b = np.abs(x / (width / 2)), np.abs(y / (depth / 2))
        body = between & (a * a * a + b * b * b <= 1) & (b <= 1)
        back, (wide, deep) = y - depth / 2, self.canal
        high = np.abs(z - 0.1 * height) <= 0.25 * height
        sides = high & (np.abs(np.abs(x) - wide / 2 - 4) <= 4) & (back >= -6) & (back <= deep + 4)
        laminae = high & (np.abs(x) <= wide / 2 + 8) & (np.abs(back - deep - 3) <= 3)
        if self.rounded:
            filled = high & (np.abs(x) <= wide / 2 + 8) & (back >= -6) & (back <= deep + 6)
            sides |= filled & ((x / (wide / 2)) ** 2 + (2 * back / deep - 1) ** 2 >= 1)
        low = np.abs(z + 0.15 * (back - deep)) <= 6
        spinous = low & (np.abs(x) <= 4) & (back >= deep) & (back <= deep + 28)
        transverse = (
            (np.abs(z) <= 5)
            & (np.abs(back - 5) <= 5)
            & (np.abs(x) <= 38)
            & (np.abs(x) >= wide / 2 + 4)
        )
        return body | sides | laminae | spinous | transverse


def rotation(degrees_lps: tuple[float, float, float]) -> np.ndarray:
    """Return axes (rows left, posterior, up) turned about the axes left, posterior and up."""
    a, b, c = np.radians(degrees_lps)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return (about_z @ about_y @ about_x).T


def tilted(coronal_deg: float, sagittal_deg: float) -> np.ndarray:
    """Return axes whose axis up has these angles to the head in the coronal and sagittal plane."""
    up = np.array([np.tan(np.radians(coronal_deg)), np.tan(np.radians(sagittal_deg)), 1.0])
    up /= np.linalg.norm(up)
    posterior = np.array([0.0, 1.0, 0.0])
    posterior -= posterior @ up * up
    posterior /= np.linalg.norm(posterior)
    return np.array([np.cross(posterior, up), posterior, up])


def stack(
    names: Sequence[str],
    tilts_deg: np.ndarray,
    disc_mm: float = 9.0,
    slips_mm: Sequence[float] | None = None,
    **shape: Any,
) -> list[AnalyticVertebra]:
    """Return vertebrae one below the other.

    Args:
        names: From head to tail.
        tilts_deg: Coronal and sagittal angle of each, (n, 2).
        disc_mm: Between the middles of facing endplates, along the mean of the axes.
        slips_mm: Posterior offset of each from its position below the one above.
        shape: Further fields of every vertebra.
    """
    made: list[AnalyticVertebra] = []
    for k, (name, (coronal, sagittal)) in enumerate(zip(names, tilts_deg, strict=True)):
        axes = tilted(coronal, sagittal)
        one = AnalyticVertebra(name, np.zeros(3), axes, **shape)
        if made:
            last = made[-1]
            mean = last.axes[2] + axes[2]
            mean /= np.linalg.norm(mean)
            top = last.middle(-1) - disc_mm * mean
            top = top + (slips_mm[k] if slips_mm else 0.0) * axes[1]
            one = AnalyticVertebra(name, top - one.size[2] / 2 * axes[2], axes, **shape)
        made.append(one)
    return made


def random_stack(seed: int) -> tuple[list[AnalyticVertebra], np.ndarray]:
    """Return vertebrae with curves of 5 to 60 degrees and slips, and the directions of a grid.

    Bodies are as small as a child's or as large as a tall man's, and wedged up to 8 degrees.
    """
    rng = np.random.default_rng(seed)
    names = ("T10", "T11", "T12", "L1", "L2", "L3")
    bends = rng.uniform(5, 60, 2) * rng.choice([-1, 1], 2)
    tilts = np.linspace(0.5, -0.5, len(names))[:, None] * bends
    slips = [0.0, *rng.uniform(-10, 10, len(names) - 1)]
    wedge = (rng.uniform(-8, 8), rng.uniform(-5, 5))
    size = np.array([36.0, 28.0, 22.0]) * rng.uniform(0.85, 1.3)
    vertebrae = stack(names, tilts, 10.0, slips, wedge_deg=wedge, size=tuple(map(float, size)))
    return vertebrae, Rotation.random(random_state=seed).as_matrix()


def random_spacing_mm(seed: int, kind: str) -> tuple[float, float, float]:
    """Return the distances of voxels along z, y, x in mm.

    Args:
        seed: Of the random numbers.
        kind: "coarse" (3 mm in all directions), "mixed" (0.6 to 3 mm in each) or "clinical"
            (slices of 1 to 3 mm, pixels of 0.6 to 1.2 mm).
    """
    rng = np.random.default_rng(seed)
    if kind == "coarse":
        return 3.0, 3.0, 3.0
    if kind == "mixed":
        return tuple(rng.uniform(0.6, 3, 3))
    return (rng.uniform(1, 3), *rng.uniform(0.6, 1.2, 2))


def slip_mm(upper: AnalyticVertebra, lower: AnalyticVertebra) -> float:
    """Return the anterior slip of the upper body, between the corners of the posterior walls."""
    above, below = (v.on_plate(s, 0, v.size[1] / 2) for v, s in ((upper, -1), (lower, 1)))
    normal, back = lower.normal(1), lower.axes[1]
    along = back - back @ normal * normal
    return float((below - above) @ along / np.linalg.norm(along))


def angle_deg(upper: np.ndarray, lower: np.ndarray, axis: int) -> float:
    """Return the angle between two normals seen along x (axis 1) or y (axis 0) of LPS."""
    first, second = (math.degrees(math.atan2(n[axis], n[2])) for n in (upper, lower))
    return first - second


def draw(
    vertebrae: list[AnalyticVertebra], spacing_mm: tuple[float, float, float], direction: np.ndarray
) -> Volume:
    """Return labels on a grid around the vertebrae.

    Args:
        vertebrae: Where two overlap, the first keeps its voxels.
        spacing_mm: Along z, y, x.
        direction: Columns are the directions of the x, y, z index axes in LPS.
    """
    around = np.array([(x, y, z) for x in (-45, 45) for y in (-25, 70) for z in (-35, 35)])
    corners = np.concatenate([vertebra.centre + around @ vertebra.axes for vertebra in vertebrae])
    along = corners @ direction
    low, high = along.min(axis=0), along.max(axis=0)
    spacing = np.asarray(spacing_mm)
    shape = tuple(int(n) for n in np.ceil((high - low)[::-1] / spacing) + 1)
    geometry = Geometry(shape, spacing_mm, tuple(direction @ low), direction)
    labels = np.zeros(shape, np.uint8)
    for vertebra in vertebrae:
        index = geometry.to_index_zyx(vertebra.centre + around @ vertebra.axes)
        first = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
        last = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, shape)
        box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
        grid = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), -1)
        inside = vertebra.contains(geometry.to_lps_mm(grid)) & (labels[box] == 0)
        labels[box][inside] = BY_NAME[vertebra.name].value
    return Volume(labels, geometry)
