"""The outline of one vertebra in a box, where its neighbours are there already.

A vertebra that is there has all that is its own. So what is left of the bone is the new one's, but
for a rim: the network and whoever drew the neighbours do not agree to a voxel on where those end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.segmentation import expand_labels

from spinemamba.box_learn import Hints, learned_bone
from spinemamba.evidence import Evidence
from spinemamba.resample import crop_geometry, resample_box
from spinemamba.restore import BONE_THRESHOLD, RIM_VOX, box_in
from spinemamba.volume import Volume

OWN, OTHER, FIRM = 1, 2, 3
"""Parts of the bone in a box: the vertebra's that is wanted, that of others of which nothing is
known, and that of neighbours which are there."""

RIM_MM = 1.5
"""One fine voxel: bone this close to a neighbour that is there may be its own."""

TAUGHT_MM = 5.0
"""Voxels this close to an outline teach where it runs."""

ROOM_MM = 18.0
"""Around the vertebra: the outlines that teach."""


@dataclass(frozen=True)
class _View:
    """A part of the image at its own voxels, all (z, y, x).

    Attributes:
        hints: Image and probability of bone.
        firm: Voxels of neighbours that are there, bool.
        other: Voxels that are nearer to a vertebra of which nothing is known, bool.
    """

    hints: Hints
    firm: np.ndarray
    other: np.ndarray

    def cut(self, box: tuple[slice, ...]) -> _View:
        """Return a part of it."""
        hints = Hints(self.hints.image[box], self.hints.bone[box], self.hints.spacing_mm)
        return _View(hints, self.firm[box], self.other[box])

    def far_mm(self, mask: np.ndarray) -> np.ndarray:
        """Return how far each voxel is from a mask that is not empty."""
        return ndimage.distance_transform_edt(~mask, self.hints.spacing_mm)


def outline(normal: Volume, evidence: Evidence, parts: np.ndarray, firm: np.ndarray) -> np.ndarray:
    """Return where the vertebra is, bool, on the voxels of an image.

    Args:
        normal: The normalised image, canonical orientation.
        evidence: What the fine network says.
        parts: `OWN`, `OTHER` or `FIRM` where there is bone, 0 elsewhere, on the evidence's grid.
        firm: Voxels of the image that neighbours hold for certain.
    """
    mask = np.zeros(normal.array.shape, bool)
    window = box_in(evidence.geometry, normal.geometry)
    if window is None:
        return mask
    view = _view(normal, evidence, parts, window, firm)
    own = _left_over(view, view.hints.bone)
    if not own.any():
        return mask
    if firm.any():
        near = _around(own, view.hints.spacing_mm)
        part = view.cut(near)
        own[near] = _left_over(part, _taught(part, own[near]))
    mask[window] = own
    return mask


def _view(
    normal: Volume,
    evidence: Evidence,
    parts: np.ndarray,
    window: tuple[slice, slice, slice],
    firm: np.ndarray,
) -> _View:
    grown = expand_labels(parts, RIM_VOX)
    stack = np.stack([evidence.bone, grown == OTHER, (grown == OWN) | (grown == FIRM)])
    target = crop_geometry(normal.geometry, window)
    bone, other, own = resample_box(stack, evidence.geometry, target)
    hints = Hints(normal.array[window], bone, normal.spacing_mm)
    return _View(hints, firm[window], other > own)


def _left_over(view: _View, bone: np.ndarray) -> np.ndarray:
    """Return the largest piece of bone that is nobody else's."""
    free = (bone > BONE_THRESHOLD) & ~view.firm & ~view.other
    if not view.firm.any():
        return largest(free)
    sure = largest(free & (view.far_mm(view.firm) > RIM_MM))
    if not sure.any():
        return sure
    reach_mm = RIM_MM + 0.5 * min(view.hints.spacing_mm)
    return largest(free & (view.far_mm(sure) <= reach_mm))


def _taught(view: _View, own: np.ndarray) -> np.ndarray:
    """Return the probability of bone as the neighbours' outlines teach it."""
    from_own_mm, from_firm_mm = view.far_mm(own), view.far_mm(view.firm)
    deep = ndimage.distance_transform_edt(view.firm, view.hints.spacing_mm) > TAUGHT_MM
    taught = (
        (from_firm_mm < TAUGHT_MM) & ~deep & ~view.other & (from_own_mm > from_firm_mm + RIM_MM)
    )
    return learned_bone(view.hints, view.firm, taught, from_own_mm < TAUGHT_MM)


def _around(mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> tuple[slice, ...]:
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    rooms = [round(ROOM_MM / step) for step in spacing_mm]
    return tuple(
        slice(max(0, s.start - room), min(n, s.stop + room))
        for s, room, n in zip(box, rooms, mask.shape, strict=True)
    )


def largest(mask: np.ndarray) -> np.ndarray:
    """Return the largest piece of a mask."""
    pieces, count = ndimage.label(mask)
    if count < 2:
        return mask
    return pieces == int(np.bincount(pieces.ravel())[1:].argmax()) + 1
