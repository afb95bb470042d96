"""Events that the worker sends to the panel, one JSON object per line. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from spinemamba.common.json_schema import OPTIONAL, JsonFormat

PROTOCOL = 1

GRACE_S = 3.0
"""Time in seconds that a worker gets to stop after a request to cancel; then it is killed."""


@dataclass(frozen=True)
class Hello:
    """The worker has started.

    Attributes:
        protocol: `PROTOCOL` of the worker.
        version: Version of its package.
        pid: Its process id.
    """

    protocol: int
    version: str
    pid: int


@dataclass(frozen=True)
class Progress:
    """Progress of the run; repeated every two seconds as a heartbeat.

    Attributes:
        stage: One of `progress.STAGES`.
        fraction: Completed share of the stage, in [0, 1].
        overall: Completed share of the whole run, in [0, 1].
        job: Path of job.json, of a worker with several jobs in progress; empty otherwise.
    """

    stage: str
    fraction: float
    overall: float
    job: str = field(default="", metadata=OPTIONAL)


@dataclass(frozen=True)
class Warning:
    """A warning for the user; the run continues.

    Attributes:
        message: The warning, as sentences.
        job: As in `Progress`.
    """

    message: str
    job: str = field(default="", metadata=OPTIONAL)


@dataclass(frozen=True)
class Finished:
    """The run has finished; all outputs are complete.

    Attributes:
        labels: Path of the main output, the labels for most jobs.
        result: Path of result.json; empty if none was requested.
        seconds: Duration of the whole run.
        job: As in `Progress`.
    """

    labels: str
    result: str
    seconds: float
    job: str = field(default="", metadata=OPTIONAL)


@dataclass(frozen=True)
class Failed:
    """The run has failed; no output was written.

    Attributes:
        code: A value of `errors.Code`.
        message: What happened.
        remedy: What to do.
        job: As in `Progress`.
    """

    code: str
    message: str
    remedy: str
    job: str = field(default="", metadata=OPTIONAL)


Event: TypeAlias = Hello | Progress | Warning | Finished | Failed

KINDS: dict[str, type] = {
    "hello": Hello,
    "progress": Progress,
    "warning": Warning,
    "finished": Finished,
    "failed": Failed,
}
EVENT = JsonFormat(
    KINDS,
    "an event",
    "Install the same version for the panel and its worker.",
    tag="type",
    # A newer worker may send more than the panel knows.
    ignores_unknown=True,
)
"""Format of an event."""


def to_line(event: Event) -> str:
    """Return an event as one line of JSON, with its line end."""
    return EVENT.to_text(event, indent=None)


def from_line(line: str) -> Event:
    """Return the event in a line.

    Raises:
        ValueError: If the line is not an event. Unknown entries are ignored, so that a newer
            worker may send more.
    """
    try:
        return EVENT.parse_text(line)
    except ValueError as error:
        raise ValueError(f"not an event: {line[:200]!r}") from error
