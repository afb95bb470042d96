"""Tags and attributes that record the run that made a segmentation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import slicer
import vtk

from spinemamba.protocol.flags import names, sentences
from spinemamba.protocol.result import RESULT, InstanceResult, Result

Logic = slicer.vtkSlicerSegmentationsModuleLogic
STATUS_TAG = Logic.GetStatusTagName()
FLAGGED = Logic.GetSegmentStatusAsMachineReadableString(Logic.Flagged)
"""Value of Slicer's status tag for a flagged segment."""

_ALGORITHM = "SpineMamba Segment"
RESULT_ATTRIBUTE = "SpineMamba.Result"
"""Attribute of the segmentation node: result.json, which contains no names of persons or files."""

SEGMENT_TAGS = (
    "SpineMamba.Model", "SpineMamba.ModelHash", "SpineMamba.Version", "SpineMamba.Run",
    "SpineMamba.Posterior", "SpineMamba.Flags", "SpineMamba.FlagNames", "SpineMamba.VolumeMl",
    "SpineMamba.Instance", "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName",
)  # fmt: skip
"""Tags written by `_segmentTags`."""


def _segmentTags(result: Result, instance: InstanceResult) -> dict[str, str]:
    """Return the tags of one vertebra; the DICOM tags are used by Slicer's DICOM SEG export."""
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
        "DICOM.SegmentAlgorithmName": f"{_ALGORITHM} {result.package_version}",
    }


def tagsByLabel(result: Result) -> dict[int, dict[str, str]]:
    """Return the tags of every vertebra by its label value."""
    return {item.label: _segmentTags(result, item) for item in result.instances}


def setTags(segment: slicer.vtkSegment, tags: Mapping[str, str]) -> None:
    """Set tags of a segment."""
    for name, value in tags.items():
        segment.SetTag(name, value)


def tagOf(segment: slicer.vtkSegment, name: str) -> str:
    """Return the value of a segment's tag, or an empty string."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def keepResult(segmentationNode: slicer.vtkMRMLSegmentationNode, path: Path) -> None:
    """Store result.json in an attribute, so that it is saved with the scene."""
    values = json.loads(path.read_text(encoding="utf-8"))
    segmentationNode.SetAttribute(RESULT_ATTRIBUTE, json.dumps(values, separators=(",", ":")))


def keptResult(segmentationNode: slicer.vtkMRMLSegmentationNode) -> Result | None:
    """Return the stored result of a segmentation; None if missing or in an unreadable version."""
    return resultFrom(segmentationNode.GetAttribute(RESULT_ATTRIBUTE))


def resultFrom(text: str | None) -> Result | None:
    """Return the result in a JSON text; None if missing or in an unreadable version."""
    try:
        return RESULT.parse_text(text) if text else None
    except ValueError:
        return None


def volumeOf(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Return the image of a segmentation; None if it refers to none."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    return segmentationNode.GetNodeReference(role)
