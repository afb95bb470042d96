"""A vertebra with pedicles of known axis, width and height, on any grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from analytic_spine import rotation
from scipy.spatial.transform import Rotation

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.imaging.volume import Geometry, Volume

_WAIST_MM = 7.0
"""Distance from the isthmus at which a pedicle is 1.4 times as wide."""

_BEFORE_MM, _BEHIND_MM = 14.0, 9.0
"""Length of the tube in front of and behind the isthmus."""


@dataclass(frozen=True)
class PedicleShape:
    """A pedicle: a tube with a waist, elliptical across its axis.

    Attributes:
        isthmus: Middle of the waist in the frame of the vertebra, mm.
        forward: Unit vector of the axis towards the front, in that frame.
        width_mm: Across, in the transverse plane.
        height_mm: Across, in the plane up.
    """

    isthmus: np.ndarray
    forward: np.ndarray
    width_mm: float
    height_mm: float

    def offsets(self, local: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the coordinates of points along the axis, to the left and up, mm."""
        left = np.cross([0.0, 0.0, 1.0], -self.forward)
        left /= np.linalg.norm(left)
        up = np.cross(-self.forward, left) * -1
        up = up if up[2] > 0 else -up
        offset = local - self.isthmus
        return offset @ self.forward, offset @ left, offset @ up

    def contains(self, local: np.ndarray) -> np.ndarray:
        """Return which points are in the tube."""
        s, u, v = self.offsets(local)
        wider = 1 + (s / _WAIST_MM) ** 2
        across = (2 * u / self.width_mm) ** 2 + (2 * v / self.height_mm) ** 2
        return (across <= wider) & (s <= _BEFORE_MM) & (s >= -_BEHIND_MM)


@dataclass(frozen=True)
class PedicleVertebra:
    """A lumbar vertebra around two known pedicles.

    Attributes:
        centre: Middle of the body, LPS mm.
        axes: Rows: left, posterior, up.
        size: Width, depth and height of the body, mm.
        canal: Width and depth of the canal, mm.
        pedicles: Left and right one.
    """

    centre: np.ndarray
    axes: np.ndarray
    size: tuple[float, float, float]
    canal: tuple[float, float]
    pedicles: tuple[PedicleShape, PedicleShape]

    def in_canal(self, local: np.ndarray, margin_mm: float = 0.0) -> np.ndarray:
        """Return which local points are in the canal, or nearer to it than a margin."""
        wide, deep = (0.5 * size + margin_mm for size in self.canal)
        middle = self.size[1] / 2 + self.canal[1] / 2
        x, y = local[..., 0], local[..., 1] - middle
        return (x / wide) ** 2 + (y / deep) ** 2 < 1

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return which points (..., 3) in LPS are in the vertebra."""
        local = (points - self.centre) @ self.axes.T
        x, y, z = np.moveaxis(local, -1, 0)
        width, depth, height = self.size
        a, b = np.abs(2 * x / width), np.abs(2 * y / depth)
        bone = (a**3 + b**3 <= 1) & (np.abs(z) <= height / 2)
        back = y - depth / 2
        for pedicle in self.pedicles:
            bone |= pedicle.contains(local)
            mass = pedicle.isthmus - 13.0 * pedicle.forward
            sizes = np.array([7.0, 7.0, 13.0])
            bone |= ((((local - mass) / sizes) ** 2).sum(axis=-1)) <= 1
        deep = self.canal[1]
        wide = max(abs(p.isthmus[0]) + 6 for p in self.pedicles)
        arch = (
            (back >= 0.45 * deep) & (back <= deep + 6) & (np.abs(z + 5) <= 9) & (np.abs(x) < wide)
        )
        spinous = (np.abs(x) <= 4) & (back >= deep) & (back <= deep + 26) & (np.abs(z + 7) <= 8)
        free = ~self.in_canal(local)
        return bone | (arch & free) | (spinous & free)

    def axis_lps(self, side: int) -> np.ndarray:
        """Return the forward axis of the left (0) or right (1) pedicle in LPS."""
        return self.pedicles[side].forward @ self.axes


def random_vertebra(seed: int) -> PedicleVertebra:
    """Return a vertebra with random pedicles, turned by up to 25 degrees."""
    rng = np.random.default_rng(seed)
    size = (rng.uniform(36, 46), rng.uniform(28, 34), rng.uniform(22, 28))
    canal = (rng.uniform(19, 25), rng.uniform(14, 18))
    vertebra = PedicleVertebra(
        rng.uniform(-1, 1, 3), rotation(tuple(rng.uniform(-25, 25, 3))), size, canal, ()
    )
    pedicles = tuple(_random_pedicle(vertebra, side, rng) for side in (1.0, -1.0))
    return replace(vertebra, pedicles=pedicles)


def _random_pedicle(
    vertebra: PedicleVertebra, side: float, rng: np.random.Generator
) -> PedicleShape:
    """Return a pedicle as near to the canal as it can be without entering it."""
    inward, up = np.radians([rng.uniform(0, 28), rng.uniform(-15, 15)])
    forward = np.array(
        [-side * np.sin(inward) * np.cos(up), -np.cos(inward) * np.cos(up), np.sin(up)]
    )
    width = rng.uniform(4.5, 13)
    height = width * rng.uniform(1.0, 1.6) if width > 8 else rng.uniform(9, 14)
    height = min(height, 0.62 * vertebra.size[2])
    width = min(width, height)
    isthmus = np.array([0.0, vertebra.size[1] / 2 + 3.5, 0.15 * vertebra.size[2]])
    grid = np.stack(np.meshgrid(*[np.linspace(-16, 16, 33)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for x in np.arange(8.0, 26.0, 0.25):
        pedicle = PedicleShape(isthmus + np.array([side * x, 0, 0]), forward, width, height)
        points = grid + pedicle.isthmus
        if not (vertebra.in_canal(points, 0.5) & pedicle.contains(points)).any():
            return pedicle
    raise AssertionError("the pedicle does not fit beside the canal")


def random_grid(seed: int) -> tuple[tuple[float, float, float], np.ndarray]:
    """Return voxel distances as in clinical scans (z, y, x, mm) and directions of the axes."""
    rng = np.random.default_rng(seed)
    spacing = (rng.uniform(0.8, 3.0), rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0))
    return spacing, Rotation.random(random_state=seed).as_matrix()


def draw_vertebra(
    vertebra: PedicleVertebra,
    spacing_mm: tuple[float, float, float],
    direction: np.ndarray,
    name: str = "L3",
) -> Volume:
    """Return labels on a grid around a vertebra."""
    around = np.array([(x, y, z) for x in (-38, 38) for y in (-28, 66) for z in (-30, 30)])
    corners = vertebra.centre + around @ vertebra.axes
    along = corners @ direction
    low, high = along.min(axis=0), along.max(axis=0)
    shape = tuple(int(n) for n in np.ceil((high - low)[::-1] / np.asarray(spacing_mm)) + 1)
    geometry = Geometry(shape, spacing_mm, tuple(map(float, direction @ low)), direction)
    labels = np.zeros(shape, np.uint8)
    for z in range(shape[0]):
        index = np.stack(
            np.meshgrid([z], np.arange(shape[1]), np.arange(shape[2]), indexing="ij"), -1
        )
        labels[z] = vertebra.contains(geometry.to_lps_mm(index))[0] * BY_NAME[name].value
    return Volume(labels, geometry)
