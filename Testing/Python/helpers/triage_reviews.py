"""Files with the decisions of readers, for the cases of `synthetic_cohort`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synthetic_cohort import NAMES, OTHER

from spinemamba.common.atomic_files import sha256


def decision(out: Path, name: str, **change: Any) -> dict[str, Any]:
    """Return an approval of a case, with changes."""
    result = out / "cases" / name / f"{name}_result.json"
    values = {
        "case": name,
        "run_id": "r",
        "result_sha256": sha256(result.read_bytes()),
        "status": "approved",
        "levels": [],
        "note": "",
        "time": "2026-01-01T00:00:00Z",
    }
    return {**values, **change}


def write_review(path: Path, reader: str, decisions: Sequence[dict[str, Any]]) -> Path:
    """Write the review of a reader."""
    values = {"schema": 1, "reviewer": reader, "decisions": list(decisions)}
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def shifted(names: tuple[str, ...] = OTHER) -> list[dict[str, Any]]:
    """Return the levels of a decision that renames all vertebrae."""
    pairs = enumerate(zip(NAMES, names, strict=True), start=1)
    return [{"id": k, "before": a, "after": b} for k, (a, b) in pairs]
