"""One measuring from file to file: what the worker and the shell both do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spinemamba.image_io import read_labels, read_volume
from spinemamba.intensity import guess_modality
from spinemamba.job import MeasureJob
from spinemamba.measure.files import write_json
from spinemamba.measure.page import write_page
from spinemamba.measure.record import Measurements
from spinemamba.measure.spine import Progress, measure
from spinemamba.output import check_place
from spinemamba.progress import MEASURE, ignore
from spinemamba.progress import Progress as StageProgress
from spinemamba.result import Result, read_result
from spinemamba.run import all_or_none, spare_inputs
from spinemamba.truncation import data_values
from spinemamba.volume import Volume

MEASURED = 0.8
"""Share of the work that is done when the numbers are there, and the page is still to draw."""


@dataclass(frozen=True)
class Study:
    """What was measured, and of what; image and result are None if they were not given."""

    measured: Measurements
    labels: Volume
    image: Volume | None
    result: Result | None


def study(
    labels: Path, image: Path | None, run: Path | None, modality: str, progress: Progress
) -> Study:
    """Read files and measure.

    Args:
        labels: Label image.
        image: What was segmented, with the same voxels; None for none.
        run: result.json of the run that made the labels; None if none is known.
        modality: One of `job.MODALITIES`, of the image.
        progress: As for `spine.measure`.

    Raises:
        UserError: For everything that the user can put right.
    """
    result = read_result(run) if run else None
    voxels = read_labels(labels)
    grey = read_volume(image) if image else None
    if modality == "auto" and grey is not None:
        modality = result.modality if result else guess_modality(data_values(grey))
    modality = modality if grey is not None else ""
    cuts = {} if result is None else {item.name: item.cut_sides for item in result.instances}
    measured = measure(voxels, grey, modality, progress, cuts)
    return Study(measured, voxels, grey, result)


def run_measure(job: MeasureJob, progress: StageProgress = ignore) -> None:
    """Measure and write; all files or none.

    Args:
        job: What is read, and where it goes.
        progress: Called often; may stop the work by raising `Cancelled`.

    Raises:
        UserError: For everything that the user can put right.
    """
    spare_inputs(job)
    for path in job.outputs:
        check_place(path)
    progress(MEASURE, 0.0)
    share = MEASURED if job.page else 1.0

    def tell(name: str, fraction: float) -> None:
        progress(MEASURE, share * fraction)

    done = study(job.input, job.image, job.run, job.modality, tell)
    with all_or_none(list(job.outputs)) as partial:
        write_json(done.measured, partial[job.output])
        if job.page:
            write_page(done.measured, (done.image, done.labels), done.result, partial[job.page])
    progress(MEASURE, 1.0)
