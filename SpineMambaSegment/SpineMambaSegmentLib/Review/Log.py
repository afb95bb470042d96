"""Log of the review: changes with time and reviewer, stored in an attribute of the segmentation.

An entry is JSON data. It contains levels and the reviewer's name, if given, but no name of a
patient, volume or file.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections.abc import Mapping
from typing import Any

import slicer

from SpineMambaSegmentLib.Review.Mask import dice
from SpineMambaSegmentLib.Review.SegmentState import STATUS_TEXT, SegmentState, volume_ml

ATTRIBUTE = "SpineMamba.Log"
COLUMNS = (
    "time", "action", "reviewer", "segment", "level_before", "level_after", "status_before",
    "status_after", "volume_before_ml", "volume_after_ml", "dice",
)  # fmt: skip

States = Mapping[str, SegmentState | None]


def now() -> str:
    """Return the current time as ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def entry(action: str, reviewer: str, time: str) -> dict[str, Any]:
    """Return an entry without changes."""
    return {"time": time, "action": action, "reviewer": reviewer, "changes": []}


def changes(before: States, after: States, voxel_ml: float) -> list[dict[str, Any]]:
    """Return level, status, volume and Dice of each changed segment.

    Args:
        before: States by segment ID; None for a new segment.
        after: States by segment ID; None for a removed segment.
        voxel_ml: Volume of a voxel in mL.
    """
    rows = []
    for segmentId, new in after.items():
        old = before[segmentId]
        both = old is not None and new is not None
        rows.append(
            {
                "segment": segmentId,
                "level_before": _level(old),
                "level_after": _level(new),
                "status_before": _status(old),
                "status_after": _status(new),
                "volume_before_ml": round(volume_ml(old, voxel_ml), 3),
                "volume_after_ml": round(volume_ml(new, voxel_ml), 3),
                "dice": _dice(old, new) if both else 0.0,
            }
        )
    return rows


def _level(state: SegmentState | None) -> str:
    return "" if state is None else state.level or state.name


def _status(state: SegmentState | None) -> str:
    return "" if state is None else STATUS_TEXT[state.status]


def _dice(old: SegmentState, new: SegmentState) -> float:
    if old.mask == new.mask:
        return 1.0
    return round(dice(old.mask, new.mask), 4)


def read(node: slicer.vtkMRMLSegmentationNode) -> list[dict[str, Any]]:
    """Return the log entries of a segmentation, oldest first."""
    return json.loads(node.GetAttribute(ATTRIBUTE) or "[]")


def append(node: slicer.vtkMRMLSegmentationNode, new: Mapping[str, Any]) -> None:
    """Append an entry; entries are never removed, not even by undo."""
    text = json.dumps([*read(node), dict(new)], separators=(",", ":"))
    node.SetAttribute(ATTRIBUTE, text)


def csvText(node: slicer.vtkMRMLSegmentationNode) -> str:
    """Return the log as CSV, one line per changed segment."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for item in read(node):
        head = {name: item[name] for name in ("time", "action", "reviewer")}
        for change in item["changes"] or [{}]:
            writer.writerow({**head, **change})
    return out.getvalue()
