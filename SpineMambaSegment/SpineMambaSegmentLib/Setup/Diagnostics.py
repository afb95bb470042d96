"""What somebody who looks for a fault needs to know; nothing that names a person or a file."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from typing import Any

import spinemamba

LAST_LINES = 60


def text(
    slicerVersion: str, facts: Mapping[str, Any] | str, status: str, options: str, log: str
) -> str:
    """Return the diagnostics.

    Args:
        slicerVersion: Version of Slicer.
        facts: Answer of the probe, or why there is none.
        status: Code of the last error, or what was done last.
        options: How the last run was called; no names of nodes.
        log: Log of the last run, whose file names the worker has taken out.
    """
    shown = facts if isinstance(facts, str) else json.dumps(dict(facts), indent=1)
    lines = log.strip().splitlines()[-LAST_LINES:]
    return "\n".join(
        [
            f"SpineMamba Segment {spinemamba.__version__}, Slicer {slicerVersion}",
            f"Python {platform.python_version()}, {platform.system()} {platform.release()}",
            f"last: {status}",
            f"options: {options}",
            f"computer: {shown}",
            "log:",
            *(lines or ["(empty)"]),
        ]
    )
