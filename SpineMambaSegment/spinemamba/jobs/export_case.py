"""Export an image and its corrected labels as a training case."""

from __future__ import annotations

import numpy as np

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.atomic_files import all_or_none, check_place
from spinemamba.common.errors import UserError
from spinemamba.common.progress import Progress, ignore
from spinemamba.imaging.intensity import hounsfield_problem
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.jobs.outputs import refuse_overwriting_inputs
from spinemamba.protocol.job import CaseJob


def write_case(job: CaseJob, progress: Progress = ignore) -> None:
    """Write all files of a training case, or none.

    Args:
        job: Input and output files; missing folders are created.
        progress: Called a few times; may stop the work by raising `Cancelled`.

    Raises:
        UserError: If the case is not suitable for training (INPUT_BAD), or cannot be written
            (OUTPUT_BAD, DISK_FULL).
    """
    refuse_overwriting_inputs(job)
    for path in job.outputs:
        check_place(path, overwrite=job.overwrite)
    progress("read", 0.0)
    image, labels = read_volume(job.input), read_labels(job.labels)
    _check(image, labels)
    progress("read", 1.0)
    with all_or_none(job.outputs, overwrite=job.overwrite) as partial:
        progress("write", 0.0)
        write_image(image, partial[job.image])
        progress("write", 0.8)
        label_values = image.with_array(labels.array.astype(np.uint8))
        write_image(label_values, partial[job.output])
        partial[job.log_copy].write_bytes(job.log.read_bytes())
        progress("write", 1.0)


def _check(image: Volume, labels: Volume) -> None:
    """Refuse a case that `training.data.read_dataset` would refuse later.

    Raises:
        UserError: If the image is not a CT, or the labels have another grid, unknown values or no
            vertebra.
    """
    if difference := image.geometry.difference(labels.geometry):
        raise UserError(
            f"Labels and image have different grids: {difference}.",
            "Export the case again from the panel.",
        )
    present = set(np.unique(labels.array).tolist()) - {0}
    if unknown := sorted(present - set(BY_VALUE)):
        raise UserError(f"The labels have unknown values: {unknown}.", "Name every vertebra.")
    if not present:
        raise UserError("The labels contain no vertebra.", "Segment or paint a vertebra first.")
    if problem := hounsfield_problem(image):
        raise UserError(
            f"{problem} Training reads only CT in Hounsfield units.", "Export CT cases only."
        )
