"""The review of a segmentation as a JSON file. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spinemamba.common.json_schema import JsonFormat
from spinemamba.protocol.result import Result

TAKEN_TAG = "SpineMamba.TakenOver"
"""Tag of a vertebra of another source that was taken over for the review. No run replaces it."""

TAKEN, RELEASED = "1", "0"
"""Values of `TAKEN_TAG`: under review, and taken out of it again."""


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
