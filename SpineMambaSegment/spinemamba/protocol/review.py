"""Reviews as JSON: of one segmentation, and of a cohort. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.common.json_schema import JsonFormat, Limits, NotEmpty, Sha256
from spinemamba.protocol.result import LabelingResult, Result

TAKEN_TAG = "SpineMamba.TakenOver"
"""Tag of a vertebra of another source that was taken over for the review. No run replaces it."""

TAKEN, RELEASED = "1", "0"
"""Values of `TAKEN_TAG`: under review, and taken out of it again."""


STATUS_TAG = "Segmentation.Status"
"""Tag of a segment with its status, as Slicer names it."""

BY_TAG, AT_TAG = "SpineMamba.ReviewedBy", "SpineMamba.ReviewedAt"
"""Tags of a reviewed segment: reviewer and time."""

NAMED_TAG, BY_HAND = "SpineMamba.NamedBy", "person"
"""Tag of a segment that a person has named, and its value."""

INSTANCE_TAG = "SpineMamba.Instance"
"""Tag with the number of a vertebra in result.json."""

APPROVED, FLAGGED, OPEN = "approved", "flagged", ""
"""States of a case in the triage."""

STATUS_TEXT = {APPROVED: "completed", FLAGGED: "flagged", OPEN: ""}
"""Slicer's name of each state."""

REVIEW_END = "_review.json"
"""Suffix of the file name of a review; the stem is that of the labels."""


@dataclass(frozen=True)
class LoggedChange:
    """Change of one segment.

    Attributes:
        segment: Identifier of the segment in Slicer.
        level_before: Level, or name of a segment without one; empty for a new segment.
        level_after: The same after the change; empty for a removed segment.
        status_before: Status of the review; empty for a new segment.
        status_after: Status of the review; empty for a removed segment.
        volume_before_ml: Volume of the voxels.
        volume_after_ml: Volume of the voxels.
        dice: Dice of the voxels before and after.
    """

    segment: str
    level_before: str = ""
    level_after: str = ""
    status_before: str = ""
    status_after: str = ""
    volume_before_ml: float = 0.0
    volume_after_ml: float = 0.0
    dice: float = 0.0


@dataclass(frozen=True)
class LogEntry:
    """One step of the review.

    Attributes:
        time: ISO 8601 in UTC.
        action: Title of the step.
        reviewer: Name of the reviewer; may be empty.
        changes: Changed segments.
    """

    time: str
    action: str
    reviewer: str
    changes: tuple[LoggedChange, ...]


@dataclass(frozen=True)
class Review:
    """What ``.seg.nrrd`` does not store of a review.

    Attributes:
        result: result.json of the run, with its own schema version; None without a run.
        fixed_levels: Levels fixed by the user, by segment identifier; None if there are none.
        log: Steps, oldest first; None if there are none.
    """

    result: dict[str, Any] | None
    fixed_levels: dict[str, str] | None
    log: tuple[LogEntry, ...] | None


def _check_result(review: Review) -> None:
    if review.result is not None:
        try:
            Result.from_json(review.result)
        except ValueError as error:
            raise ValueError(f"result: {error}") from error


REVIEW = JsonFormat(
    Review,
    "the review of a segmentation",
    "Choose a file written by Save the review.",
    version=2,
    renamed={1: {"pins": "fixed_levels"}},
    # Logs of earlier versions may have fewer columns.
    defaults=True,
    check=_check_result,
)
"""Format of a review."""


@dataclass(frozen=True)
class Renamed:
    """A vertebra that a reader named differently.

    Attributes:
        id: Number of the vertebra in result.json.
        before: Level in result.json.
        after: Level by the reader.
    """

    id: int
    before: str
    after: Annotated[str, Limits(choices=tuple(BY_NAME))]


@dataclass(frozen=True)
class Decision:
    """What a reader decided about a case.

    Attributes:
        case: Name of the case.
        run_id: Identifier of the run, which the segments of the case have, too.
        result_sha256: SHA-256 of the result.json that the reader saw.
        status: "approved", "flagged", or empty.
        levels: Renamed vertebrae; empty if the names are right.
        note: Note of the reader; may be empty.
        time: Time of the last change, ISO 8601 in UTC.
    """

    case: NotEmpty
    run_id: str
    result_sha256: Sha256
    status: Annotated[str, Limits(choices=(APPROVED, FLAGGED, OPEN))]
    levels: tuple[Renamed, ...]
    note: str
    time: str


@dataclass(frozen=True)
class Triage:
    """Decisions of one reader about the cases of a cohort.

    Attributes:
        reviewer: Name of the reader; may be empty.
        decisions: At most one for each case.
    """

    reviewer: str
    decisions: tuple[Decision, ...]


def _check_decisions(triage: Triage) -> None:
    cases = [decision.case for decision in triage.decisions]
    for index, case in enumerate(cases):
        if case in cases[:index]:
            raise ValueError(f"decisions[{index}]: {case} occurs twice")


TRIAGE = JsonFormat(
    Triage,
    "the review of a cohort",
    "Choose a file saved by the triage page.",
    version=1,
    check=_check_decisions,
)
"""Format of the decisions of a triage."""


def other_namings(result: Result) -> list[LabelingResult]:
    """Return the likely labelings with other names, for the vertebrae of a result.

    A labeling also has the instances that the best one does not take for vertebrae; the result
    does not have them. Labelings that leave a vertebra without a level are left out.
    """
    if not result.labelings:
        return []
    best, found = result.labelings[0].names, [tuple(item.name for item in result.instances)]
    namings = []
    for labeling in result.labelings:
        names = labeling.names
        if len(best) != len(result.instances):
            names = tuple(n for n, b in zip(names, best, strict=True) if b is not None)
        if None not in names and len(names) == len(found[0]) and names not in found:
            found.append(names)
            namings.append(LabelingResult(names, labeling.posterior))
    return namings
