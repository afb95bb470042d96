"""Outlines of vertebrae as points on their surfaces, to compare two scans of a patient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.imaging.masks import boxes_of
from spinemamba.imaging.volume import Geometry, Volume

LEVELS = {value: label.name for value, label in BY_VALUE.items() if label.name != "Coccyx"}
"""Levels by label value that are compared."""

_MOST_CUT = 0.05
"""Greatest share of the surface at the border of the image of a vertebra that counts as whole: the
tips of processes may be missing."""

_MOST_POINTS = 4000
"""Number of points kept; about one per 2 mm2 of a lumbar vertebra."""

_LEAST_POINTS = 60
"""An outline with fewer points is a speck."""


@dataclass(frozen=True)
class Outline:
    """Surface of a vertebra.

    Attributes:
        number: Number of the vertebra, or label value.
        level: Its level; None if that is to be found.
        points_lps_mm: Points on its surface in random order, (n, 3), without those at the border of
            the image.
        centre_lps_mm: Centroid of its voxels, (3,).
        is_whole: Whether the image shows all of it.
        certainty: Probability of its level.
    """

    number: int
    level: str | None
    points_lps_mm: np.ndarray
    centre_lps_mm: np.ndarray
    is_whole: bool
    certainty: float = 1.0


@dataclass(frozen=True)
class OtherScan:
    """The named vertebrae of another scan.

    Attributes:
        source: Name of its file or segmentation, for messages.
        outlines: Vertebrae from head to tail.
        in_doubt: Whether its own levels are in doubt.
        frame: As in `imaging.volume.Volume`.
    """

    source: str
    outlines: tuple[Outline, ...]
    in_doubt: bool = False
    frame: str | None = None


def outline_of(
    mask: np.ndarray,
    first_zyx: tuple[int, int, int],
    geometry: Geometry,
    number: int,
    level: str | None = None,
) -> Outline | None:
    """Return the outline of a mask; None if it is only a speck.

    Args:
        mask: Voxels, bool (z, y, x), a part of the image.
        first_zyx: Index of the first voxel of ``mask`` in the image.
        geometry: Grid of the image.
        number: Number of the vertebra.
        level: Its level, if known.
    """
    inner, border = _faces(mask, np.asarray(first_zyx), np.asarray(geometry.shape))
    if len(inner) < _LEAST_POINTS:
        return None
    kept = np.random.default_rng(0).permutation(len(inner))[:_MOST_POINTS]
    return Outline(
        number=number,
        level=level,
        points_lps_mm=geometry.to_lps_mm(inner[kept]),
        centre_lps_mm=geometry.to_lps_mm(np.argwhere(mask).mean(axis=0) + first_zyx),
        is_whole=border <= _MOST_CUT * (border + len(inner)),
    )


def _faces(mask: np.ndarray, first: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the centres of the faces of a mask, (n, 3), and the number of those at the border.

    Indices are those of the image, z, y, x.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    inner, border = [], 0
    for axis in range(3):
        # The face after padded voxel k lies half a voxel before voxel k of the mask.
        centres = np.argwhere(np.diff(padded, axis=axis)) + first - 1.0
        centres[:, axis] += 0.5
        outer = (centres[:, axis] < 0) | (centres[:, axis] > shape[axis] - 1)
        inner.append(centres[~outer])
        border += int(outer.sum())
    return np.concatenate(inner), border


def outlines_of(labels: Volume, levels: Mapping[int, str | None]) -> tuple[Outline, ...]:
    """Return the outlines of a label map, from head to tail.

    Args:
        labels: Label values, or numbers of instances.
        levels: Level by label value, None if it is to be found; other values are skipped.
    """
    found = sorted(_outlines(labels, levels), key=lambda outline: -outline.centre_lps_mm[2])
    return tuple(found)


def _outlines(labels: Volume, levels: Mapping[int, str | None]) -> Iterator[Outline]:
    for value, box in boxes_of(labels.array).items():
        if value not in levels:
            continue
        first = tuple(part.start for part in box)
        mask = labels.array[box] == value
        outline = outline_of(mask, first, labels.geometry, value, levels[value])
        if outline is not None:
            yield outline
