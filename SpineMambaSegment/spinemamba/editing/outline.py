"""The outline of one vertebra in a box, where its neighbours are there already.

A vertebra that is there has all that is its own. So what is left of the bone is the new one's, but
for a rim: the network and whoever drew the neighbours do not agree to a voxel on where those end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.editing.edge_model import Hints, learned_bone
from spinemamba.imaging.masks import grow_labels, without_islands
from spinemamba.imaging.resample import crop_geometry, resample_box
from spinemamba.imaging.volume import Volume
from spinemamba.inference.voxel_predictions import Evidence
from spinemamba.instances.to_input_grid import BONE_THRESHOLD, RIM_VOX, box_in

OWN, OTHER, FIRM = 1, 2, 3
"""Parts of the bone in a box: the vertebra's that is wanted, that of others of which nothing is
known, and that of neighbours which are there."""

RIM_MM = 1.5
"""One fine voxel: bone this close to a neighbour that is there may be its own."""

TAUGHT_MM = 5.0
"""Voxels this close to an outline teach where it runs."""

GAP_MM = 6.0
"""No joint is wider."""

ROOM_MM = 18.0
"""Around the vertebra: the outlines that teach."""


@dataclass(frozen=True)
class _View:
    """A part of the image at its own voxels, all (z, y, x).

    Attributes:
        image: Normalised values.
        bone: Probability of bone.
        there: Values of the neighbours that are there.
        other: Voxels that are nearer to a vertebra of which nothing is known, bool.
        spacing_mm: Voxel size.
    """

    image: np.ndarray
    bone: np.ndarray
    there: np.ndarray
    other: np.ndarray
    spacing_mm: tuple[float, float, float]

    def cut(self, box: tuple[slice, ...]) -> _View:
        """Return a part of it."""
        arrays = (self.image, self.bone, self.there, self.other)
        return _View(*(array[box] for array in arrays), self.spacing_mm)

    @property
    def firm(self) -> np.ndarray:
        """Voxels of neighbours that are there, bool."""
        return self.there > 0

    def far_mm(self, mask: np.ndarray) -> np.ndarray:
        """Return how far each voxel is from a mask that is not empty."""
        return ndimage.distance_transform_edt(~mask, self.spacing_mm)


def outline(normal: Volume, evidence: Evidence, parts: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return where the vertebra is, bool, on the voxels of an image.

    Args:
        normal: The normalised image, canonical orientation.
        evidence: What the fine network says.
        parts: `OWN`, `OTHER` or `FIRM` where there is bone, 0 elsewhere, on the evidence's grid.
        there: Values of the neighbours that are there, on the voxels of the image; 0 elsewhere.
    """
    mask = np.zeros(normal.array.shape, bool)
    window = box_in(evidence.geometry, normal.geometry)
    if window is None:
        return mask
    view = _view(normal, evidence, parts, window, there)
    own = _left_over(view, view.bone)
    if not own.any():
        return mask
    if view.firm.any():
        near = _around(own, view.spacing_mm)
        part = view.cut(near)
        own[near] = _left_over(part, _taught(part, own[near]))
    mask[window] = own
    return mask


def _view(
    normal: Volume,
    evidence: Evidence,
    parts: np.ndarray,
    window: tuple[slice, slice, slice],
    there: np.ndarray,
) -> _View:
    grown = grow_labels(parts, RIM_VOX)
    stack = np.stack([evidence.bone, grown == OTHER, (grown == OWN) | (grown == FIRM)])
    target = crop_geometry(normal.geometry, window)
    bone, other, own = resample_box(stack, evidence.geometry, target)
    return _View(normal.array[window], bone, there[window], other > own, normal.spacing_mm)


def _left_over(view: _View, bone: np.ndarray) -> np.ndarray:
    """Return the largest piece of bone that is nobody else's."""
    free = (bone > BONE_THRESHOLD) & ~view.firm & ~view.other
    if not view.firm.any():
        return without_islands(free)
    sure = without_islands(free & (view.far_mm(view.firm) > RIM_MM))
    if not sure.any():
        return sure
    reach_mm = RIM_MM + 0.5 * min(view.spacing_mm)
    return without_islands(free & (view.far_mm(sure) <= reach_mm))


def _taught(view: _View, own: np.ndarray) -> np.ndarray:
    """Return the probability of bone as the neighbours' outlines teach it."""
    from_own_mm, from_firm_mm = view.far_mm(own), view.far_mm(view.firm)
    deep = ndimage.distance_transform_edt(view.firm, view.spacing_mm) > TAUGHT_MM
    theirs = ~view.other & (from_own_mm > np.maximum(TAUGHT_MM, from_firm_mm + RIM_MM))
    taught = theirs & ~deep & (from_firm_mm < TAUGHT_MM)
    wanted = from_own_mm < TAUGHT_MM
    gap_mm = np.where(wanted, from_firm_mm, _gap_mm(view, from_own_mm)).clip(max=GAP_MM)
    hints = Hints(view.image, view.bone, gap_mm.astype(np.float32), view.spacing_mm)
    return learned_bone(hints, view.firm, taught, wanted)


def _gap_mm(view: _View, from_own_mm: np.ndarray) -> np.ndarray:
    """Return how far the second nearest vertebra is: the next one but that which teaches."""
    values = np.unique(view.there[view.firm])
    theirs_mm = (view.far_mm(view.there == value) for value in values)
    return np.sort(np.stack([from_own_mm, *theirs_mm]), axis=0)[1]


def _around(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[slice, ...]:
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    rooms = [round(ROOM_MM / step) for step in spacing_mm]
    return tuple(
        slice(max(0, s.start - room), min(n, s.stop + room))
        for s, room, n in zip(box, rooms, mask.shape, strict=True)
    )
