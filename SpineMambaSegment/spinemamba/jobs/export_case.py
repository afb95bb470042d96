"""An image and its corrected labels as a case to train on: all files, or none."""

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
from spinemamba.jobs.outputs import spare_inputs
from spinemamba.protocol.job import CaseJob


def write_case(job: CaseJob, progress: Progress = ignore) -> None:
    """Write the files of a case; older ones of the same name are replaced together if allowed.

    Args:
        job: What is read, and where it goes; folders are made.
        progress: Called now and then; may stop the work by raising `Cancelled`.

    Raises:
        UserError: If the case could not be trained on (INPUT_BAD), or not be written
            (OUTPUT_BAD, DISK_FULL).
    """
    spare_inputs(job)
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
        small = image.with_array(labels.array.astype(np.uint8))
        write_image(small, partial[job.output])
        partial[job.log_copy].write_bytes(job.log.read_bytes())
        progress("write", 1.0)


def _check(image: Volume, labels: Volume) -> None:
    """Refuse what `training.own.check_cases` would refuse later.

    Raises:
        UserError: If the image is no CT, or the labels do not fit or hold no vertebra.
    """
    if difference := image.geometry.difference(labels.geometry):
        raise UserError(
            f"The labels do not lie on the voxels of the image: {difference}.",
            "Export the case again from the panel.",
        )
    present = set(np.unique(labels.array).tolist()) - {0}
    if unknown := sorted(present - set(BY_VALUE)):
        raise UserError(f"The labels hold the unknown values {unknown}.", "Name every vertebra.")
    if not present:
        raise UserError("The labels hold no vertebra.", "Segment or paint a vertebra first.")
    if problem := hounsfield_problem(image):
        raise UserError(
            f"{problem} Training reads only CT in Hounsfield units.", "Export cases of CT only."
        )
