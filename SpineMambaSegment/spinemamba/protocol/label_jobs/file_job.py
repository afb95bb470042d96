"""Base of all jobs of the worker. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from spinemamba.common.json_schema import check_limits
from spinemamba.common.scratch import remove_scratch_of

MODALITIES = ("auto", "ct", "mr")


@dataclass(frozen=True)
class FileJob:
    """Base of all jobs: input and output files.

    Attributes:
        input: Image file, or folder with a DICOM series.
        output: Label file to write; its suffix decides the format.
        result: JSON file to write, or None.
        overwrite: Whether existing outputs may be replaced.
    """

    KIND: ClassVar[str]

    input: Path
    output: Path
    result: Path | None = None
    overwrite: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_limits(self)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files to read."""
        return (self.input,)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return tuple(p for p in (self.output, self.result) if p is not None)

    def remove_partial(self, pid: int) -> None:
        """Delete partial files that a process left beside the outputs; see `scratch`."""
        for folder in {path.absolute().parent for path in self.outputs}:
            remove_scratch_of(pid, folder)
