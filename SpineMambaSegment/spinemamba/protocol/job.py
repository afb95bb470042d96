"""Jobs of the worker, stored as job.json with a schema version. Standard library only."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from spinemamba.common.errors import UserError
from spinemamba.common.scratch import remove_scratch_of
from spinemamba.common.versioned_json import strip_schema
from spinemamba.protocol.model_card import DEFAULT

SCHEMA = 1
MODALITIES = ("auto", "ct", "mr")
DEVICES = ("auto", "cpu", "cuda", "mps")
QUALITIES = ("standard", "fast")
PRECISIONS = ("auto", "float32", "bfloat16")
NTH_GPU = re.compile(r"cuda:\d+")


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

    def write(self, path: Path) -> None:
        """Write job.json."""
        values = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(self).items()
        }
        text = json.dumps({"schema": SCHEMA, "kind": self.KIND, **values}, indent=2)
        path.write_text(text + "\n", encoding="utf-8")


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
    device: str = "auto"
    modality: str = "auto"
    precision: str = "auto"

    def __post_init__(self) -> None:
        known = DEVICES + ((self.device,) if NTH_GPU.fullmatch(self.device) else ())
        _check("device", self.device, known)
        _check("modality", self.modality, MODALITIES)
        _check("precision", self.precision, PRECISIONS)


@dataclass(frozen=True)
class Job(ModelJob):
    """Segment a whole image.

    Attributes:
        picture: PNG to write, or None.
        quality: One of `QUALITIES`.
        pins: Levels fixed by the user, in the syntax of `levels.pins.parse_pin`.
    """

    KIND: ClassVar[str] = "segment"

    picture: Path | None = None
    quality: str = "standard"
    pins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("quality", self.quality, QUALITIES)

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return (*super().outputs, *((self.picture,) if self.picture else ()))


@dataclass(frozen=True)
class BoxJob(ModelJob):
    """Segment one vertebra again, or one that was missed, in a region around a point.

    ``output`` is a mask of the vertebra on the grid of ``input``; ``result`` is a
    `vertebra_result.VertebraResult`.

    Attributes:
        labels: Existing label image on the grid of ``input``, or None.
        place_lps_mm: A point in the body of the vertebra; None for the body of ``again``.
        again: Label value of the vertebra to segment again; 0 for a missed vertebra.
        keep: Label values whose voxels must not change, because they were approved in review.
    """

    KIND: ClassVar[str] = "box"

    labels: Path | None = None
    place_lps_mm: tuple[float, float, float] | None = None
    again: int = 0
    keep: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        place = self.place_lps_mm
        if place is None and (not self.again or self.labels is None):
            raise ValueError("place_lps_mm is required, or labels and again")
        if place is not None and (len(place) != 3 or not all(map(math.isfinite, place))):
            raise ValueError(f"place_lps_mm must be three finite numbers, got {place}")
        if self.again in self.keep:
            raise ValueError(f"label value {self.again} is both in keep and in again")

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files to read."""
        return (self.input, *((self.labels,) if self.labels else ()))


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


@dataclass(frozen=True)
class MeasureJob(FileJob):
    """Measure the label image ``input``; ``output`` is a `measurements.Measurements`.

    Attributes:
        image: Segmented image on the grid of ``input``, or None.
        modality: Modality of the image, one of `MODALITIES`.
        run: result.json of the run that made the labels, for the report; or None.
        page: HTML report to write, or None.
    """

    KIND: ClassVar[str] = "measure"

    image: Path | None = None
    modality: str = "auto"
    run: Path | None = None
    page: Path | None = None

    def __post_init__(self) -> None:
        _check("modality", self.modality, MODALITIES)

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files to read."""
        return (self.input, *(path for path in (self.image, self.run) if path is not None))

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return (*super().outputs, *((self.page,) if self.page else ()))


KINDS: dict[str, type[FileJob]] = {k.KIND: k for k in (Job, BoxJob, CaseJob, MeasureJob)}


def read_job(path: Path) -> FileJob:
    """Read and check job.json.

    Raises:
        UserError: If it is missing, damaged, or of another version.
    """
    try:
        values = strip_schema(json.loads(path.read_text(encoding="utf-8")), SCHEMA)
        kind = KINDS[values.pop("kind", Job.KIND)]
        known = {f.name: f.type for f in fields(kind)}
        if unknown := set(values) - set(known):
            raise ValueError(f"unknown entries: {', '.join(sorted(unknown))}")
        return kind(**{name: _value(known[name], entry) for name, entry in values.items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path.name} is not a job: {error}.", "Start the run again from the panel or shell."
        ) from error


def _value(kind: str, entry: Any) -> Any:
    """Return an entry of job.json converted to the type of its field."""
    if entry is not None and kind.startswith("Path"):
        return Path(entry)
    return tuple(entry) if isinstance(entry, list) else entry


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
