"""Boundary network: refines the boundary between two neighbouring vertebrae.

A cut surface of mean shape (`cut_surfaces`) gives the initial boundary. The exact boundary shows in
the shape of the bone: a waist, a notch, or the edge of a facet. A small MLP with two hidden layers
classifies each voxel as part of the upper or the lower vertebra. Its features are the position of
the voxel in the frame of the two cores, and the signed depth of bone at sample points around it.
Distances are relative to the distance of the cores, so that the same network serves the cervical
and the lumbar spine. The lateral axis points outwards on both sides, so that the result is
symmetric.

Testing/Fitting/fit_boundary_net.py trains it on label maps. They are listed there and in
weights/LICENSE.md, and exclude all test cases.
"""

from __future__ import annotations

import functools
import itertools
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from scipy import ndimage

from spinemamba.instances.cut_surfaces import Frame
from spinemamba.instances.logistic_regression import probability

# The constants below are part of the trained network. To change one, train it again.

WEIGHTS = Path(__file__).parents[1] / "weights" / "boundary_net.safetensors"

_NEAR, _FAR = (-0.35, -0.2, -0.1, 0.0, 0.1, 0.2, 0.35), (-0.7, -0.5, 0.5, 0.7)
_SIDEWAYS, _FAR_BACK = (-0.18, 0.0, 0.18), (-0.3, 0.0, 0.3)
SAMPLE_OFFSETS = np.array(
    [*itertools.product(_NEAR, _SIDEWAYS, _SIDEWAYS), *itertools.product(_FAR, _FAR_BACK, (0.0,))],
    np.float32,
)
"""Sample points around a voxel: down, back and outwards, in units of the core distance, (75, 3)."""

_REFERENCE_STEP_MM = 30.0
"""Core distance to which sizes are relative: that of a lower thoracic vertebra."""

_DEPTH_LIMIT = 8.0
"""Limit of the signed depth in mm if the core distance is `_REFERENCE_STEP_MM`; scales with it."""

BASELINE_SLOPE = 8.0
"""Slope of the baseline to which the output of the MLP is added: logit per core distance from the
fitted surface."""

UNCERTAIN_RANGE = 1.0
"""The side of voxels further from the fitted surface is certain, in units of the core distance."""

PAIR_RANGE = 3.0
"""Voxels further from a pair along the spine are not evaluated, as a number of cores."""

FEATURES = 7 + len(SAMPLE_OFFSETS)

_CHUNK = 1 << 16
"""Number of voxels per batch of features."""


@dataclass(frozen=True)
class BoneDepth:
    """Signed depth of bone.

    Attributes:
        depth_mm: Distance to the border of the bone, negative outside, clipped, float32 (z, y, x).
        spacing_mm: Voxel size along z, y, x.
    """

    depth_mm: np.ndarray
    spacing_mm: tuple[float, float, float]

    def at_offsets(self, points_mm: np.ndarray, offsets_mm: np.ndarray) -> np.ndarray:
        """Return the depth at the voxels nearest to sample points, (points, offsets).

        Outside the array it is the depth at its border. Offsets are rounded to whole voxels once,
        so that the flat index of a sample is a sum of two integers.

        Args:
            points_mm: Centres of voxels, (points, 3).
            offsets_mm: Offsets of the sample points from each of them, (offsets, 3).
        """
        spacing = np.asarray(self.spacing_mm)
        steps = np.rint(offsets_mm / spacing).astype(np.int64)
        voxels = np.rint(points_mm / spacing).astype(np.int64)
        if not len(voxels):
            return np.zeros((0, len(steps)), np.float32)
        low = voxels.min(axis=0) + steps.min(axis=0)
        high = voxels.max(axis=0) + steps.max(axis=0) + 1
        rows = [
            np.clip(np.arange(a, b), 0, size - 1)
            for a, b, size in zip(low, high, self.depth_mm.shape, strict=True)
        ]
        box = self.depth_mm[np.ix_(*rows)]
        strides = np.array([box.shape[1] * box.shape[2], box.shape[2], 1])
        flat, flat_steps = (voxels - low) @ strides, steps @ strides
        return box.ravel()[flat[:, None] + flat_steps]


def depth_limit_mm(pairs: list[Frame]) -> float:
    """Return the largest limit of the depth that any of the pairs needs."""
    return _DEPTH_LIMIT * max(pair.step_mm for pair in pairs) / _REFERENCE_STEP_MM


def bone_depth(
    bone: np.ndarray,
    spacing_mm: tuple[float, float, float],
    reach_mm: float,
    slab_vox: int = 64,
) -> BoneDepth:
    """Return the signed depth of a mask.

    It is computed in slabs, because a spine fills little of its bounding box.

    Args:
        bone: Mask, bool (z, y, x).
        spacing_mm: Voxel size along z, y, x.
        reach_mm: The depth is clipped to plus or minus this.
        slab_vox: Number of slices of a slab. It does not change the result.
    """
    margins = [math.ceil(reach_mm / step) for step in spacing_mm]
    depth_mm = np.full(bone.shape, -reach_mm, np.float32)
    for start in range(0, len(bone), slab_vox):
        rows = slice(max(0, start - margins[0]), start + slab_vox + margins[0])
        for _, *inner in ndimage.find_objects(bone[rows].view(np.uint8)):
            box = [
                slice(max(0, s.start - margin), s.stop + margin)
                for s, margin in zip(inner, margins[1:], strict=True)
            ]
            part_mm = _depth_mm(bone[(rows, *box)], spacing_mm)
            slab_mm = part_mm[start - rows.start :][:slab_vox]
            np.clip(
                slab_mm, -reach_mm, reach_mm, out=depth_mm[(slice(start, start + slab_vox), *box)]
            )
    return BoneDepth(depth_mm, spacing_mm)


def _depth_mm(bone: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the signed distance to the border of a mask, negative outside; infinite if full."""
    if bone.all():
        return np.full(bone.shape, np.inf, np.float32)
    return _distance_mm(bone, spacing_mm) - _distance_mm(~bone, spacing_mm)


def _distance_mm(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the distance of each voxel to the nearest voxel outside the mask, float32."""
    # Float32 distances from the indices: scipy's own are float64 and take twice as long.
    nearest = ndimage.distance_transform_edt(
        mask, spacing_mm, return_distances=False, return_indices=True
    )
    squared = np.zeros(mask.shape, np.float32)
    grid = np.indices(mask.shape, np.int32, sparse=True)
    for target, index, step_mm in zip(nearest, grid, spacing_mm, strict=True):
        offset_mm = (target - index) * np.float32(step_mm)
        offset_mm *= offset_mm
        squared += offset_mm
    return np.sqrt(squared, out=squared)


@dataclass(frozen=True)
class NeighbourPair:
    """Two neighbouring cores and the current cut surface between them.

    Attributes:
        frame: Frame of their centres.
        mean: Coefficients of the mean cut surface, (7,).
        fitted: Coefficients of the cut surface fitted to this spine, (7,).
        position: Approximate index of the level of the upper core, C1 is 0.
    """

    frame: Frame
    mean: np.ndarray
    fitted: np.ndarray
    position: float

    def beyond(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the distances of points (n, 3) below the fitted surface, in core distances."""
        t, terms = self.frame.terms(points_mm)
        return t - terms @ self.fitted

    def features(self, points_mm: np.ndarray, depth: BoneDepth) -> np.ndarray:
        """Return the features of points (n, 3), float32 (n, `FEATURES`)."""
        frame, size = self.frame, self.frame.step_mm / _REFERENCE_STEP_MM
        t, terms = frame.terms(points_mm)
        offset = points_mm - frame.middle_mm
        b, s = offset @ frame.back / frame.step_mm, offset @ frame.side / frame.step_mm
        ones = np.ones(len(t))
        scalars = [t, t - terms @ self.mean, t - terms @ self.fitted, b, np.abs(s)]
        scalars += [ones * self.position / 24, ones * size]
        out = np.empty((len(t), FEATURES), np.float32)
        for column, values in enumerate(scalars):
            out[:, column] = values
        for sign, chosen in ((1.0, s >= 0), (-1.0, s < 0)):
            axes = np.stack([frame.down, frame.back, sign * frame.side]) * frame.step_mm
            out[chosen, len(scalars) :] = depth.at_offsets(points_mm[chosen], SAMPLE_OFFSETS @ axes)
        depths = out[:, len(scalars) :]
        depths *= np.float32(1 / (size * _DEPTH_LIMIT))
        np.clip(depths, -1, 1, out=depths)
        return out


@dataclass(frozen=True)
class BoundaryNet:
    """An MLP.

    Attributes:
        layers: Weight and bias of each layer.
    """

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    def logit(self, features: np.ndarray) -> np.ndarray:
        """Return the logit of belonging to the lower vertebra, (n,), from features."""
        values = features
        for weight, bias in self.layers[:-1]:
            values = values @ weight.T
            values += bias
            np.maximum(values, 0, out=values)
        weight, bias = self.layers[-1]
        return (values @ weight.T + bias)[:, 0] + BASELINE_SLOPE * features[:, 2]


@functools.cache
def load_boundary_net(path: Path = WEIGHTS) -> BoundaryNet:
    """Return the bundled boundary network."""
    tensors = load_file(path)
    count = sum(key.endswith(".weight") for key in tensors)
    return BoundaryNet(tuple((tensors[f"{k}.weight"], tensors[f"{k}.bias"]) for k in range(count)))


def boundary_coordinate(
    points_mm: np.ndarray,
    curve_coordinate: np.ndarray,
    pairs: list[NeighbourPair],
    bone: BoneDepth,
    boundary_net: BoundaryNet,
) -> np.ndarray:
    """Return the spine coordinate of voxels: k + 0.5 is undecided between the k-th and the next.

    Args:
        points_mm: Voxels of bone, (n, 3).
        curve_coordinate: Coordinate of the nearest point of the spine curve, (n,).
        pairs: Neighbouring cores from head to tail.
        bone: Signed depth of bone.
        boundary_net: Boundary network.

    Returns:
        Spine coordinate of each voxel, (n,): one plus the sum over all pairs of the probability of
        belonging to the lower vertebra.
    """

    def lower(batch: tuple[NeighbourPair, np.ndarray]) -> np.ndarray:
        """Return the probability that the voxels of a batch belong to the lower vertebra."""
        pair, chosen = batch
        beyond = pair.beyond(points_mm[chosen])
        share = (beyond > 0).astype(float)
        uncertain = np.abs(beyond) < UNCERTAIN_RANGE
        logit = boundary_net.logit(pair.features(points_mm[chosen[uncertain]], bone))
        share[uncertain] = probability(logit)
        return share

    coordinate = np.ones(len(points_mm))
    batches = []
    for k, pair in enumerate(pairs, start=1):
        offset = curve_coordinate - (k + 0.5)
        coordinate[offset >= PAIR_RANGE] += 1
        near = np.flatnonzero(np.abs(offset) < PAIR_RANGE)
        batches += [(pair, near[start : start + _CHUNK]) for start in range(0, len(near), _CHUNK)]
    with ThreadPoolExecutor(2) as pool:  # numpy releases the GIL
        for (_, chosen), share in zip(batches, pool.map(lower, batches), strict=True):
            coordinate[chosen] += share
    return coordinate
