"""A small CT series with a block of bone, for the threshold of `fake_method`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from synthetic_dicom import INTERCEPT, put, write_series

STUDY, SERIES = "1.2.826.0.1.3680043.8.498.71", "1.2.826.0.1.3680043.8.498.72"
NAME = "Phantom^Patient"
BONE_HU, SIZE = 600, 20


def write_phantom(
    folder: Path, series: str = SERIES, *, bone: bool = True, **values: object
) -> int:
    """Write the series; return its number of bone voxels.

    Args:
        folder: Created.
        series: SeriesInstanceUID.
        bone: Whether there is a block of bone.
        values: Further attributes of every slice, by keyword.
    """
    hu = np.random.default_rng(3).integers(-100, 100, (SIZE, SIZE, SIZE + 4))
    # Asymmetric along each axis, so that a flip would be seen.
    block = np.zeros(hu.shape, bool)
    block[3:12, 5:14, 6:19] = True
    block[3:6, 5:8, 6:10] = False
    if bone:
        hu[block] = BONE_HU
    edit = put(StudyInstanceUID=STUDY, PatientName=NAME, PatientID="PHANTOM-7", **values)
    write_series(folder, (hu - INTERCEPT).astype(np.uint16), edit, series)
    return int(block.sum())
