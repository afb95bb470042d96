"""A worker that knows the truth: it answers a box with the vertebra that lies there.

Stands in for a better model than the bundled one: ``TRUTH`` names a label image of the volume. A
run over the whole image makes the faults of `faulty_spine`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from faulty_spine import planted, result_of

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.atomic_files import all_or_none
from spinemamba.common.progress import STAGES
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.protocol.job import ResegmentJob, SegmentJob
from spinemamba.protocol.vertebra_result import VertebraResult
from spinemamba.worker import main


def run(job: ResegmentJob | SegmentJob, progress: Callable[[str, float], None], warn: Any) -> None:
    """Answer a box or a whole image."""
    if isinstance(job, ResegmentJob):
        _answer_box(job, progress)
    else:
        _answer_image(job, progress)


def _answer_image(job: SegmentJob, progress: Callable[[str, float], None]) -> None:
    """Write the truth with the planted faults; pauses are for pictures of the progress."""
    for stage in STAGES:
        progress(stage, 0.5)
        time.sleep(float(os.environ.get("PAUSE_S", "0")))
    truth = _truth()
    labels = planted(truth.array)
    with all_or_none(list(job.outputs)) as partial:
        write_image(Volume(labels, truth.geometry), partial[job.output])
        result_of(labels, truth.geometry).write(partial[job.result])


def _answer_box(job: ResegmentJob, progress: Callable[[str, float], None]) -> None:
    """Paint the vertebra of the truth at the place of the job, without what others keep."""
    image, there, truth = read_volume(job.input), read_labels(job.labels), _truth()
    progress("read", 1.0)
    place = truth.geometry.to_index_zyx(np.array([job.point_lps_mm]))[0].round().astype(int)
    # The box is a part of the volume.
    first = truth.geometry.to_index_zyx(np.array([image.geometry.origin_lps_mm]))[0]
    corner = first.round().astype(int)
    box = tuple(slice(f, f + n) for f, n in zip(corner, image.array.shape, strict=True))
    mask = truth.array[box] == truth.array[tuple(place)]
    mask &= ~np.isin(there.array, job.locked_labels)
    result = VertebraResult(
        replaced_label=0, point_lps_mm=job.point_lps_mm, centroid_lps_mm=job.point_lps_mm,
        volume_ml=float(mask.sum()) * image.geometry.voxel_ml,
        level_probabilities=(1 / len(NETWORK_LEVELS),) * len(NETWORK_LEVELS), cut_sides=(),
        dice_before=None, seeded=False, model_name="truth", model_version="1", model_hash="",
        package_version="0", device="cpu", modality="ct",
    )  # fmt: skip
    with all_or_none(list(job.outputs)) as partial:
        write_image(Volume(mask.astype(np.uint8), image.geometry), partial[job.output])
        result.write(partial[job.result])


def _truth() -> Volume:
    from pathlib import Path

    return read_labels(Path(os.environ["TRUTH"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[3:], run=run))
