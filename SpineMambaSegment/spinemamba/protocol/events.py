"""Events that the worker sends to the panel, one JSON object per line. Standard library only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TypeAlias

PROTOCOL = 1


@dataclass(frozen=True)
class Hello:
    """The worker has started."""

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
    """

    stage: str
    fraction: float
    overall: float


@dataclass(frozen=True)
class Warning:
    """A warning for the user; the run continues."""

    message: str


@dataclass(frozen=True)
class Finished:
    """The run has finished; all outputs are complete.

    Attributes:
        labels: Path of the main output, the labels for most jobs.
        result: Path of result.json; empty if none was requested.
        seconds: Duration of the whole run.
    """

    labels: str
    result: str
    seconds: float


@dataclass(frozen=True)
class Failed:
    """The run has failed; no output was written.

    Attributes:
        code: A value of `errors.Code`.
        message: What happened.
        remedy: What to do.
    """

    code: str
    message: str
    remedy: str


Event: TypeAlias = Hello | Progress | Warning | Finished | Failed

KINDS: dict[str, type] = {
    "hello": Hello,
    "progress": Progress,
    "warning": Warning,
    "finished": Finished,
    "failed": Failed,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


def to_line(event: Event) -> str:
    """Return an event as one line of JSON, with its line end."""
    return json.dumps({"type": _NAMES[type(event)], **asdict(event)}) + "\n"


def from_line(line: str) -> Event:
    """Return the event in a line.

    Raises:
        ValueError: If the line is not an event. Unknown entries are ignored, so that a newer
            worker may send more.
    """
    try:
        values = json.loads(line)
        kind = KINDS[values.pop("type")]
        known = {f.name for f in fields(kind)}
        return kind(**{name: value for name, value in values.items() if name in known})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not an event: {line[:200]!r}") from error
