"""Divide bone among the cores of its vertebrae.

Every voxel gets an index along the chain of cores from all that is known of it: on which side of
the cuts between neighbours it lies by the shape of the bone (`surfaces`, `parting`), to where the
fine network says that its vertebra's core is, and which level the networks see. The index is
smoothed over the bone, so that neighbours part where evidence changes and the bone between them is
thin (`total_variation`), and rounded. Each spine's own surfaces are fitted to what comes out, and
the division made again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.imaging.masks import pieces_of
from spinemamba.instances.boundary_net import (
    Neighbours,
    Parting,
    deepest_mm,
    load_parting,
    parted_index,
    surround,
)
from spinemamba.instances.cut_surfaces import fit_surfaces, frames, usual_coefficients
from spinemamba.instances.geodesic import nearest_seed
from spinemamba.instances.spine_coordinate import (
    chain_curve,
    change_per_core,
    core_middles,
    core_places,
    index_of_levels,
)
from spinemamba.instances.total_variation import bone_graph, smooth_over_bone

Spacing = tuple[float, float, float]

NEAR_VOX = 3
"""Cores this close to another one may be cut in the wrong place."""


@dataclass(frozen=True)
class Hints:
    """What is known of voxels besides their place.

    Attributes:
        level: Expected level, counted from head to tail, C1 is 0, (z, y, x).
        offsets_mm: From each voxel to the centre of its vertebra's core along z, y, x,
            (3, z, y, x); None if nobody says.
    """

    level: np.ndarray
    offsets_mm: np.ndarray | None


@dataclass(frozen=True)
class PartitionOptions:
    """Weights, each with its reason.

    Attributes:
        shape: Worth of the side of the cuts by the shape of the bone; 10 to 40 make next to no
            difference on the development cases' predictions.
        vote: Worth of the way to the core; this and the next began as the coefficients of a
            logistic regression of "this or the next vertebra" on the development cases.
        level: Worth of the level, where levels tell all cores apart.
        price_mm: Of cut bone; 10 to 40 make no difference on the development cases.
        rounds: Of division; a third changes nothing.
        steps: Of smoothing in all but the last round, and in that one.
    """

    shape: float = 20.0
    vote: float = 3.5
    level: float = 3.0
    price_mm: float = 20.0
    rounds: int = 2
    steps: tuple[int, int] = (50, 120)


def divide(
    seeds: np.ndarray,
    bone: np.ndarray,
    hints: Hints,
    spacing_mm: Spacing,
    *,
    sacrum: bool = False,
    options: PartitionOptions | None = None,
    parting: Parting | None = None,
) -> np.ndarray:
    """Give bone to vertebrae.

    Args:
        seeds: Cores, numbered from 1 from head to tail, 0 elsewhere, (z, y, x).
        bone: Mask to divide, bool (z, y, x), canonical orientation.
        hints: What is known of the voxels.
        spacing_mm: Voxel size along z, y, x.
        sacrum: Whether the last seed is a sacrum, which has no core and no place of its own.
        options: Weights.
        parting: What reads the shape of the bone; None takes the package's own.

    Returns:
        Number of the vertebra of each voxel, int32; 0 outside the bone, and where it does not
        hang together with its vertebra's seed.
    """
    options = options or PartitionOptions()
    bone = bone | (seeds > 0)
    count = int(seeds.max())
    out = np.zeros(bone.shape, np.int32)
    if count - sacrum < 2:
        out[bone] = count
    else:
        found = _Division(seeds, bone, hints, spacing_mm=spacing_mm, sacrum=sacrum, options=options)
        out[bone] = found.numbers(parting or load_parting())
    for number, box in enumerate(ndimage.find_objects(out), start=1):
        if box is not None:
            _drop_loose(out[box], seeds[box], number)
    return out


class _Division:
    """The state of one division: all arrays are of the bone's voxels, (n,) or (n, 3)."""

    def __init__(
        self,
        seeds: np.ndarray,
        bone: np.ndarray,
        hints: Hints,
        *,
        spacing_mm: Spacing,
        sacrum: bool,
        options: PartitionOptions,
    ):
        self._options = options
        self._seed = seeds[bone]
        self._certain = apart(seeds)[bone]
        self._count = int(seeds.max())
        self._cores = self._count - sacrum
        scale = np.asarray(spacing_mm)
        self._points_mm = np.argwhere(bone) * scale
        numbers = np.arange(1, self._cores + 1)
        self._centres_mm = core_middles(self._points_mm, self._seed, self._cores)
        self._curve = chain_curve(self._centres_mm)
        self._about = self._curve.at(self._points_mm)
        self._graph = bone_graph(bone, spacing_mm)
        level = hints.level[bone]
        self._levels = np.asarray(ndimage.mean(level, self._seed, numbers))
        self._pairs = frames(self._centres_mm)
        self._bone = surround(bone, spacing_mm, deepest_mm(self._pairs))
        self._told, self._worth = self._from_hints(level, hints, bone)
        self._first = None
        if not self._worth:
            self._first = nearest_seed(seeds, bone, spacing_mm)[bone]

    def _from_hints(
        self, level: np.ndarray, hints: Hints, bone: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Return the weighted sum of the indices that hints give, and the sum of their weights."""
        told, worth = np.zeros(len(level)), 0.0
        if weight := self._options.level * change_per_core(self._levels):
            told += weight * index_of_levels(level, self._levels)
            worth += weight
        if hints.offsets_mm is not None:
            goal_mm = self._points_mm + hints.offsets_mm[:, bone].T.astype(float)
            told += self._options.vote * self._curve.at(goal_mm)
            worth += self._options.vote
        return told, worth

    def numbers(self, parting: Parting) -> np.ndarray:
        """Return the vertebra of each voxel, (n,)."""
        options = self._options
        pairs = self._pairs
        places = core_places(self._centres_mm, self._levels)[:-1]
        usual = usual_coefficients(places)
        own, numbers = usual, self._first
        if numbers is not None:
            own = fit_surfaces(self._points_mm, numbers, pairs, usual)
        for left in reversed(range(options.rounds)):
            told = [Neighbours(*each) for each in zip(pairs, usual, own, places, strict=True)]
            index = parted_index(self._points_mm, self._about, told, self._bone, parting)
            index = np.where(self._about > self._cores + 0.5, self._about, index)
            numbers = self._smooth(index, options.steps[left == 0])
            if left:
                own = fit_surfaces(self._points_mm, numbers, pairs, usual)
        return numbers

    def _smooth(self, index: np.ndarray, steps: int) -> np.ndarray:
        worth = self._options.shape + self._worth
        value = (self._options.shape * index + self._told) / worth
        value = np.clip(value, 0.6, self._count + 0.4)
        value[self._certain] = self._seed[self._certain]
        weights = np.where(self._certain, np.inf, worth)
        found = smooth_over_bone(value, weights, self._graph, self._options.price_mm, steps)
        return np.clip(np.round(found), 1, self._count).astype(np.int32)


def apart(seeds: np.ndarray) -> np.ndarray:
    """Return which voxels of seeds are no neighbours of another seed, bool (z, y, x).

    Where cores ran into each other, they were cut straight across the line, and discs are tilted.
    """
    out = seeds > 0
    for number, box in enumerate(ndimage.find_objects(seeds), start=1):
        if box is None:
            continue
        wide = tuple(slice(max(0, s.start - NEAR_VOX), s.stop + NEAR_VOX) for s in box)
        others = (seeds[wide] > 0) & (seeds[wide] != number)
        if others.any():
            near = ndimage.binary_dilation(others, iterations=NEAR_VOX)
            out[wide] &= (seeds[wide] != number) | ~near
    return out


def _drop_loose(labels: np.ndarray, seeds: np.ndarray, number: int) -> None:
    """Take back, in place, pieces of a label that do not hang together with its seed."""
    pieces, _ = pieces_of(labels == number, by_corners=True)
    anchored = np.unique(pieces[seeds == number])
    labels[(labels == number) & ~np.isin(pieces, anchored)] = 0
