"""What the worker shall do: job.json, in a versioned schema. Standard library only."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from spinemamba.common.errors import UserError
from spinemamba.common.scratch import remove_scratch_of
from spinemamba.common.versioned_json import of_schema
from spinemamba.protocol.model_card import DEFAULT

SCHEMA = 1
MODALITIES = ("auto", "ct", "mr")
DEVICES = ("auto", "cpu", "cuda", "mps")
QUALITIES = ("standard", "fast")
PRECISIONS = ("auto", "float32", "bfloat16")
NTH_GPU = re.compile(r"cuda:\d+")


@dataclass(frozen=True)
class FileJob:
    """Files in, files out: what every kind of job has.

    Attributes:
        input: Image file, or folder with a DICOM series.
        output: Label file to write; the name decides the format.
        result: JSON to write about it, None for none.
        overwrite: Whether outputs may be there already.
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
        """Delete what a process left half written beside the outputs; see `scratch`."""
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
    """What every job has that runs a model.

    Attributes:
        model: Name of a bundled model, or a folder.
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
    """One run over a whole image.

    Attributes:
        picture: PNG to write, None for none.
        quality: One of `QUALITIES`.
        pins: Levels that the user is sure of; `pins.parse_pin` says how they are written.
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
    """One vertebra anew, or one that was missed, in a box around a place.

    ``output`` gets a mask, 1 where the vertebra is, on the voxels of ``input``; ``result`` gets a
    `box_result.BoxResult`.

    Attributes:
        labels: Label values that are there, on the voxels of ``input``; None for none.
        place_lps_mm: A place in the body of the vertebra; None for the body of ``again``.
        again: Value of the vertebra that shall be found anew; 0 for one that was missed.
        keep: Values whose voxels the vertebra must not take: a person has approved them.
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
            raise ValueError("a place is needed, or labels and the value of a vertebra in them")
        if place is not None and (len(place) != 3 or not all(map(math.isfinite, place))):
            raise ValueError(f"a place has three numbers, got {place}")
        if self.again in self.keep:
            raise ValueError(f"the vertebra of the value {self.again} shall be kept as it is")

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files to read."""
        return (self.input, *((self.labels,) if self.labels else ()))


@dataclass(frozen=True)
class CaseJob(FileJob):
    """An image and its corrected labels as a case to train on; `case_layout` names the files.

    ``output`` gets the labels.

    Attributes:
        labels: Label values with VerSe's numbers, on the voxels of ``input``.
        log: Who changed what; copied as it is.
        image: File that the image is written to.
        log_copy: File that the log is written to.
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
    """Measure the label values in ``input``; ``output`` gets a `measure.record.Measurements`.

    Attributes:
        image: What was segmented, on the voxels of ``input``; None for none.
        modality: One of `MODALITIES`, of the image.
        run: result.json of the run that made the labels, for the page; None if none is known.
        page: Report to write, ``.html``; None for none.
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
        values = of_schema(json.loads(path.read_text(encoding="utf-8")), SCHEMA)
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
    """Return an entry of job.json as the type that its field names; JSON has few."""
    if entry is not None and kind.startswith("Path"):
        return Path(entry)
    return tuple(entry) if isinstance(entry, list) else entry


def _check(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
