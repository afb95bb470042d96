"""One object per vertebra.

Neighbours touch at their facets in every real scan, so components of the bone mask do not
separate them; the cores of their bodies do, among which the bone is divided.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.imaging.truncation import FieldOfView, cut_sides
from spinemamba.imaging.volume import Volume
from spinemamba.inference.voxel_predictions import Evidence
from spinemamba.instances.boundary_net import Parting
from spinemamba.instances.cores import CoreOptions, certain_slivers, core_seeds
from spinemamba.instances.partition import Hints, divide

SACRUM = NETWORK_LEVELS.index("Sacrum")

FINE_SHARE = 0.2
"""Weight of the fine network in the question of levels: its window is four vertebrae high."""

LEAST_SACRUM = 0.2
"""Far from the sacrum neither it nor L5 is likely, and which of them is more so means nothing."""

LEAST_OF_NEIGHBOUR = 0.45
"""Share of its upper neighbour's volume that a vertebra above the sacrum has at least."""


@dataclass(frozen=True)
class InstanceOptions:
    """Thresholds, each with its reason.

    Attributes:
        bone: A voxel is bone above this probability.
        least_instance_ml: Less than half of the smallest cervical vertebra.
        rejoin_mm: A piece of bone this close to a vertebra belongs to it.
        cores: Of the bodies' cores.
    """

    bone: float = 0.5
    least_instance_ml: float = 1.5
    rejoin_mm: float = 4.0
    cores: CoreOptions = field(default_factory=CoreOptions)


@dataclass(frozen=True)
class Instance:
    """One vertebra, or the sacrum.

    Attributes:
        id: 1 at the top.
        centroid_lps_mm: Centre of its voxels.
        volume_ml: Volume of its voxels.
        evidence: Probability of each of `NETWORK_LEVELS`, mean over its voxels.
        is_sacrum: Whether it is the sacrum.
        cut_sides: Sides of the image that cut it: "superior", "left" and so on.
    """

    id: int
    centroid_lps_mm: tuple[float, float, float]
    volume_ml: float
    evidence: tuple[float, ...]
    is_sacrum: bool
    cut_sides: tuple[str, ...]


@dataclass(frozen=True)
class Instances:
    """Every vertebra of a scan.

    Attributes:
        labels: Number of the instance of each voxel, 0 elsewhere, int16 (z, y, x).
        items: Top to bottom; the k-th has the number k + 1.
    """

    labels: np.ndarray
    items: tuple[Instance, ...]


def find_instances(
    evidence: Evidence, options: InstanceOptions | None = None, parting: Parting | None = None
) -> Instances:
    """Separate the vertebrae.

    Args:
        evidence: What the networks say.
        options: Thresholds.
        parting: What parts neighbours by the shape of bone; None takes the package's own.

    Returns:
        The instances on the evidence's grid; none if there is no core.
    """
    options = options or InstanceOptions()
    bone = evidence.bone > options.bone
    sacrum = _sacrum(evidence, bone, options)
    seeds = core_seeds(evidence, bone & ~sacrum, options.cores)
    count = int(seeds.max())
    seeds[sacrum] = count + 1
    hints = Hints(expected_level(evidence, bone), evidence.offsets_mm)
    spacing_mm, whole = evidence.geometry.spacing_mm, bool(sacrum.any())
    labels = divide(seeds, bone, hints, spacing_mm, sacrum=whole, parting=parting)
    rejoin(labels, bone, spacing_mm, options.rejoin_mm)
    if sacrum.any():
        join_first_sacral_body(labels, count)
    sizes = np.bincount(labels.ravel(), minlength=count + 2) * evidence.geometry.voxel_ml
    slivers = certain_slivers(seeds, evidence, options.cores)
    kept = [k for k in range(1, count + 2) if sizes[k] >= options.least_instance_ml or k in slivers]
    renumber = np.zeros(count + 2, np.int16)
    renumber[kept] = np.arange(1, len(kept) + 1)
    labels = renumber[labels]
    boxes = ndimage.find_objects(labels)
    items = tuple(
        _describe(number, labels, boxes[number - 1], evidence, is_sacrum=k == count + 1)
        for number, k in enumerate(kept, start=1)
    )
    return Instances(labels, items)


def with_cut_sides(instances: Instances, numbers: Volume, view: FieldOfView) -> Instances:
    """Return the instances with the sides that cut what is painted of them.

    Whoever reads the labels later finds the same sides: both ask the same voxels.

    Args:
        instances: The vertebrae.
        numbers: Number of the instance of each voxel on the grid of the data; those that are not
            painted keep their sides.
        view: Where the image holds data.
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


def _sacrum(evidence: Evidence, bone: np.ndarray, options: InstanceOptions) -> np.ndarray:
    """Return the sacrum's mask: it has no core, its level tells it."""
    likely = pooled_level(evidence, SACRUM)
    # Against the level above it, because levels are learned spread over their neighbours.
    mask = bone & (likely > pooled_level(evidence, SACRUM - 1)) & (likely > LEAST_SACRUM)
    pieces, count = ndimage.label(mask)
    if not count:
        return mask
    sizes = ndimage.sum_labels(mask, pieces, np.arange(1, count + 1))
    if sizes.max() * evidence.geometry.voxel_ml < 4 * options.least_instance_ml:
        return np.zeros_like(mask)
    return pieces == int(sizes.argmax()) + 1


def join_first_sacral_body(labels: np.ndarray, last: int) -> None:
    """Give a core within the sacrum back to it, in place.

    Its first segment looks like a body from the front. What grows from there ends where the
    sacrum's own level begins and stays a fraction of a vertebra, which no L5 or L6 is.

    Args:
        labels: Number of the vertebra of each voxel; the sacrum comes after the last one.
        last: Number of the last vertebra.
    """
    sizes = np.bincount(labels.ravel(), minlength=last + 2)
    if last >= 2 and sizes[last] < LEAST_OF_NEIGHBOUR * sizes[last - 1]:
        labels[labels == last] = last + 1


def rejoin(
    labels: np.ndarray, bone: np.ndarray, spacing_mm: tuple[float, float, float], reach_mm: float
) -> None:
    """Give loose pieces of bone to the vertebra they lie close to, in place."""
    loose = bone & (labels == 0)
    if not loose.any() or not labels.any():
        return
    scale = np.asarray(spacing_mm)
    kept, apart = np.argwhere(labels > 0), np.argwhere(loose)
    distance_mm, nearest = cKDTree(kept * scale).query(apart * scale)
    pieces, count = ndimage.label(loose)
    of_piece = pieces[loose]
    gaps_mm = np.full(count + 1, np.inf)
    np.minimum.at(gaps_mm, of_piece, distance_mm)
    close = (gaps_mm <= reach_mm)[of_piece]
    labels[tuple(apart[close].T)] = labels[tuple(kept[nearest[close]].T)]


def pooled_level(evidence: Evidence, place: int) -> np.ndarray:
    """Return the probability of a level given bone, from both networks, float32 (z, y, x)."""
    fine, coarse = evidence.levels[place], evidence.coarse_levels[place]
    return FINE_SHARE * fine.astype(np.float32) + (1 - FINE_SHARE) * coarse.astype(np.float32)


def expected_level(
    evidence: Evidence, bone: np.ndarray, fine_share: float = FINE_SHARE
) -> np.ndarray:
    """Return the mean of the level's place from head to tail, 0 outside bone, float32 (z, y, x)."""
    mean = np.zeros(int(bone.sum()), np.float32)
    for place in range(1, len(NETWORK_LEVELS)):
        fine, coarse = evidence.levels[place][bone], evidence.coarse_levels[place][bone]
        mean += place * (fine_share * fine.astype(np.float32))
        mean += place * ((1 - fine_share) * coarse.astype(np.float32))
    out = np.zeros(bone.shape, np.float32)
    out[bone] = mean
    return out


def _describe(
    number: int,
    labels: np.ndarray,
    box: tuple[slice, slice, slice],
    evidence: Evidence,
    *,
    is_sacrum: bool,
) -> Instance:
    mask = labels[box] == number
    voxels = np.argwhere(mask) + [s.start for s in box]
    centroid = evidence.geometry.to_lps_mm(voxels.mean(axis=0))
    fine = evidence.levels[(slice(None), *box)][:, mask].astype(np.float32).mean(axis=1)
    coarse = evidence.coarse_levels[(slice(None), *box)][:, mask].astype(np.float32).mean(axis=1)
    return Instance(
        id=number,
        centroid_lps_mm=tuple(map(float, centroid)),
        volume_ml=len(voxels) * evidence.geometry.voxel_ml,
        evidence=tuple(map(float, FINE_SHARE * fine + (1 - FINE_SHARE) * coarse)),
        is_sacrum=is_sacrum,
        cut_sides=cut_sides(voxels, evidence.geometry, evidence.field_of_view),
    )
