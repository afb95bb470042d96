"""Diagnostics for bug reports, without names of persons or files."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from typing import Any

import spinemamba

_LAST_LINES = 60


def text(
    slicerVersion: str, facts: Mapping[str, Any] | str, status: str, options: str, log: str
) -> str:
    """Return the diagnostics as text.

    Args:
        slicerVersion: Version of Slicer.
        facts: Result of the probe, or the reason why there is none.
        status: Code of the last error.
        options: Options of the last run, without names of nodes.
        log: Log of the last run; the worker has removed file names.
    """
    computer = facts if isinstance(facts, str) else json.dumps(dict(facts), indent=1)
    lines = log.strip().splitlines()[-_LAST_LINES:]
    return "\n".join(
        [
            f"SpineMamba Segment {spinemamba.__version__}, Slicer {slicerVersion}",
            f"Python {platform.python_version()}, {platform.system()} {platform.release()}",
            f"last: {status}",
            f"options: {options}",
            f"computer: {computer}",
            "log:",
            *(lines or ["(empty)"]),
        ]
    )
