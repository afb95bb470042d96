"""Instance segmentation: one instance per vertebra.

Neighbouring vertebrae touch at their facet joints, so connected components of the bone mask do not
separate them. The cores of the vertebral bodies are separated first and serve as seeds; the other
bone voxels are then assigned to them (`partition`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.imaging.truncation import FieldOfView, cut_sides
from spinemamba.imaging.volume import Box, Volume
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.boundary_net import BoundaryNet
from spinemamba.instances.chain_ends import ChainEndOptions, ChainEnds, chain_ends
from spinemamba.instances.cores import CoreOptions, certain_slivers, core_seeds
from spinemamba.instances.off_spine import bone_of_cores, bone_out_of_reach, cores_off_spine
from spinemamba.instances.partition import (
    ABOVE,
    BELOW,
    PartitionOptions,
    VoxelHints,
    assign_voxels,
)
from spinemamba.instances.sacrum import (
    SacrumOptions,
    SacrumProbabilities,
    join_first_sacral_body,
    sacrum_by_voxel,
    separate_sacrum,
)
from spinemamba.protocol.result import Witnesses

_SACRUM = NETWORK_LEVELS.index("Sacrum")


@dataclass(frozen=True)
class InstanceOptions:
    """Thresholds, each with its reason.

    Attributes:
        bone_threshold: Voxels above this probability are bone, on the grid of the fine network
            as on that of the input.
        least_instance_ml: Least volume of an instance: less than half of the smallest cervical
            vertebra.
        rejoin_mm: A loose piece of bone at most this far from an instance is added to it.
        rim_vox: On the input grid, instances are dilated by this first, because interpolated bone
            may extend beyond them.
        fine_level_weight: Weight of the fine network in level probabilities; the rest is the
            coarse network's. A window of the fine network is only about four vertebrae high.
        only_on_curve: Whether cores and bone off the curve of the spine are left out. In MR,
            organs look like vertebrae; in CT, where they do not, a deformed spine is more likely.
        hidden_neighbours: Whether bone of neighbours whose body the image does not show is left
            out; otherwise it belongs to the first and last vertebra.
        cores: Options of the core segmentation.
        ends: Options of the neighbours beyond the first and last core.
        sacrum: Options of the sacrum.
        partition: Options of the voxel-to-instance assignment.
    """

    bone_threshold: float = 0.5
    least_instance_ml: float = 1.5
    rejoin_mm: float = 4.0
    rim_vox: int = 2
    fine_level_weight: float = 0.2
    only_on_curve: bool = False
    hidden_neighbours: bool = True
    ends: ChainEndOptions = field(default_factory=ChainEndOptions)
    cores: CoreOptions = field(default_factory=CoreOptions)
    sacrum: SacrumOptions = field(default_factory=SacrumOptions)
    partition: PartitionOptions = field(default_factory=PartitionOptions)


@dataclass(frozen=True)
class Instance:
    """One vertebra, or the sacrum.

    Attributes:
        id: Number of the instance, counted from 1 at the top.
        centroid_lps_mm: Centre of its voxels.
        volume_ml: Volume of its voxels.
        level_probabilities: One for each of `NETWORK_LEVELS`, mean over its voxels.
        is_sacrum: Whether it is the sacrum.
        cut_sides: Sides of the field of view that truncate it, such as "superior" or "left".
        no_vertebra: Probability that it is not a vertebra, if the level probabilities are those of
            the level network; None if they are means over voxels.
        witnesses: What the level network sees besides the level; None without it.
    """

    id: int
    centroid_lps_mm: tuple[float, float, float]
    volume_ml: float
    level_probabilities: tuple[float, ...]
    is_sacrum: bool
    cut_sides: tuple[str, ...]
    no_vertebra: float | None = None
    witnesses: Witnesses | None = None


@dataclass(frozen=True)
class Instances:
    """All vertebrae of a scan.

    Attributes:
        labels: Instance number of each voxel, 0 is background, int16 (z, y, x).
        items: Instances from top to bottom; ``items[k]`` has the number k + 1.
        hidden: Bone of neighbours whose body the image does not show: number of the instance that
            it touches, 0 elsewhere, int16 (z, y, x). None if there is none.
        off_spine: Number of cores that were left out, because they are off the curve of the spine.
        out_of_reach_ml: Volume of bone that was left out, because no vertebra reaches as far.
    """

    labels: np.ndarray
    items: tuple[Instance, ...]
    hidden: np.ndarray | None = None
    off_spine: int = 0
    out_of_reach_ml: float = 0.0

    def scaled(self, factor: float) -> Instances:
        """Return the instances of an object ``factor`` times as large."""
        items = (
            replace(
                item,
                centroid_lps_mm=tuple(factor * mm for mm in item.centroid_lps_mm),
                volume_ml=factor**3 * item.volume_ml,
            )
            for item in self.items
        )
        return replace(self, items=tuple(items))


def find_instances(
    predictions: VoxelPredictions,
    options: InstanceOptions = InstanceOptions(),
    boundary_net: BoundaryNet | None = None,
) -> Instances:
    """Separate the vertebrae.

    Args:
        predictions: Voxel predictions of both networks.
        options: Thresholds.
        boundary_net: Boundary network between neighbours; the bundled one if None.

    Returns:
        Instances on the grid of the predictions; empty if there is no core.
    """
    bone = predictions.bone > options.bone_threshold
    sacrum = _sacrum(predictions, bone, options)
    seeds, near, off_spine = _seeds_on_curve(predictions, bone, sacrum, options)
    far_ml, bone = int((bone & ~near).sum()) * predictions.geometry.voxel_ml, near
    count = int(seeds.max())
    seeds[sacrum] = count + 1
    weight = options.fine_level_weight
    hints = VoxelHints(expected_level(predictions, bone, weight), predictions.offsets_mm)
    spacing_mm, has_sacrum = predictions.geometry.spacing_mm, bool(sacrum.any())
    labels = assign_voxels(
        seeds,
        bone,
        hints,
        spacing_mm,
        sacrum=has_sacrum,
        ends=_chain_ends(seeds, hints.level, predictions, has_sacrum, options),
        options=options.partition,
        boundary_net=boundary_net,
    )
    above, below = labels == ABOVE, labels == BELOW
    labels[above | below] = 0
    _join_loose_pieces(labels, bone & ~above & ~below, spacing_mm, options.rejoin_mm)
    if has_sacrum:
        core_levels = np.asarray(ndimage.mean(hints.level, seeds, np.arange(1, count + 1)))
        join_first_sacral_body(labels, count, core_levels, options.sacrum)
    valid = _large_or_certain(labels, seeds, predictions, options)
    new_number = np.zeros(count + 2, np.int16)
    new_number[valid] = np.arange(1, len(valid) + 1)
    labels = new_number[labels]
    boxes = ndimage.find_objects(labels)
    items = tuple(
        _instance(number, labels, boxes[number - 1], predictions, weight, is_sacrum=k > count)
        for number, k in enumerate(valid, start=1)
    )
    return Instances(labels, items, _beside(above, below, len(valid)), off_spine, far_ml)


def _beside(above: np.ndarray, below: np.ndarray, count: int) -> np.ndarray | None:
    """Return the bone of hidden neighbours, numbered by the instance beside it; None if empty."""
    if not count or not (above.any() or below.any()):
        return None
    return np.where(above, 1, np.where(below, count, 0)).astype(np.int16)


def _chain_ends(
    seeds: np.ndarray,
    level: np.ndarray,
    predictions: VoxelPredictions,
    has_sacrum: bool,
    options: InstanceOptions,
) -> ChainEnds:
    """Return the extrapolated cores; only that of the sacrum if neighbours are not wanted."""
    ends = chain_ends(
        seeds,
        level,
        predictions.geometry,
        predictions.field_of_view,
        sacrum=has_sacrum,
        options=options.ends,
    )
    if options.hidden_neighbours:
        return ends
    return ChainEnds(None, ends.below_mm if has_sacrum else None)


def _large_or_certain(
    labels: np.ndarray, seeds: np.ndarray, predictions: VoxelPredictions, options: InstanceOptions
) -> list[int]:
    """Return the numbers of the instances that are large enough, or truncated and yet certain."""
    sizes_ml = np.bincount(labels.ravel()) * predictions.geometry.voxel_ml
    large = np.flatnonzero(sizes_ml >= options.least_instance_ml)
    slivers = certain_slivers(seeds, predictions, options.cores)
    return sorted(({*map(int, large)} | slivers) - {0})


def with_cut_sides(instances: Instances, numbers: Volume, view: FieldOfView) -> Instances:
    """Return the instances with truncated sides computed from the final labels.

    Reading the label file later gives the same sides, because the same voxels are used.

    Args:
        instances: Instances.
        numbers: Instance number of each voxel on the grid of the data. Instances without a voxel
            in it keep their sides.
        view: Field of view: where the image holds acquired data.
    """
    boxes = ndimage.find_objects(numbers.array)
    items = []
    for item in instances.items:
        box = boxes[item.id - 1] if item.id <= len(boxes) else None
        if box is not None:
            voxels = np.argwhere(numbers.array[box] == item.id) + [s.start for s in box]
            item = replace(item, cut_sides=cut_sides(voxels, numbers.geometry, view))
        items.append(item)
    return replace(instances, items=tuple(items))


def _seeds_on_curve(
    predictions: VoxelPredictions, bone: np.ndarray, sacrum: np.ndarray, options: InstanceOptions
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the cores, the bone without that of cores off the spine, and the number of these."""
    seeds = core_seeds(predictions, bone & ~sacrum, options.cores)
    if not options.only_on_curve:
        return seeds, bone, 0
    spacing_mm, count = predictions.geometry.spacing_mm, int(seeds.max())
    centres = ndimage.center_of_mass(seeds > 0, seeds, np.arange(1, count + 1))
    off = cores_off_spine(np.reshape(centres, (-1, 3)) * np.asarray(spacing_mm))
    if off:
        all_seeds = np.where(sacrum, count + 1, seeds)
        bone = bone & ~bone_of_cores(all_seeds, tuple(k + 1 for k in off), bone, spacing_mm)
        seeds = core_seeds(predictions, bone & ~sacrum, options.cores)
    bone = bone & ~bone_out_of_reach(seeds, bone, spacing_mm)
    return seeds, bone | (seeds > 0) | sacrum, len(off)


def _sacrum(
    predictions: VoxelPredictions, bone: np.ndarray, options: InstanceOptions
) -> np.ndarray:
    """Return the mask of the sacrum, bool (z, y, x)."""
    levels = SacrumProbabilities(
        *(pooled_level(predictions, k, options.fine_level_weight) for k in (_SACRUM, _SACRUM - 1)),
        predictions.geometry.spacing_mm,
    )
    sacrum = sacrum_by_voxel(levels, bone, options.sacrum)
    if not sacrum.any():
        return sacrum
    cores = core_seeds(predictions, bone, options.cores)
    return separate_sacrum(sacrum, cores, levels, options.sacrum)


def _join_loose_pieces(
    labels: np.ndarray, bone: np.ndarray, spacing_mm: tuple[float, float, float], reach_mm: float
) -> None:
    """Add loose pieces of bone to the nearest instance if it is close enough, in place."""
    loose = bone & (labels == 0)
    if not loose.any() or not labels.any():
        return
    scale = np.asarray(spacing_mm)
    assigned_zyx, loose_zyx = np.argwhere(labels > 0), np.argwhere(loose)
    distance_mm, nearest = cKDTree(assigned_zyx * scale).query(loose_zyx * scale)
    pieces, count = ndimage.label(loose)
    piece_of_voxel = pieces[loose]
    gaps_mm = np.full(count + 1, np.inf)
    np.minimum.at(gaps_mm, piece_of_voxel, distance_mm)
    close = (gaps_mm <= reach_mm)[piece_of_voxel]
    labels[tuple(loose_zyx[close].T)] = labels[tuple(assigned_zyx[nearest[close]].T)]


def pooled_level(
    predictions: VoxelPredictions,
    channel: int,
    fine_weight: float = InstanceOptions.fine_level_weight,
) -> np.ndarray:
    """Return the probability of a level given bone, pooled over both networks.

    Args:
        predictions: Voxel predictions.
        channel: Index of the level in `NETWORK_LEVELS`.
        fine_weight: Weight of the fine network.

    Returns:
        float32 (z, y, x).
    """
    fine, coarse = predictions.levels[channel], predictions.coarse_levels[channel]
    return fine_weight * fine.astype(np.float32) + (1 - fine_weight) * coarse.astype(np.float32)


def expected_level(
    predictions: VoxelPredictions, bone: np.ndarray, fine_weight: float
) -> np.ndarray:
    """Return the expected index in `NETWORK_LEVELS`, 0 outside bone, float32 (z, y, x)."""
    mean = np.zeros(int(bone.sum()), np.float32)
    for channel in range(1, len(NETWORK_LEVELS)):
        fine, coarse = predictions.levels[channel][bone], predictions.coarse_levels[channel][bone]
        mean += channel * (fine_weight * fine.astype(np.float32))
        mean += channel * ((1 - fine_weight) * coarse.astype(np.float32))
    out = np.zeros(bone.shape, np.float32)
    out[bone] = mean
    return out


def _instance(
    number: int,
    labels: np.ndarray,
    box: Box,
    predictions: VoxelPredictions,
    fine_weight: float,
    *,
    is_sacrum: bool,
) -> Instance:
    mask = labels[box] == number
    voxels = np.argwhere(mask) + [s.start for s in box]
    centroid = predictions.geometry.to_lps_mm(voxels.mean(axis=0))
    fine = predictions.levels[(slice(None), *box)][:, mask].astype(np.float32).mean(axis=1)
    coarse = predictions.coarse_levels[(slice(None), *box)][:, mask].astype(np.float32).mean(axis=1)
    return Instance(
        id=number,
        centroid_lps_mm=tuple(map(float, centroid)),
        volume_ml=len(voxels) * predictions.geometry.voxel_ml,
        level_probabilities=tuple(map(float, fine_weight * fine + (1 - fine_weight) * coarse)),
        is_sacrum=is_sacrum,
        cut_sides=cut_sides(voxels, predictions.geometry, predictions.field_of_view),
    )
