"""Cores and bone off the curve of the spine: pieces of organs that look like vertebrae.

A wide field of view shows organs whose signal in MR is that of marrow. A core there is off the
smooth curve of the others, or far beyond their end; bone there is further from the curve than any
part of a vertebra.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from spinemamba.instances.spine_coordinate import core_centroids, spine_curve

_LEAST_CORES = 4
"""Fewer cores do not define a curve from which one of them may deviate."""


@dataclass(frozen=True)
class OffSpineOptions:
    """Thresholds, each with its reason.

    Attributes:
        end_mm: Greatest distance of the first and the last core from the line that continues the
            others. In 113 scans of VerSe it is at most 16 mm.
        inner_mm: The same of other cores from the line between their neighbours. It is at most
            22 mm.
        side_mm: Greatest distance of bone to the left or right of the curve. The transverse
            processes of L3, the widest vertebra, are up to 100 mm wide.
        front_mm: Greatest distance of bone in front of the curve, which passes the middle of the
            bodies: a large body and an osteophyte.
        gap_steps: Greatest distance of the first and the last core from the next one, in median
            steps between cores: three vertebrae may be missed between them.
    """

    end_mm: float = 25.0
    inner_mm: float = 30.0
    gap_steps: float = 4.5
    side_mm: float = 55.0
    front_mm: float = 35.0


def cores_off_spine(
    centres_mm: np.ndarray, options: OffSpineOptions = OffSpineOptions()
) -> tuple[int, ...]:
    """Return the indices of the cores that are not on the curve of the others, ascending.

    The core that is the furthest off is taken out first, because its neighbours seem to be off the
    curve as well as long as it belongs to it.

    Args:
        centres_mm: Centres of the cores from head to tail along z, y, x, (n, 3).
        options: Thresholds.
    """
    left = list(range(len(centres_mm)))
    while len(left) >= _LEAST_CORES:
        excess = _excess(centres_mm[left], options)
        worst = int(excess.argmax())
        if excess[worst] <= 1:
            break
        del left[worst]
    return tuple(sorted(set(range(len(centres_mm))) - set(left)))


def _excess(centres_mm: np.ndarray, options: OffSpineOptions) -> np.ndarray:
    """Return the distance of each of at least four cores from the curve, as share of the limit."""
    chord = centres_mm[2:] - centres_mm[:-2]
    inner = _from_line(centres_mm[1:-1] - centres_mm[:-2], chord) / options.inner_mm
    steps_mm = np.linalg.norm(np.diff(centres_mm, axis=0), axis=1)
    limit_mm = options.gap_steps * np.median(steps_mm)
    ends = []
    for chain, step_mm in ((centres_mm[::-1], steps_mm[0]), (centres_mm, steps_mm[-1])):
        # Continued from three cores: half of their bend is repeated, as in `chain_ends`.
        last, before = chain[-2] - chain[-3], chain[-3] - chain[-4]
        off_mm = _from_line((chain[-1] - chain[-2])[None], (1.5 * last - 0.5 * before)[None])[0]
        ends.append(max(off_mm / options.end_mm, step_mm / limit_mm))
    return np.array([ends[0], *inner, ends[1]])


def _from_line(offsets_mm: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Return the distance of points from lines through the origin, (n,); both (n, 3)."""
    unit = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    forward = np.maximum((offsets_mm * unit).sum(axis=1, keepdims=True), 0)
    return np.linalg.norm(offsets_mm - forward * unit, axis=1)


def bone_of_cores(
    seeds: np.ndarray,
    numbers: tuple[int, ...],
    bone: np.ndarray,
    spacing_mm: tuple[float, float, float],
) -> np.ndarray:
    """Return the mask of the bone that is nearer to some cores than to all others, (z, y, x).

    Args:
        seeds: Cores, numbered from 1, 0 elsewhere, (z, y, x).
        numbers: Numbers of these cores.
        bone: Mask of bone, bool (z, y, x).
        spacing_mm: Voxel size along z, y, x.
    """
    nearest = ndimage.distance_transform_edt(
        seeds == 0, spacing_mm, return_distances=False, return_indices=True
    )
    return bone & np.isin(seeds[tuple(nearest)], numbers)


def bone_out_of_reach(
    seeds: np.ndarray,
    bone: np.ndarray,
    spacing_mm: tuple[float, float, float],
    options: OffSpineOptions = OffSpineOptions(),
) -> np.ndarray:
    """Return the mask of the bone that is too far from the spine to belong to a vertebra.

    Bone below the last vertebra may be the sacrum, which is wider, and is never out of reach.

    Args:
        seeds: Cores, numbered from 1 from head to tail, 0 elsewhere, (z, y, x).
        bone: Mask of bone, bool (z, y, x), canonical orientation.
        spacing_mm: Voxel size along z, y, x.
        options: Thresholds.
    """
    far, count, scale = np.zeros_like(bone), int(seeds.max()), np.asarray(spacing_mm)
    if count < 2:
        return far
    cores, index = np.argwhere(seeds > 0), np.argwhere(bone)
    curve = spine_curve(core_centroids(cores * scale, seeds[seeds > 0], count))
    nearest = cKDTree(curve.points_mm).query(index * scale)[1]
    offset_mm = index * scale - curve.points_mm[nearest]
    out = (np.abs(offset_mm[:, 2]) > options.side_mm) | (offset_mm[:, 1] < -options.front_mm)
    far[tuple(index[out & (curve.coordinate[nearest] < count + 0.5)].T)] = True
    return far
