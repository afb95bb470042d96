"""What is written onto segments and segmentations about the run that made them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import slicer
import vtk

from spinemamba.protocol.flags import names, sentences
from spinemamba.protocol.result import InstanceResult, Result

Logic = slicer.vtkSlicerSegmentationsModuleLogic
STATUS_TAG = Logic.GetStatusTagName()
FLAGGED = Logic.GetSegmentStatusAsMachineReadableString(Logic.Flagged)
"""What the Segment Editor calls a vertebra that needs a look."""

ALGORITHM = "SpineMamba Segment"
RESULT_ATTRIBUTE = "SpineMamba.Result"
"""Attribute of the segmentation node: the whole result.json; no name of a person or file."""

SEGMENT_TAGS = (
    "SpineMamba.Model", "SpineMamba.ModelHash", "SpineMamba.Version", "SpineMamba.Run",
    "SpineMamba.Posterior", "SpineMamba.Flags", "SpineMamba.FlagNames", "SpineMamba.VolumeMl",
    "SpineMamba.Instance", "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName",
)  # fmt: skip
"""Tags that `segmentTags` gives."""


def segmentTags(result: Result, instance: InstanceResult) -> dict[str, str]:
    """Return the tags of one vertebra; DICOM's own let it be exported as DICOM SEG."""
    return {
        "SpineMamba.Model": f"{result.model_name} {result.model_version}",
        "SpineMamba.ModelHash": result.model_hash,
        "SpineMamba.Version": result.package_version,
        "SpineMamba.Run": result.run_id,
        "SpineMamba.Posterior": f"{instance.posterior:.3f}",
        "SpineMamba.Flags": sentences(instance.flags),
        "SpineMamba.FlagNames": names(instance.flags),
        "SpineMamba.VolumeMl": f"{instance.volume_ml:.1f}",
        "SpineMamba.Instance": str(instance.id),
        **({STATUS_TAG: FLAGGED} if instance.flags else {}),
        "DICOM.SegmentAlgorithmType": "AUTOMATIC",
        "DICOM.SegmentAlgorithmName": f"{ALGORITHM} {result.package_version}",
    }


def tagsByLabel(result: Result) -> dict[int, dict[str, str]]:
    """Return the tags of every vertebra by its label value."""
    return {item.label: segmentTags(result, item) for item in result.instances}


def setTags(segment: slicer.vtkSegment, tags: Mapping[str, str]) -> None:
    """Write tags onto a segment."""
    for name, value in tags.items():
        segment.SetTag(name, value)


def tagOf(segment: slicer.vtkSegment, name: str) -> str:
    """Return a tag of a segment; empty if it has none."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def keepResult(segmentationNode: slicer.vtkMRMLSegmentationNode, path: Path) -> None:
    """Keep result.json with the segmentation, so that it is saved with the scene."""
    values = json.loads(path.read_text(encoding="utf-8"))
    segmentationNode.SetAttribute(RESULT_ATTRIBUTE, json.dumps(values, separators=(",", ":")))


def keptResult(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Result | None:
    """Return the result that was kept with a segmentation; None if there is none, or an old one."""
    return resultFrom(segmentationNode.GetAttribute(RESULT_ATTRIBUTE))


def resultFrom(text: str | None) -> Result | None:
    """Return the result in a text; None if there is none, or an old one."""
    try:
        return Result.from_json(json.loads(text)) if text else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
