"""The words that worker and panel exchange: one JSON object per line. Standard library only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TypeAlias

PROTOCOL = 1


@dataclass(frozen=True)
class Hello:
    """The worker runs."""

    protocol: int
    version: str
    pid: int


@dataclass(frozen=True)
class Progress:
    """How far the worker is; also sent every two seconds as a sign of life.

    Attributes:
        stage: One of `progress.STAGES`.
        fraction: Share of the stage that is done.
        overall: Share of the whole run that is done.
    """

    stage: str
    fraction: float
    overall: float


@dataclass(frozen=True)
class Warning:
    """Something the user should know; the run goes on."""

    message: str


@dataclass(frozen=True)
class Finished:
    """The result is complete on disk.

    Attributes:
        labels: The label file.
        result: The result.json, empty if none was asked for.
        seconds: Time of the whole run.
    """

    labels: str
    result: str
    seconds: float


@dataclass(frozen=True)
class Failed:
    """There is no result.

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
        ValueError: If the line is no event. Unknown entries are passed over, so that a newer
            worker may say more.
    """
    try:
        values = json.loads(line)
        kind = KINDS[values.pop("type")]
        known = {f.name for f in fields(kind)}
        return kind(**{name: value for name, value in values.items() if name in known})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not an event: {line[:200]!r}") from error
