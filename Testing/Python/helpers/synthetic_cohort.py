"""The output folder of a cohort, made from analytic spines without networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from synthetic_dicom import INTERCEPT, write_series
from synthetic_labels import result_of, spine

from spinemamba.cohort.state import hash_of
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.jobs.cohort_case import CohortCase
from spinemamba.protocol.cohort import CASES, Fingerprint
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.job import DICOM_SEG, CohortJob
from spinemamba.protocol.result import LabelingResult

NAMES = ("T11", "T12", "L1", "L2")
OTHER = ("T10", "T11", "T12", "L1")
"""Names of each run, and the other naming that it finds likely."""

_SHA = "0" * 64


def write_cohort(
    folder: Path, doubts: Sequence[float], also: Sequence[str] = (), *, measurements: bool = False
) -> Path:
    """Write images and results; return the output folder.

    Args:
        folder: Folder for ``in`` and ``out``.
        doubts: Doubt of each case; the cases are called case-00 and so on.
        also: Further outputs, of `job.COHORT_EXTRAS`. The images are DICOM series if it has a
            DICOM SEG.
        measurements: Whether to measure.
    """
    (folder / "in").mkdir()
    labels = spine(*NAMES)
    result = result_of(labels, NAMES)
    noise = np.random.default_rng(0).integers(-60, 60, labels.array.shape)
    image = labels.with_array((noise + 500 * (labels.array > 0)).astype(np.int16))
    for k, doubt in enumerate(doubts):
        name = f"case-{k:02d}"
        path = folder / "in" / (name if DICOM_SEG in also else f"{name}.nii.gz")
        if DICOM_SEG in also:
            _write_series(image, path)
        else:
            write_image(image, path)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        fingerprint = Fingerprint(hash_of(files), _SHA, _SHA)
        flags = (Flag("two_in_one", 0.9, "Perhaps two vertebrae."),) if k % 3 == 0 else ()
        first, *rest = result.instances
        done = replace(
            result,
            run_id=fingerprint.run_id,
            instances=(replace(first, flags=flags), *rest),
            labelings=(LabelingResult(NAMES, 1 - doubt), LabelingResult(OTHER, doubt)),
            ambiguous=doubt > 0.1,
        )
        out = folder / "out" / CASES / name
        out.parent.mkdir(parents=True, exist_ok=True)
        job = CohortJob(
            files[0],
            out,
            case=name,
            source=path.name,
            fingerprint=fingerprint,
            measurements=measurements,
            also=tuple(also),
        )
        CohortCase.of(job, image, SimpleNamespace(labels=labels, result=done)).write()
    return folder / "out"


def _write_series(image: Volume, folder: Path) -> None:
    """Write a CT with slices across the first axis as a DICOM series."""
    step_mm, *pixel_mm = image.spacing_mm

    def place(k: int, data: Any) -> None:
        data.PixelSpacing, data.SliceThickness = pixel_mm, step_mm
        data.ImagePositionPatient = image.geometry.to_lps_mm(np.array([k, 0, 0])).tolist()

    write_series(folder, (image.array - INTERCEPT).astype(np.uint16), place)
