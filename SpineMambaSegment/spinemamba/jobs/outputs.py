"""Checks of the output paths of a job, before the work starts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

from spinemamba.common.atomic_files import check_place
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.write import check_output
from spinemamba.protocol.job import FileJob


def check_outputs(job: FileJob) -> None:
    """Check that no output is an input, and that all can be written.

    Raises:
        UserError: As `refuse_overwriting`, `imaging.write.check_output` (``job.output``, an image)
            and `atomic_files.check_place` (other outputs).
    """
    refuse_overwriting_inputs(job)
    check_output(job.output, overwrite=job.overwrite)
    for path in job.outputs:
        if path != job.output:
            check_place(path, overwrite=job.overwrite)


def refuse_overwriting_inputs(job: FileJob) -> None:
    """Check that no output of a job is one of its inputs; see `refuse_overwriting`."""
    refuse_overwriting(job.outputs, job.inputs)


def refuse_overwriting(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Check that no output is an input.

    Raises:
        UserError: If an output is an input (OUTPUT_BAD).
    """
    for path, source in itertools.product(outputs, inputs):
        both = path.exists() and source.exists()
        if path.absolute() == source.absolute() or (both and path.samefile(source)):
            raise UserError(
                f"{path.name} is the input; it would be overwritten.",
                "Choose another name for the output.",
                Code.OUTPUT_BAD,
            )
