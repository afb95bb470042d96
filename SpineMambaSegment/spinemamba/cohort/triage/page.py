"""The triage page: one HTML file and a folder of data, which open without a server.

Browsers let a page of the file system load pictures and classic scripts, but no other file. The
list of cases is therefore a script, and so are the volumes of each case, which are loaded when the
case is shown.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spinemamba.anatomy.labels import LABELS, RARE
from spinemamba.cohort.triage.viewer import Viewer, find_viewer
from spinemamba.common.atomic_files import sha256
from spinemamba.common.errors import UserError
from spinemamba.common.folders import replace_folder
from spinemamba.common.scratch import scratch
from spinemamba.protocol.cohort import CASES, CaseRecord
from spinemamba.protocol.result import Result, read_result
from spinemamba.protocol.review import TRIAGE, other_namings
from spinemamba.report.case_preview import (
    IMAGE,
    INSTANCES,
    MARKS,
    RIBS,
    STRIPS,
    read_preview,
    small_jpeg,
)
from spinemamba.report.html import write_html

PAGE, FOLDER = "triage.html", "triage"
_LIST, _VIEWER, _LICENCE, _VOLUMES = "cases.js", "niivue.js", "niivue-LICENSE.txt", "volumes.js"
_THUMBNAILS = ("side", "front")
_MOST_NAMINGS = 5


def write_triage(out: Path, records: Sequence[CaseRecord]) -> tuple[Path, str]:
    """Write the triage page of a cohort; an earlier one is replaced.

    Args:
        out: Output folder of the cohort.
        records: Its cases.

    Returns:
        The page, and why it has no viewer; empty if it has one.

    Raises:
        UserError: If the page cannot be written.
    """
    viewer, reason = _viewer()
    with scratch(out) as hidden:
        new = hidden / FOLDER
        new.mkdir()
        ordered = sorted(records, key=_urgency)
        cases = [_write_case(out, record, new, with_volumes=viewer is not None)
                 for record in ordered]  # fmt: skip
        _write_script(new / _LIST, "TRIAGE", _content(cases, reason))
        if viewer is not None:
            (new / _VIEWER).write_text(viewer.script, encoding="utf-8")
            (new / _LICENCE).write_text(viewer.licence, encoding="utf-8")
        replace_folder(new, out / FOLDER, hidden)
    write_html(out / PAGE, "triage.html")
    return out / PAGE, reason


def _viewer() -> tuple[Viewer | None, str]:
    """Return the viewer; or None, and why there is none."""
    try:
        return find_viewer(), ""
    except UserError as error:
        return None, str(error)


def _urgency(record: CaseRecord) -> tuple[float, int, str]:
    """Return the order of the page: doubt, then flags; cases that failed come last."""
    if record.summary is None:
        return 1.0, 0, record.case
    flags = sum(len(vertebra.flags) for vertebra in record.summary.vertebrae)
    return -record.summary.doubt, -flags, record.case


def _content(cases: list[dict[str, Any]], reason: str) -> dict[str, Any]:
    return {
        "schema": TRIAGE.version,
        "cases": cases,
        "levels": [[label.name, "#{:02x}{:02x}{:02x}".format(*label.color)] for label in LABELS],
        "rare": RARE,
        "viewer": "" if reason else f"{FOLDER}/{_VIEWER}",
        "noViewer": reason,
    }


def _write_case(out: Path, record: CaseRecord, new: Path, *, with_volumes: bool) -> dict[str, Any]:
    """Write pictures and volumes of a case; return its entry of the list."""
    entry: dict[str, Any] = {"case": record.case, "input": record.input, "state": record.state}
    if record.failure is not None:
        return entry | {"message": f"{record.failure.message} {record.failure.remedy}"}
    source, folder = out / CASES / record.case, new / record.case
    folder.mkdir()
    preview = {}
    if "preview" in record.files:
        preview = read_preview(source / record.files["preview"].name)
    pictures = {"strips": preview.get(STRIPS), "ribs": preview.get(RIBS)}
    pictures |= {role: small_jpeg(source / record.files[role].name) for role in _THUMBNAILS}
    pictures = {role: data for role, data in pictures.items() if data is not None}
    for role, data in pictures.items():
        (folder / f"{role}.jpg").write_bytes(data)
    has_volumes = with_volumes and {IMAGE, INSTANCES} <= set(preview)
    if has_volumes:
        texts = [base64.b64encode(preview[name]).decode("ascii") for name in (IMAGE, INSTANCES)]
        _write_script(folder / _VOLUMES, "VOLUMES", dict(zip(("image", "instances"), texts,
                                                            strict=True)))  # fmt: skip
    marks = json.loads(preview.get(MARKS, b"{}"))
    return (
        entry
        | _of_result(source / record.files["result"].name)
        | {
            "doubt": record.summary.doubt,
            "review": None if record.review is None else asdict(record.review),
            "pictures": sorted(pictures),
            "marks": {"strips": marks.get(STRIPS, []), "ribs": marks.get(RIBS, [])},
            "volumes": has_volumes,
            "image": record.image,
            "labels": record.files["labels"].name,
        }
    )


def _of_result(path: Path) -> dict[str, Any]:
    """Return what the page shows of result.json."""
    result: Result = read_result(path)
    return {
        "runId": result.run_id,
        "resultSha256": sha256(path.read_bytes()),
        "modality": result.modality,
        "warnings": result.warnings,
        "vertebrae": [
            {
                "id": item.id,
                "name": item.name,
                "certain": item.posterior,
                "volumeMl": item.volume_ml,
                "flags": [flag.sentence for flag in item.flags],
            }
            for item in result.instances
        ],
        "namings": [
            {"names": other.names, "posterior": other.posterior}
            for other in other_namings(result)[:_MOST_NAMINGS]
        ],
    }


def _write_script(path: Path, name: str, values: Any) -> None:
    """Write JSON values as a script that assigns them to a name of the page."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    path.write_text(f"globalThis.{name}={text};\n", encoding="utf-8")
