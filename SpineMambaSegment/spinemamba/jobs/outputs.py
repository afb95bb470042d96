"""Outputs of a job: tried before the work, never an input."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.common.atomic_files import check_place
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.write import check_output
from spinemamba.protocol.job import FileJob

if TYPE_CHECKING:
    pass


def check_outputs(job: FileJob) -> None:
    """Refuse outputs that are inputs, or could not be written, before the work.

    Raises:
        UserError: As `spare_inputs`, `output.check_output` for the first output, which is an image,
            and `files.check_place` for the others.
    """
    spare_inputs(job)
    check_output(job.output, overwrite=job.overwrite)
    for path in job.outputs:
        if path != job.output:
            check_place(path, overwrite=job.overwrite)


def spare_inputs(job: FileJob) -> None:
    """Refuse to write over what is read; as `spare`."""
    spare(job.outputs, job.inputs)


def spare(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over what is read.

    Raises:
        UserError: If an output is an input (OUTPUT_BAD).
    """
    for path, read in itertools.product(outputs, inputs):
        both = path.exists() and read.exists()
        if path.absolute() == read.absolute() or (both and path.samefile(read)):
            raise UserError(
                f"{path.name} is the input; it would be overwritten.",
                "Choose another name for the output.",
                Code.OUTPUT_BAD,
            )
