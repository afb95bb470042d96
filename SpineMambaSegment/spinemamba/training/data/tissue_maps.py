"""Tissue maps around label maps without an image."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.imaging.volume import Volume
from spinemamba.phantom import Tissue


def tissues_around(labels: Volume) -> Volume:
    """Return a tissue map for a mask without an image: bone, canal, muscle and fat.

    Bone is cortical to a depth of 1.2 mm. The canal is background that bone encloses in an axial
    slice. Muscle extends to 25 mm from bone, surrounded by fat.
    """
    bone = labels.array > 0
    depth_mm = ndimage.distance_transform_edt(bone, labels.spacing_mm)
    outside_mm = ndimage.distance_transform_edt(~bone, labels.spacing_mm)
    tissues = np.where(outside_mm < 25, Tissue.MUSCLE, Tissue.FAT).astype(np.uint8)
    for k in range(bone.shape[0]):
        enclosed = ndimage.binary_fill_holes(bone[k]) & ~bone[k]
        tissues[k][enclosed] = Tissue.CANAL
    tissues[_between_bodies(labels)] = Tissue.DISC
    tissues[bone] = Tissue.TRABECULAR
    tissues[bone & (depth_mm < 1.2)] = Tissue.CORTICAL
    return labels.with_array(tissues)


def _between_bodies(labels: Volume) -> np.ndarray:
    """Return a mask of the discs: the gaps that a closing of the thick parts of bone fills."""
    bone = (labels.array > 0) & (labels.array != BY_NAME["Sacrum"].value)
    depth_mm = ndimage.distance_transform_edt(bone, labels.spacing_mm)
    grown = ndimage.distance_transform_edt(depth_mm < 5, labels.spacing_mm) < 9
    closed = ndimage.distance_transform_edt(grown, labels.spacing_mm) > 6
    return closed & ~bone
