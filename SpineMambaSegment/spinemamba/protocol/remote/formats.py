"""JSON of the server's API: requests, states, capabilities and errors. Standard library only.

``Resources/Docs/server.md`` describes the routes. A client of this version reads states,
capabilities and errors of a newer server; a request with unknown entries is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from spinemamba.common.json_schema import JsonFormat, Limits, Sha256
from spinemamba.protocol.image_formats import LABEL_FORMATS
from spinemamba.protocol.job import MODALITIES, PRECISIONS, QUALITIES
from spinemamba.protocol.model_card import DEFAULT
from spinemamba.protocol.remote.refusals import Refusal
from spinemamba.protocol.remote.server_info import (
    Count,
    Seconds,
    ServerDevice,
    ServerLimits,
    ServerModel,
)

API = 1
"""Version of the API; the first part of every path is ``/v1``."""

JOB_TYPE = "application/vnd.spinemamba.job"
"""Content type of a request for a job, and of a whole result: a line of JSON, then files."""

JOBS = "/v1/jobs"
HEALTH = "/v1/health"
CAPABILITIES = "/v1/capabilities"
METRICS = "/metrics"

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Endings of images that the server accepts: formats with header and voxels in one file."""

LABEL_ENDINGS = (".seg.nrrd", *IMAGE_ENDINGS)
JSON_ENDING, PICTURE_ENDING = ".json", ".png"

IMAGE, LABELS, RESULT, PICTURE = "image", "labels", "result", "picture"
OTHER_SCAN, OTHER_RESULT = "other_scan", "other_result"
"""Roles of files in requests and results."""

SENT_ROLES = (IMAGE, LABELS, RESULT, OTHER_SCAN, OTHER_RESULT)

JOB_ID = "[0-9a-f]{32}"
"""Pattern of the id of a job."""

_OTHER = "Check the address of the server, and its version."

JobId = Annotated[str, Limits(pattern=JOB_ID)]
Share = Annotated[float, Limits(0, 1)]

QUEUED, RUNNING, DONE, FAILED, ERASED = "queued", "running", "done", "failed", "erased"
"""States of a job. The files of an erased one are gone: it was fetched, or kept long enough."""

ENDED = (DONE, FAILED, ERASED)


@dataclass(frozen=True)
class SentFile:
    """A file in a request.

    Attributes:
        role: One of `SENT_ROLES`.
        ending: Ending of its name, which says the format; the name itself is not sent.
        bytes: Size.
        sha256: Hash of the bytes; empty if the server need not check it.
    """

    role: Annotated[str, Limits(choices=SENT_ROLES)]
    ending: Annotated[str, Limits(choices=(*LABEL_ENDINGS, JSON_ENDING))]
    bytes: Annotated[int, Limits(1)]
    sha256: Annotated[str, Limits(pattern="([0-9a-f]{64})?")] = ""

    def __post_init__(self) -> None:
        known = {IMAGE: IMAGE_ENDINGS, **dict.fromkeys((RESULT, OTHER_RESULT), (JSON_ENDING,))}
        if self.ending not in known.get(self.role, LABEL_ENDINGS):
            raise ValueError(f"a file of the role {self.role} cannot end with {self.ending}")


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """Base of all requests.

    Attributes:
        files: The files that follow the request, in this order.
        request_id: Random number of the client, so that the same request, sent again after a lost
            connection, does not start a second job; empty for none.
    """

    NEEDS: ClassVar[tuple[str, ...]]
    MAY_HAVE: ClassVar[tuple[str, ...]] = ()

    files: tuple[SentFile, ...]
    request_id: Annotated[str, Limits(pattern=f"({JOB_ID})?")] = ""

    def __post_init__(self) -> None:
        roles = [file.role for file in self.files]
        needed, known = set(self.NEEDS), {*self.NEEDS, *self.MAY_HAVE}
        if len(set(roles)) < len(roles) or not needed <= set(roles) <= known:
            also = f", and may have {', '.join(self.MAY_HAVE)}" if self.MAY_HAVE else ""
            raise ValueError(f"files must be {', '.join(self.NEEDS)}{also}, once each")
        if OTHER_RESULT in roles and OTHER_SCAN not in roles:
            raise ValueError(f"{OTHER_RESULT} needs {OTHER_SCAN}")


@dataclass(frozen=True, kw_only=True)
class _ModelRequest(JobRequest):
    """Base of requests that run a model.

    Attributes:
        model: Name of a model that the server offers.
        modality: One of `job.MODALITIES`.
        precision: One of `job.PRECISIONS`.
    """

    model: str = DEFAULT
    modality: Annotated[str, Limits(choices=MODALITIES)] = "auto"
    precision: Annotated[str, Limits(choices=PRECISIONS)] = "auto"


LabelEnding = Annotated[str, Limits(choices=LABEL_FORMATS)]


@dataclass(frozen=True, kw_only=True)
class SegmentRequest(_ModelRequest):
    """Segment an image; options as in `job.SegmentJob`.

    Attributes:
        quality: One of `job.QUALITIES`.
        fixed_levels: Levels fixed by the user, in the syntax of ``--pin``.
        keep_pieces: Whether small loose pieces stay in the labels.
        fine_slices: Whether thick slices are subdivided.
        picture: Whether the result has a picture.
        labels_ending: Format of the labels in the result.
    """

    KIND: ClassVar[str] = "segment"
    NEEDS: ClassVar[tuple[str, ...]] = (IMAGE,)
    MAY_HAVE: ClassVar[tuple[str, ...]] = (OTHER_SCAN, OTHER_RESULT)

    quality: Annotated[str, Limits(choices=QUALITIES)] = "standard"
    fixed_levels: tuple[str, ...] = ()
    keep_pieces: bool = False
    fine_slices: bool = False
    picture: bool = False
    labels_ending: LabelEnding = LABEL_FORMATS[0]


@dataclass(frozen=True, kw_only=True)
class ResegmentRequest(_ModelRequest):
    """Segment one vertebra again, or one that was missed; options as in `job.ResegmentJob`.

    Attributes:
        point_lps_mm: A point in the body of the vertebra; None for the body of
            ``replaced_label``.
        replaced_label: Label value of the vertebra to segment again; 0 for a missed vertebra.
        locked_labels: Label values whose voxels must not change.
        labels_ending: Format of the mask in the result.
    """

    KIND: ClassVar[str] = "resegment"
    NEEDS: ClassVar[tuple[str, ...]] = (IMAGE,)
    MAY_HAVE: ClassVar[tuple[str, ...]] = (LABELS,)

    point_lps_mm: tuple[float, float, float] | None = None
    replaced_label: int = 0
    locked_labels: tuple[int, ...] = ()
    labels_ending: LabelEnding = ".nrrd"

    def __post_init__(self) -> None:
        super().__post_init__()
        has_labels = any(file.role == LABELS for file in self.files)
        if self.point_lps_mm is None and (not self.replaced_label or not has_labels):
            raise ValueError("point_lps_mm is required, or labels and replaced_label")
        if self.point_lps_mm is not None and not all(map(math.isfinite, self.point_lps_mm)):
            raise ValueError("point_lps_mm must be three finite numbers")
        if self.replaced_label in self.locked_labels:
            raise ValueError("replaced_label is also in locked_labels")


@dataclass(frozen=True, kw_only=True)
class RelabelRequest(JobRequest):
    """Name the vertebrae of a finished run again, without the networks.

    Attributes:
        fixed_levels: Levels fixed by the user, in the syntax of ``--pin``.
        labels_ending: Format of the labels in the result.
    """

    KIND: ClassVar[str] = "relabel"
    NEEDS: ClassVar[tuple[str, ...]] = (LABELS, RESULT)
    MAY_HAVE: ClassVar[tuple[str, ...]] = (OTHER_SCAN, OTHER_RESULT)

    fixed_levels: tuple[str, ...] = ()
    labels_ending: LabelEnding = LABEL_FORMATS[0]


REQUEST: JsonFormat[JobRequest] = JsonFormat(
    {kind.KIND: kind for kind in (SegmentRequest, ResegmentRequest, RelabelRequest)},
    "a request for a job",
    "Install the same version on both computers.",
    version=1,
    tag="kind",
    defaults=True,
)
"""Format of the first line of a request for a job."""


@dataclass(frozen=True)
class ResultFile:
    """A file of a result.

    Attributes:
        role: `LABELS`, `RESULT` or `PICTURE`; the labels of a `ResegmentRequest` are a mask.
        ending: Ending of a name for it.
        bytes: Size.
        sha256: Hash of the bytes.
    """

    role: str
    ending: str
    bytes: Count
    sha256: Sha256


@dataclass(frozen=True)
class JobFailure:
    """Why a job failed.

    Attributes:
        code: A value of `errors.Code`.
        message: What happened.
        remedy: What to do.
    """

    code: str
    message: str
    remedy: str


@dataclass(frozen=True)
class JobState:
    """State of a job.

    Attributes:
        id: Its id.
        kind: Kind of its request.
        state: `QUEUED`, `RUNNING`, `DONE`, `FAILED` or `ERASED`.
        place: Place in line, from 1; 0 if it is not queued.
        stage: One of `progress.STAGES` while it runs; otherwise empty.
        fraction: Completed share of the stage.
        overall: Completed share of the job.
        remaining_s: Estimated time until it is done; None if it cannot be estimated yet.
        warnings: Warnings for the user, as sentences.
        failure: Why it failed.
        files: Files of its result, once it is done.
        device: Device that it runs on or has run on; empty before.
        expires_s: Time until its files are erased; None while it is queued or running.
        poll_s: Time after which the client should ask again.
    """

    id: JobId
    kind: str
    state: Literal["queued", "running", "done", "failed", "erased"]
    place: Count = 0
    stage: str = ""
    fraction: Share = 0.0
    overall: Share = 0.0
    remaining_s: Seconds | None = None
    warnings: tuple[str, ...] = ()
    failure: JobFailure | None = None
    files: tuple[ResultFile, ...] = ()
    device: str = ""
    expires_s: Seconds | None = None
    poll_s: Seconds = 1.0


JOB_STATE = JsonFormat(
    JobState,
    "the state of a job",
    _OTHER,
    version=1,
    defaults=True,
    ignores_unknown=True,
)
"""Format of the state of a job, and of the first line of a whole result."""


@dataclass(frozen=True)
class Capabilities:
    """What the server is and can do.

    Attributes:
        server: Name given by its administrator.
        client: Name of the token of the request; "local" on a server without tokens.
        version: Version of the package.
        kinds: Kinds of requests.
        models: Models; the first is the default.
        devices: Devices.
        limits: Limits.
        image_endings: Endings of images that are accepted.
        queued: Jobs in line now.
        running: Jobs that run now.
    """

    server: str
    client: str
    version: str
    kinds: tuple[str, ...]
    models: tuple[ServerModel, ...]
    devices: tuple[ServerDevice, ...]
    limits: ServerLimits
    image_endings: tuple[str, ...]
    queued: Count = 0
    running: Count = 0


CAPABILITY = JsonFormat(
    Capabilities,
    "the capabilities of a server",
    _OTHER,
    version=1,
    defaults=True,
    ignores_unknown=True,
)
"""Format of the answer of ``/v1/capabilities``."""


@dataclass(frozen=True)
class RefusedRequest:
    """Why a request was refused; the body of every answer with a status of 400 or more.

    Attributes:
        code: Kind of refusal.
        message: What is wrong.
        remedy: What to do.
        retry_s: Time after which the same request may succeed; None if waiting does not help. The
            header ``Retry-After`` has it, too.
    """

    code: Refusal
    message: str
    remedy: str
    retry_s: Seconds | None = None


REFUSED = JsonFormat(
    RefusedRequest,
    "the refusal of a request",
    "Check the address of the server; a proxy may have answered.",
    version=1,
    defaults=True,
    ignores_unknown=True,
)
"""Format of the body of an error."""
