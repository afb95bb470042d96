"""Jobs of the worker, stored as job.json with a schema version. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from spinemamba.common.json_schema import JsonFormat, Limits
from spinemamba.common.scratch import remove_scratch_of
from spinemamba.protocol.cohort import Fingerprint
from spinemamba.protocol.label_jobs.file_job import MODALITIES, FileJob
from spinemamba.protocol.label_jobs.on_labels import FollowUpJob, MeasureJob, PartsJob, PlanJob
from spinemamba.protocol.model_card import DEFAULT
from spinemamba.protocol.result import RESULT_END

DEVICES = ("auto", "cpu", "cuda", "mps")
QUALITIES = ("standard", "fast")
PRECISIONS = ("auto", "float32", "bfloat16")
DICOM_SEG, STL, NIFTI = "dicom-seg", "stl", "nifti"
COHORT_EXTRAS = (STL, DICOM_SEG, NIFTI)
"""Further outputs of a case of a cohort: surfaces, DICOM SEG, and labels as NIfTI."""

FINE_MM = 1.5
"""Greatest voxel size of a run with fine slices: that of the fine network."""

NTH_GPU = r"cuda:\d+"


@dataclass(frozen=True, kw_only=True)
class ModelJob(FileJob):
    """Base of jobs that run a model.

    Attributes:
        model: Name of a bundled model, or folder of a model.
        device: One of `DEVICES`, or one GPU of several, for example "cuda:1".
        modality: One of `MODALITIES`.
        precision: One of `PRECISIONS`.
    """

    model: str = DEFAULT
    device: Annotated[str, Limits(choices=DEVICES, pattern=NTH_GPU)] = "auto"
    modality: Annotated[str, Limits(choices=MODALITIES)] = "auto"
    precision: Annotated[str, Limits(choices=PRECISIONS)] = "auto"


@dataclass(frozen=True)
class SegmentJob(ModelJob):
    """Segment a whole image.

    Attributes:
        picture: PNG to write, or None.
        quality: One of `QUALITIES`.
        fixed_levels: Levels fixed by the user, in the syntax of `levels.pins.parse_pin`.
        keep_pieces: Whether small loose pieces, and bone of neighbours whose body the image does
            not show, stay in the labels.
        fine_slices: Whether thick slices are subdivided; labels and result are on the finer grid.
        levels_from: Another scan of the patient with named vertebrae, in any form that
            `labelmaps.other_scan.read_other_scan` reads; or None.
        run_id: Identifier of the run; empty for a random one.
    """

    KIND: ClassVar[str] = "segment"

    picture: Path | None = None
    quality: Annotated[str, Limits(choices=QUALITIES)] = "standard"
    fixed_levels: tuple[str, ...] = ()
    keep_pieces: bool = False
    fine_slices: bool = False
    levels_from: Path | None = None
    run_id: str = ""

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files to read."""
        return (self.input, *((self.levels_from,) if self.levels_from else ()))

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return (*super().outputs, *((self.picture,) if self.picture else ()))


@dataclass(frozen=True)
class ResegmentJob(ModelJob):
    """Segment one vertebra again, or one that was missed, in a region around a point.

    ``output`` is a mask of the vertebra on the grid of ``input``; ``result`` is a
    `vertebra_result.VertebraResult`.

    Attributes:
        labels: Existing label image on the grid of ``input``, or None.
        point_lps_mm: A point in the body of the vertebra; None for the body of
            ``replaced_label``.
        replaced_label: Label value of the vertebra to segment again; 0 for a missed vertebra.
        locked_labels: Label values whose voxels must not change, because they were approved in
            review.
    """

    KIND: ClassVar[str] = "resegment"

    labels: Path | None = None
    point_lps_mm: tuple[float, float, float] | None = None
    replaced_label: int = 0
    locked_labels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        point = self.point_lps_mm
        if point is None and (not self.replaced_label or self.labels is None):
            raise ValueError("point_lps_mm is required, or labels and replaced_label")
        if point is not None and (len(point) != 3 or not all(map(math.isfinite, point))):
            raise ValueError(f"point_lps_mm must be three finite numbers, got {point}")
        if self.replaced_label in self.locked_labels:
            raise ValueError(
                f"label value {self.replaced_label} is both in locked_labels and replaced_label"
            )

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files to read."""
        return (self.input, *((self.labels,) if self.labels else ()))


@dataclass(frozen=True)
class RelabelJob(FileJob):
    """Name the vertebrae of a finished run again, without the networks.

    ``input`` is the label image of the run.

    Attributes:
        run: result.json of the run.
        fixed_levels: As in `SegmentJob`.
        levels_from: As in `SegmentJob`.
    """

    KIND: ClassVar[str] = "relabel"

    run: Path = field(kw_only=True)
    fixed_levels: tuple[str, ...] = ()
    levels_from: Path | None = None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files to read."""
        return (self.input, self.run, *((self.levels_from,) if self.levels_from else ()))


@dataclass(frozen=True)
class CaseJob(FileJob):
    """Export an image and its corrected labels as a training case; `bids` names the files.

    ``output`` is the label image.

    Attributes:
        labels: Label image with VerSe's values on the grid of ``input``.
        log: Log of the review, copied unchanged.
        image: Image file to write.
        log_copy: Copy of the log to write.
    """

    KIND: ClassVar[str] = "case"

    labels: Path = field(kw_only=True)
    log: Path = field(kw_only=True)
    image: Path = field(kw_only=True)
    log_copy: Path = field(kw_only=True)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files to read."""
        return (self.input, self.labels, self.log)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return (self.image, self.output, self.log_copy)


@dataclass(frozen=True, kw_only=True)
class CohortJob(ModelJob):
    """Segment one case of a cohort.

    ``output`` is the folder of the case, which appears complete or not at all; an older one is
    replaced.

    Attributes:
        case: Name of the case, and beginning of the names of its files.
        source: The input as the list of cases names it.
        fingerprint: Stored in the record of the case.
        input_stamp: Stored in the record of the case.
        attempt: Number of this attempt, from 1.
        quality: One of `QUALITIES`.
        measurements: Whether to measure, and to write the HTML report.
        also: Further outputs, of `COHORT_EXTRAS`.
        keep_pieces: As in `SegmentJob`.
        fine_slices: As in `SegmentJob`.
        levels_from: As in `SegmentJob`.
    """

    KIND: ClassVar[str] = "cohort"

    case: str
    source: str
    fingerprint: Fingerprint
    input_stamp: str = ""
    attempt: int = 1
    quality: Annotated[str, Limits(choices=QUALITIES)] = "standard"
    measurements: bool = True
    also: tuple[Annotated[str, Limits(choices=COHORT_EXTRAS)], ...] = ()
    keep_pieces: bool = False
    fine_slices: bool = False
    levels_from: Path | None = None

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files to read."""
        return (self.input, *((self.levels_from,) if self.levels_from else ()))

    def remove_partial(self, pid: int) -> None:
        """Delete the hidden folder in which a process made the folder of the case."""
        remove_scratch_of(pid, self.output.absolute().parent)

    def segment_job(self, folder: Path) -> SegmentJob:
        """Return the job that writes labels, result and picture of this case into a folder."""
        return SegmentJob(
            self.input,
            folder / f"{self.case}.seg.nrrd",
            folder / f"{self.case}{RESULT_END}",
            folder / f"{self.case}_report.png",
            model=self.model,
            device=self.device,
            modality=self.modality,
            precision=self.precision,
            quality=self.quality,
            keep_pieces=self.keep_pieces,
            fine_slices=self.fine_slices,
            levels_from=self.levels_from,
            run_id=self.fingerprint.run_id,
        )


_KINDS = (
    SegmentJob,
    ResegmentJob,
    RelabelJob,
    CaseJob,
    MeasureJob,
    FollowUpJob,
    PartsJob,
    PlanJob,
    CohortJob,
)

JOB: JsonFormat[FileJob] = JsonFormat(
    {kind.KIND: kind for kind in _KINDS},
    "a job",
    "Start the run again from the panel or shell.",
    version=2,
    tag="kind",
    defaults=True,
)
"""Format of job.json. Each version reads its own jobs only, because a job lasts as long as its
run."""


def read_job(path: Path) -> FileJob:
    """Read and check job.json.

    Raises:
        UserError: If it is missing, damaged, or of another version.
    """
    return JOB.read(path)
