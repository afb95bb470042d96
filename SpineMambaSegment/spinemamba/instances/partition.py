"""Voxel-to-instance assignment: divide the bone mask among the cores of the vertebrae.

Every voxel gets a spine coordinate, a weighted mean of three estimates:

- its side of the boundaries between neighbouring vertebrae, from the shape of the bone
  (`cut_surfaces`, `boundary_net`);
- the position of its core as predicted by the offsets of the fine network;
- the level predicted by the networks.

The coordinate is smoothed by total variation over the bone (`total_variation`), so that boundaries
lie where the estimates change and the bone is thin, and rounded to an instance number. The cut
surfaces are then fitted to the result, and the assignment is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from spinemamba.imaging.masks import pieces_of
from spinemamba.instances.boundary_net import (
    BoundaryNet,
    NeighbourPair,
    bone_depth,
    boundary_coordinate,
    depth_limit_mm,
    load_boundary_net,
)
from spinemamba.instances.chain_ends import ChainEnds
from spinemamba.instances.cut_surfaces import (
    SurfaceFitOptions,
    fit_surfaces,
    frames,
    mean_coefficients,
)
from spinemamba.instances.geodesic import nearest_seed
from spinemamba.instances.spine_coordinate import (
    CoordinateOptions,
    coordinate_of_levels,
    core_centroids,
    level_change_per_core,
    level_positions,
    spine_curve,
)
from spinemamba.instances.total_variation import bone_graph, smooth_over_bone

_Spacing = tuple[float, float, float]

_NO_ENDS = ChainEnds()

ABOVE, BELOW = -1, -2
"""Numbers of the bone of extrapolated neighbours above the first and below the last vertebra."""


@dataclass(frozen=True)
class VoxelHints:
    """Network predictions that are used besides the bone mask.

    Attributes:
        level: Expected coordinate of the level in `NETWORK_LEVELS`, C1 is 0, (z, y, x).
        offsets_mm: Offset from each voxel to the centre of its core along z, y, x, in mm,
            (3, z, y, x). None if the network predicts no offsets.
    """

    level: np.ndarray
    offsets_mm: np.ndarray | None


@dataclass(frozen=True)
class PartitionOptions:
    """Weights, each with its reason.

    Attributes:
        shape_weight: Weight of the boundary network's estimate. Values of 10 to 40 make almost no
            difference on the development cases.
        offset_weight: Weight of the predicted offset. This and the next weight were initialised
            with the coefficients of a logistic regression of "this or the next vertebra" on the
            development cases.
        level_weight: Weight of the predicted level if the levels of all cores differ.
        tv_weight_mm: Weight lambda of the total variation, in mm. Values of 10 to 40 make no
            difference on the development cases.
        rounds: Number of rounds of assignment and refitting; a third changes nothing.
        tv_steps: Iterations of total variation in the earlier rounds, and in the last one.
        near_vox: Core voxels this close to another core are not fixed; the cut between the two
            may be wrong.
        surface: Options of the fit of cut surfaces.
        coordinate: Options of the spine coordinate.
    """

    shape_weight: float = 20.0
    offset_weight: float = 3.5
    level_weight: float = 3.0
    tv_weight_mm: float = 20.0
    rounds: int = 2
    tv_steps: tuple[int, int] = (50, 120)
    near_vox: int = 3
    surface: SurfaceFitOptions = field(default_factory=SurfaceFitOptions)
    coordinate: CoordinateOptions = field(default_factory=CoordinateOptions)


def assign_voxels(
    seeds: np.ndarray,
    bone: np.ndarray,
    hints: VoxelHints,
    spacing_mm: _Spacing,
    *,
    sacrum: bool = False,
    ends: ChainEnds = _NO_ENDS,
    options: PartitionOptions = PartitionOptions(),
    boundary_net: BoundaryNet | None = None,
) -> np.ndarray:
    """Assign bone voxels to vertebrae.

    Args:
        seeds: Cores, numbered from 1 from head to tail, 0 elsewhere, (z, y, x).
        bone: Mask to divide, bool (z, y, x), canonical orientation.
        hints: Predicted levels and offsets of the voxels.
        spacing_mm: Voxel size along z, y, x.
        sacrum: Whether the last seed is the mask of a sacrum, which has no core.
        ends: Extrapolated cores; bone of the first sacral segment belongs to the sacrum.
        options: Weights.
        boundary_net: Boundary network; the bundled one if None.

    Returns:
        Number of the vertebra of each voxel, int32 (z, y, x). It is 0 outside the bone, and where
        the bone is not connected with the seed of its vertebra; `ABOVE` and `BELOW` in the bone of
        extrapolated neighbours.
    """
    bone = bone | (seeds > 0)
    count = int(seeds.max())
    out = np.zeros(bone.shape, np.int32)
    if count - sacrum < 2:
        out[bone] = count
    else:
        assignment = _VoxelAssignment(
            seeds, bone, hints, spacing_mm=spacing_mm, sacrum=sacrum, ends=ends, options=options
        )
        out[bone] = assignment.numbers(boundary_net or load_boundary_net())
    for number, box in enumerate(ndimage.find_objects(out), start=1):
        if box is not None:
            _remove_loose_pieces(out[box], seeds[box], number)
    return out


class _VoxelAssignment:
    """State of one assignment. All arrays are over the n voxels of bone, (n,) or (n, 3)."""

    def __init__(
        self,
        seeds: np.ndarray,
        bone: np.ndarray,
        hints: VoxelHints,
        *,
        spacing_mm: _Spacing,
        sacrum: bool,
        ends: ChainEnds,
        options: PartitionOptions,
    ):
        self._options = options
        self._real = int(seeds.max())
        # Numbers count from the extrapolated core above, if there is one.
        self._above = ends.count_above
        self._seed = np.where(seeds > 0, seeds + self._above, 0)[bone]
        self._certain = _away_from_other_seeds(seeds, options.near_vox)[bone]
        real_cores = self._real - sacrum
        scale = np.asarray(spacing_mm)
        self._points_mm = np.argwhere(bone) * scale
        own_seed = seeds[bone]
        centres_mm = core_centroids(self._points_mm, own_seed, real_cores, options.coordinate)
        self._centres_mm = ends.extended(centres_mm)
        self._cores = len(self._centres_mm)
        self._count = max(self._cores, self._real + self._above)
        self._curve = spine_curve(self._centres_mm, options.coordinate)
        self._curve_coordinate = self._curve.at(self._points_mm)
        self._graph = bone_graph(bone, spacing_mm)
        level = hints.level[bone]
        levels = np.asarray(ndimage.mean(level, own_seed, np.arange(1, real_cores + 1)))
        self._levels = ends.extended_levels(levels)
        self._pairs = frames(self._centres_mm)
        self._bone = bone_depth(bone, spacing_mm, depth_limit_mm(self._pairs))
        self._hint_sum, self._hint_weight = self._from_hints(level, hints, bone)
        self._initial = None
        if not self._hint_weight:
            self._initial = nearest_seed(seeds, bone, spacing_mm)[bone]

    def _from_hints(
        self, level: np.ndarray, hints: VoxelHints, bone: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Return the weighted sum of the coordinates from levels and offsets, and their weight."""
        weighted_sum, weight_sum = np.zeros(len(level)), 0.0
        if weight := self._options.level_weight * level_change_per_core(self._levels):
            weighted_sum += weight * coordinate_of_levels(level, self._levels)
            weight_sum += weight
        if hints.offsets_mm is not None:
            core_mm = self._points_mm + hints.offsets_mm[:, bone].T.astype(float)
            weighted_sum += self._options.offset_weight * self._curve.at(core_mm)
            weight_sum += self._options.offset_weight
        return weighted_sum, weight_sum

    def numbers(self, boundary_net: BoundaryNet) -> np.ndarray:
        """Return the number of the vertebra of each voxel, `ABOVE` or `BELOW`, (n,)."""
        numbers = self._extended_numbers(boundary_net) - self._above
        numbers[numbers > self._real] = BELOW
        numbers[numbers == 0] = ABOVE
        return numbers

    def _extended_numbers(self, boundary_net: BoundaryNet) -> np.ndarray:
        """Return the number of each voxel, counted from the extrapolated core above, (n,)."""
        options = self._options
        pairs = self._pairs
        positions = level_positions(self._centres_mm, self._levels, options.coordinate)[:-1]
        mean = mean_coefficients(positions)
        fitted, numbers = mean, self._initial
        if numbers is not None:
            fitted = fit_surfaces(self._points_mm, numbers, pairs, mean, options.surface)
        for remaining in reversed(range(options.rounds)):
            neighbours = [
                NeighbourPair(*each) for each in zip(pairs, mean, fitted, positions, strict=True)
            ]
            coordinate = boundary_coordinate(
                self._points_mm, self._curve_coordinate, neighbours, self._bone, boundary_net
            )
            coordinate = np.where(
                self._curve_coordinate > self._cores + 0.5, self._curve_coordinate, coordinate
            )
            numbers = self._smooth(coordinate, options.tv_steps[remaining == 0])
            if remaining:
                fitted = fit_surfaces(self._points_mm, numbers, pairs, mean, options.surface)
        return numbers

    def _smooth(self, coordinate: np.ndarray, steps: int) -> np.ndarray:
        weight_sum = self._options.shape_weight + self._hint_weight
        value = (self._options.shape_weight * coordinate + self._hint_sum) / weight_sum
        value = np.clip(value, 0.6, self._count + 0.4)
        value[self._certain] = self._seed[self._certain]
        weights = np.where(self._certain, np.inf, weight_sum)
        smooth = smooth_over_bone(value, weights, self._graph, self._options.tv_weight_mm, steps)
        return np.clip(np.round(smooth), 1, self._count).astype(np.int32)


def _away_from_other_seeds(seeds: np.ndarray, near_vox: int) -> np.ndarray:
    """Return the mask of seed voxels that are not close to another seed, bool (z, y, x).

    Merged cores were cut perpendicular to the centre line, but discs are tilted.
    """
    out = seeds > 0
    for number, box in enumerate(ndimage.find_objects(seeds), start=1):
        if box is None:
            continue
        wide = tuple(slice(max(0, s.start - near_vox), s.stop + near_vox) for s in box)
        others = (seeds[wide] > 0) & (seeds[wide] != number)
        if others.any():
            near = ndimage.binary_dilation(others, iterations=near_vox)
            out[wide] &= (seeds[wide] != number) | ~near
    return out


def _remove_loose_pieces(labels: np.ndarray, seeds: np.ndarray, number: int) -> None:
    """Set pieces of a label that are not connected with its seed to 0, in place."""
    pieces, _ = pieces_of(labels == number, by_corners=True)
    anchored = np.unique(pieces[seeds == number])
    labels[(labels == number) & ~np.isin(pieces, anchored)] = 0
