"""Jobs that measure, compare, divide or plan a label image. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from spinemamba.common.json_schema import Limits
from spinemamba.protocol.label_jobs.file_job import MODALITIES, FileJob


@dataclass(frozen=True)
class MeasureJob(FileJob):
    """Measure the label image ``input``; ``output`` is a `measurements.Measurements`.

    Attributes:
        image: Segmented image on the grid of ``input``, or None.
        modality: Modality of the image, one of `MODALITIES`.
        run: result.json of the run that made the labels, for the report; or None.
        page: HTML report to write, or None.
        calibration: Line from Hounsfield units to densities, as `measure.calibration` reads it; or
            None.
        hips_lps_mm: Centres of both femoral heads; empty if unknown.
    """

    KIND: ClassVar[str] = "measure"

    image: Path | None = None
    modality: Annotated[str, Limits(choices=MODALITIES)] = "auto"
    run: Path | None = None
    page: Path | None = None
    calibration: Path | None = None
    hips_lps_mm: tuple[tuple[float, float, float], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        numbers = [value for point in self.hips_lps_mm for value in point]
        if len(self.hips_lps_mm) not in (0, 2) or not all(map(math.isfinite, numbers)):
            raise ValueError(f"hips_lps_mm must be two points or none, got {self.hips_lps_mm}")

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files to read."""
        optional = (self.image, self.run, self.calibration)
        return (self.input, *(path for path in optional if path is not None))

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return (*super().outputs, *((self.page,) if self.page else ()))


@dataclass(frozen=True)
class FollowUpJob(FileJob):
    """Compare the label image ``input`` with an earlier one; ``output`` is a follow_up.json.

    Attributes:
        before: Earlier label image, or a result.json beside one.
        image: Image on the grid of ``input``, for densities; or None.
        before_image: Image on the grid of ``before``, or None.
        run: result.json of the run that made ``input``, or None.
        before_run: result.json of the run that made ``before``, or None.
        foreign: Whether ``before`` is a file of the user: its numbering, and the result.json beside
            it, are then found as the command line does.
        calibration: As in `MeasureJob`, for both images.
        page: HTML page to write, or None.
    """

    KIND: ClassVar[str] = "follow-up"

    before: Path = field(kw_only=True)
    image: Path | None = None
    before_image: Path | None = None
    run: Path | None = None
    before_run: Path | None = None
    foreign: bool = False
    calibration: Path | None = None
    page: Path | None = None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files to read."""
        optional = (self.image, self.before_image, self.run, self.before_run, self.calibration)
        return (self.input, self.before, *(path for path in optional if path is not None))

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return (*super().outputs, *((self.page,) if self.page else ()))


@dataclass(frozen=True)
class PartsJob(FileJob):
    """Divide the vertebrae of the label image ``input`` into parts; ``output`` is a label image.

    Attributes:
        run: result.json of the run that made the labels, for the sides at which the image cuts
            vertebrae; or None.
    """

    KIND: ClassVar[str] = "parts"

    run: Path | None = None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files to read."""
        return (self.input, *((self.run,) if self.run else ()))


@dataclass(frozen=True)
class PlanJob(FileJob):
    """Plan the label image ``input``; ``output`` is a `planning.plan.Plan`.

    Attributes:
        image: Segmented image on the grid of ``input``, or None.
        modality: Modality of the image, one of `MODALITIES`.
        screws: Table of screws, or None for the default.
        bones: File for the vertebrae, against which lines are tested later; or None.
    """

    KIND: ClassVar[str] = "plan"

    image: Path | None = None
    modality: Annotated[str, Limits(choices=MODALITIES)] = "auto"
    screws: Path | None = None
    bones: Path | None = None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files to read."""
        return (self.input, *(path for path in (self.image, self.screws) if path is not None))

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return (*super().outputs, *((self.bones,) if self.bones else ()))
