"""Segments of a DICOM SEG as dcmqi reads them: `segimage2itkimage`, of the package `dcmqi`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spinemamba.imaging.read import read_labels
from spinemamba.imaging.volume import Geometry

_PROGRAM = "segimage2itkimage"
_TOLERANCE_VOX = 0.02
"""Decimal strings of DICOM round positions."""


def segments_by_dcmqi(seg: Path, folder: Path, grid: Geometry) -> dict[str, np.ndarray]:
    """Return the mask of each segment on a grid, (z, y, x), by label; skip without dcmqi.

    Args:
        seg: DICOM SEG.
        folder: Folder for the files of dcmqi, which must not exist.
        grid: Grid of the masks; every voxel that dcmqi reads must be one of it.
    """
    folder.mkdir()
    words = ["--inputDICOM", str(seg), "--outputDirectory", str(folder), "-t", "nrrd"]
    done = subprocess.run([_program(), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # dcmqi reports what violates the standard as a warning or an error of DCMTK.
    assert not [line for line in done.stderr.splitlines() if line[:2] in ("W:", "E:")], done.stderr
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    found = {}
    for number, group in enumerate(meta["segmentAttributes"], 1):
        labels = read_labels(folder / f"{number}.nrrd")
        for segment in group:
            index = np.argwhere(labels.array == segment["labelID"])
            place = grid.to_index_zyx(labels.geometry.to_lps_mm(index))
            voxels = np.rint(place).astype(int)
            assert np.abs(place - voxels).max(initial=0) <= _TOLERANCE_VOX
            assert (voxels >= 0).all()
            assert (voxels < grid.shape).all()
            mask = np.zeros(grid.shape, bool)
            mask[tuple(voxels.T)] = True
            assert mask.sum() == len(index)
            found[segment["SegmentLabel"]] = mask
    return found


def _program() -> str:
    """Return the path of the program, beside Python or on the path; skip if it is missing."""
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which(_PROGRAM, path=beside)
    if program is None:
        pytest.skip(f"{_PROGRAM} is missing: install the package dcmqi")
    return program
