"""Crops of real label maps."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from spinemamba.imaging.resample import crop_geometry
from spinemamba.imaging.volume import Volume


def cropped_to_labels(labels: Volume) -> Volume:
    """Return the smallest box of a label map that holds all labels."""
    box = ndimage.find_objects((labels.array > 0).astype(np.uint8))[0]
    return Volume(np.ascontiguousarray(labels.array[box]), crop_geometry(labels.geometry, box))
