"""Which of two neighbours bone belongs to, judged by the shape of the bone around it.

A surface that bends as it usually does parts neighbours roughly. Where the cut really runs shows in
the bone itself: a waist, a notch, a facet's edge. A small network (two hidden layers) has learned
to read them. It sees a voxel as the surfaces of `surfaces` do, in the frame of the two cores, and
how deep bone is, or how far away, at places around it. Distances are shares of the step between the
cores, so that a neck is read as a loin is; the side axis leads outwards, so that left and right are
the same.

Testing/Fitting/fit_boundary_net.py trained it on label maps (its header and weights/LICENSE.md say
on which); cases kept for testing are not among them.
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

WEIGHTS = Path(__file__).parents[1] / "weights" / "parting.safetensors"

NEAR, FAR = (-0.35, -0.2, -0.1, 0.0, 0.1, 0.2, 0.35), (-0.7, -0.5, 0.5, 0.7)
BESIDE, BEHIND = (-0.18, 0.0, 0.18), (-0.3, 0.0, 0.3)
AROUND = np.array(
    [*itertools.product(NEAR, BESIDE, BESIDE), *itertools.product(FAR, BEHIND, (0.0,))], np.float32
)
"""Places around a voxel at which bone is looked at: down, back and outwards in steps, (75, 3)."""

USUAL_STEP_MM = 30.0
DEEPEST = 8.0
"""Depths and distances are read up to here, in mm of a step of `USUAL_STEP_MM`."""

STEEPNESS = 8.0
"""What the network starts from: the logit's change per step from the spine's own surface."""

REACH = 1.0
"""Steps: further from its own surface the side of a voxel is beyond doubt."""

FARTHEST = 3.0
"""Cores along the chain: what lies further from a pair has nothing to do with it."""

FEATURES = 7 + len(AROUND)

CHUNK, SLAB = 1 << 16, 64
"""So many voxels' features are computed at once, and so many slices' depths."""


@dataclass(frozen=True)
class BoneDepth:
    """How deep bone is everywhere, and how far away outside it.

    Attributes:
        depth_mm: Distance to the rim, negative outside, up to some distance, float32 (z, y, x).
        spacing_mm: Voxel size along z, y, x.
    """

    depth_mm: np.ndarray
    spacing_mm: tuple[float, float, float]

    def around(self, points_mm: np.ndarray, offsets_mm: np.ndarray) -> np.ndarray:
        """Return the depth at the voxels nearest to places around others, (points, places).

        Beyond the array it is that of its rim. Places are the same number of voxels away from
        every point, which makes this a matter of adding numbers.

        Args:
            points_mm: Centres of voxels, (points, 3).
            offsets_mm: From each of them to the places, (places, 3).
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
        flat, more = (voxels - low) @ strides, steps @ strides
        return box.ravel()[flat[:, None] + more]


def depth_limit_mm(pairs: list[Frame]) -> float:
    """Return how deep bone is looked at between any of some neighbours."""
    return DEEPEST * max(pair.step_mm for pair in pairs) / USUAL_STEP_MM


def bone_depth(
    bone: np.ndarray, spacing_mm: tuple[float, float, float], reach_mm: float
) -> BoneDepth:
    """Return the depth of a mask, bool (z, y, x), between a distance and its negative.

    Slab by slab, because a spine fills little of the box around it, and all of it takes long.
    """
    margins = [math.ceil(reach_mm / step) for step in spacing_mm]
    depth_mm = np.full(bone.shape, -reach_mm, np.float32)
    for start in range(0, len(bone), SLAB):
        rows = slice(max(0, start - margins[0]), start + SLAB + margins[0])
        for _, *inner in ndimage.find_objects(bone[rows].view(np.uint8)):
            around = [
                slice(max(0, s.start - margin), s.stop + margin)
                for s, margin in zip(inner, margins[1:], strict=True)
            ]
            part_mm = _depth_mm(bone[(rows, *around)], spacing_mm)
            own = part_mm[start - rows.start :][:SLAB]
            np.clip(own, -reach_mm, reach_mm, out=depth_mm[(slice(start, start + SLAB), *around)])
    return BoneDepth(depth_mm, spacing_mm)


def _depth_mm(bone: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return the distance to the other side, negative outside; infinite if there is none."""
    if bone.all():
        return np.full(bone.shape, np.inf, np.float32)
    return _distance_mm(bone, spacing_mm) - _distance_mm(~bone, spacing_mm)


def _distance_mm(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Return how far each voxel is from the next that is not in a mask, float32."""
    # Distances that scipy computes from the same indices are doubles, and take as long again.
    nearest = ndimage.distance_transform_edt(
        mask, spacing_mm, return_distances=False, return_indices=True
    )
    squared = np.zeros(mask.shape, np.float32)
    here = np.indices(mask.shape, np.int32, sparse=True)
    for there, own, step_mm in zip(nearest, here, spacing_mm, strict=True):
        away_mm = (there - own) * np.float32(step_mm)
        away_mm *= away_mm
        squared += away_mm
    return np.sqrt(squared, out=squared)


@dataclass(frozen=True)
class NeighbourPair:
    """Two neighbouring cores, and how bone between them is parted so far.

    Attributes:
        frame: Of their centres.
        usual: Coefficients of the usual surface between them, (7,).
        own: Of this spine's own surface, (7,).
        place: Of the upper one from head to tail, C1 is 0; roughly.
    """

    frame: Frame
    usual: np.ndarray
    own: np.ndarray
    place: float

    def beyond(self, points_mm: np.ndarray) -> np.ndarray:
        """Return how many steps points (n, 3) lie below the own surface, (n,)."""
        t, terms = self.frame.terms(points_mm)
        return t - terms @ self.own

    def features(self, points_mm: np.ndarray, about: BoneDepth) -> np.ndarray:
        """Return what the network sees of points (n, 3), float32 (n, `FEATURES`)."""
        frame, size = self.frame, self.frame.step_mm / USUAL_STEP_MM
        t, terms = frame.terms(points_mm)
        offset = points_mm - frame.middle_mm
        b, s = offset @ frame.back / frame.step_mm, offset @ frame.side / frame.step_mm
        same = np.ones(len(t))
        own = [t, t - terms @ self.usual, t - terms @ self.own, b, np.abs(s)]
        own += [same * self.place / 24, same * size]
        out = np.empty((len(t), FEATURES), np.float32)
        for column, values in enumerate(own):
            out[:, column] = values
        for mirrored, chosen in ((1.0, s >= 0), (-1.0, s < 0)):
            axes = np.stack([frame.down, frame.back, mirrored * frame.side]) * frame.step_mm
            out[chosen, len(own) :] = about.around(points_mm[chosen], AROUND @ axes)
        depths = out[:, len(own) :]
        depths *= np.float32(1 / (size * DEEPEST))
        np.clip(depths, -1, 1, out=depths)
        return out


@dataclass(frozen=True)
class BoundaryNet:
    """The network's layers of (weight, bias)."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    def logit(self, features: np.ndarray) -> np.ndarray:
        """Return the logit that points belong to the lower one, (n,), from their features."""
        values = features
        for weight, bias in self.layers[:-1]:
            values = values @ weight.T
            values += bias
            np.maximum(values, 0, out=values)
        weight, bias = self.layers[-1]
        return (values @ weight.T + bias)[:, 0] + STEEPNESS * features[:, 2]


@functools.cache
def load_boundary_net(path: Path = WEIGHTS) -> BoundaryNet:
    """Return the weights that come with the package."""
    found = load_file(path)
    count = sum(key.endswith(".weight") for key in found)
    return BoundaryNet(tuple((found[f"{k}.weight"], found[f"{k}.bias"]) for k in range(count)))


def boundary_coordinate(
    points_mm: np.ndarray,
    about: np.ndarray,
    pairs: list[NeighbourPair],
    bone: BoneDepth,
    boundary_net: BoundaryNet,
) -> np.ndarray:
    """Return which vertebra bone belongs to: k + 0.5 is undecided between the k-th and the next.

    Args:
        points_mm: Voxels of bone, (n, 3).
        about: Index of the nearest core along the chain, roughly, (n,).
        pairs: The neighbours, head to tail.
        bone: Depth of bone.
        boundary_net: The network.
    """

    def lower(part: tuple[NeighbourPair, np.ndarray]) -> np.ndarray:
        """Return to which share some voxels belong to the lower one of two."""
        pair, chosen = part
        beyond = pair.beyond(points_mm[chosen])
        share = (beyond > 0).astype(float)
        open_ = np.abs(beyond) < REACH
        logit = boundary_net.logit(pair.features(points_mm[chosen[open_]], bone))
        share[open_] = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
        return share

    index = np.ones(len(points_mm))
    parts = []
    for k, pair in enumerate(pairs, start=1):
        far = about - (k + 0.5)
        index[far >= FARTHEST] += 1
        near = np.flatnonzero(np.abs(far) < FARTHEST)
        parts += [(pair, near[start : start + CHUNK]) for start in range(0, len(near), CHUNK)]
    with ThreadPoolExecutor(2) as pool:  # numpy lets the other one run
        for (_, chosen), share in zip(parts, pool.map(lower, parts), strict=True):
            index[chosen] += share
    return index
