"""case.json: the record of one case of a cohort run. Standard library only.

The record is written last, together with all other files of the case. A case is finished if its
record has the fingerprint that this input, this model and these options have now.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from spinemamba.common.atomic_files import sha256
from spinemamba.common.json_schema import OPTIONAL, JsonFormat, Limits, Sha256
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.result import Result
from spinemamba.protocol.review import APPROVED, FLAGGED, OPEN

RECORD_NAME = "case.json"

CASES = "cases"
"""Folder of the output folder that has one folder for each case."""

DONE, FAILED = "done", "failed"


@dataclass(frozen=True)
class Fingerprint:
    """Hashes of everything that decides the outputs of a case.

    Attributes:
        input_sha256: Of the image file, or of all files of the DICOM series.
        model_sha256: Of the model card, which has the hashes of the weights.
        options_sha256: Of the options and of the version of this package.
    """

    input_sha256: Sha256
    model_sha256: Sha256
    options_sha256: Sha256

    @property
    def run_id(self) -> str:
        """Identifier of the run: equal for equal fingerprints, so that outputs are equal too."""
        parts = (self.input_sha256, self.model_sha256, self.options_sha256)
        return sha256("".join(parts).encode())[:32]


@dataclass(frozen=True)
class Failure:
    """Why a case failed.

    Attributes:
        code: A value of `errors.Code`.
        message: What happened.
        remedy: What to do.
    """

    code: str
    message: str
    remedy: str


@dataclass(frozen=True)
class CaseVertebra:
    """One vertebra, as in result.json.

    Attributes:
        name: Name of the level.
        posterior: Posterior probability of this level.
        volume_ml: Volume of the voxels.
        complete: Whether the field of view contains the whole vertebra.
        flags: Quality flags.
    """

    name: str
    posterior: float
    volume_ml: float
    complete: bool
    flags: tuple[Flag, ...]


@dataclass(frozen=True)
class CaseSummary:
    """What tables and the triage need of result.json.

    Attributes:
        modality: "ct" or "mr".
        device: Device of the networks.
        precision: Number format of the convolutions.
        scan_backend: Which selective scan ran.
        model_name: Name of the model.
        model_version: Version of its weights.
        model_hash: Hash of its weights.
        package_version: Version of this package.
        doubt: Probability that the named levels are not all right, by the level solver.
        ambiguous: Whether a shift by one level is nearly as likely.
        vertebrae: Vertebrae from top to bottom.
    """

    modality: str
    device: str
    precision: str
    scan_backend: str
    model_name: str
    model_version: str
    model_hash: str
    package_version: str
    doubt: float
    ambiguous: bool
    vertebrae: tuple[CaseVertebra, ...]

    @classmethod
    def of(cls, result: Result) -> CaseSummary:
        """Return the summary of a result."""
        likeliest = result.labelings[0].posterior if result.labelings else 0.0
        return cls(
            modality=result.modality,
            device=result.device,
            precision=result.precision,
            scan_backend=result.scan_backend,
            model_name=result.model_name,
            model_version=result.model_version,
            model_hash=result.model_hash,
            package_version=result.package_version,
            doubt=min(1.0, max(0.0, 1 - likeliest)),
            ambiguous=result.ambiguous,
            vertebrae=tuple(
                CaseVertebra(v.name, v.posterior, v.volume_ml, v.complete, v.flags)
                for v in result.instances
            ),
        )


@dataclass(frozen=True)
class CaseFile:
    """A file of a case.

    Attributes:
        name: Path within the folder of the case, with ``/``.
        bytes: Size.
    """

    name: str
    bytes: int


@dataclass(frozen=True)
class CaseReview:
    """What a reader decided about a case, as `apply-review` has applied it.

    Attributes:
        status: "approved", "flagged", or empty.
        reviewer: Name of the reader; may be empty.
        time: Time of the decision, ISO 8601 in UTC.
        note: Note of the reader; may be empty.
        decision_sha256: Hash of the decision, by which it is not applied twice.
    """

    status: Annotated[str, Limits(choices=(APPROVED, FLAGGED, OPEN))]
    reviewer: str
    time: str
    note: str
    decision_sha256: Sha256


@dataclass(frozen=True)
class CaseRecord:
    """One case that was done or has failed.

    Attributes:
        case: Name of the case and of its folder.
        input: The input as the list of cases names it.
        fingerprint: Of the input, the model and the options.
        input_stamp: Hash of names, sizes and times of the input files. While it does not change,
            the files need not be hashed again.
        state: "done" or "failed".
        attempts: How often the case was tried in this run.
        seconds: Time of reading, segmenting and writing.
        memory_mb: Peak memory of the worker process while it segmented the case; 0 if unknown.
        failure: Why the case failed; None if it is done.
        summary: Levels, doubt and flags; None if the case failed.
        files: Files of the case by role, such as "labels", "result" and "side".
        missing: Outputs that could not be made, such as "dicom_seg", with the reasons.
        warnings: Warnings for the user, as sentences.
        image: Absolute path of the image, or of one file of its series; empty in older records.
        review: What a reader decided; None before the triage.
    """

    case: str
    input: str
    fingerprint: Fingerprint
    input_stamp: str
    state: Annotated[str, Limits(choices=(DONE, FAILED))]
    attempts: int
    seconds: float = 0.0
    memory_mb: float = 0.0
    failure: Failure | None = None
    summary: CaseSummary | None = None
    files: dict[str, CaseFile] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    image: str = field(default="", metadata=OPTIONAL)
    review: CaseReview | None = field(default=None, metadata=OPTIONAL)

    @property
    def is_approved(self) -> bool:
        """Whether a reader approved the case."""
        return self.review is not None and self.review.status == APPROVED

    def write(self, folder: Path) -> None:
        """Write case.json into a folder; not atomic."""
        RECORD.write(self, folder / RECORD_NAME)


def read_record(folder: Path) -> CaseRecord:
    """Read case.json in the folder of a case.

    Raises:
        UserError: If it is missing or damaged, or has another schema version.
    """
    return RECORD.read(folder / RECORD_NAME)


def _check_state(record: CaseRecord) -> None:
    """Raise ValueError if the state contradicts the other entries."""
    if (record.state == DONE) != (record.summary is not None):
        raise ValueError(f"a case that is {record.state} has the wrong summary")
    if (record.state == FAILED) != (record.failure is not None):
        raise ValueError(f"a case that is {record.state} has the wrong failure")


RECORD = JsonFormat(
    CaseRecord,
    "the record of a case",
    "Run the cohort again.",
    version=1,
    check=_check_state,
)
"""Format of case.json."""
