"""The output folder of a cohort, made from analytic spines without networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from synthetic_labels import result_of, spine

from spinemamba.cohort.state import hash_of
from spinemamba.imaging.write import write_image
from spinemamba.jobs.cohort_case import CohortCase
from spinemamba.protocol.cohort import CASES, Fingerprint
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.job import CohortJob
from spinemamba.protocol.result import LabelingResult

NAMES = ("T11", "T12", "L1", "L2")
OTHER = ("T10", "T11", "T12", "L1")
"""Names of each run, and the other naming that it finds likely."""

_SHA = "0" * 64


def write_cohort(folder: Path, doubts: Sequence[float]) -> Path:
    """Write images and results; return the output folder.

    Args:
        folder: Folder for ``in`` and ``out``.
        doubts: Doubt of each case; the cases are called case-00 and so on.
    """
    (folder / "in").mkdir()
    labels = spine(*NAMES)
    result = result_of(labels, NAMES)
    noise = np.random.default_rng(0).integers(-60, 60, labels.array.shape)
    image = labels.with_array((noise + 500 * (labels.array > 0)).astype(np.int16))
    for k, doubt in enumerate(doubts):
        name = f"case-{k:02d}"
        path = folder / "in" / f"{name}.nii.gz"
        write_image(image, path)
        fingerprint = Fingerprint(hash_of([path]), _SHA, _SHA)
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
            path, out, case=name, source=path.name, fingerprint=fingerprint, measurements=False
        )
        CohortCase.of(job, image, SimpleNamespace(labels=labels, result=done)).write()
    return folder / "out"
