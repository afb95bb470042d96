"""Which segments were made by this module, which were taken over, and which are neither.

An ID is no proof: other software and users choose IDs such as ``V20``, too.
"""

from __future__ import annotations

import re

import slicer

from spinemamba.anatomy.labels import BY_VALUE, LABELS, ORDER, Label
from spinemamba.anatomy.terminology import is_own_entry, level_coded, level_of
from spinemamba.protocol.review import RELEASED, TAKEN_TAG
from SpineMambaSegmentLib.Scene.Provenance import tagOf

_ID = re.compile(r"V(\d+)(?:_\d+)?")
"""IDs that this module chooses: "V" and the label value. A renamed segment keeps its ID."""

_MADE_TAGS = ("SpineMamba.Run", "SpineMamba.VolumeMl")
"""Tags of segments that a run or a review has made."""

Node = slicer.vtkMRMLSegmentationNode


def labelOf(segment: slicer.vtkSegment) -> Label | None:
    """Return the level of a segment by name or code; None if it is not a vertebra."""
    return level_of(segment.GetName(), entryOf(segment))


def entryOf(segment: slicer.vtkSegment) -> str:
    """Return the terminology entry of a segment; may be empty."""
    return tagOf(segment, segment.GetTerminologyEntryTagName())


def isMade(segment: slicer.vtkSegment, segmentId: str) -> bool:
    """Return whether a run of this module, or its review, has made a segment.

    Its code must be that of a level. It also has a tag of this module, or an ID and a terminology
    context of this module: files of the command line and scenes of version 0.1 may have no tag.
    """
    entry = entryOf(segment)
    if tagOf(segment, TAKEN_TAG) or level_coded(entry) is None:
        return False
    if any(tagOf(segment, tag) for tag in _MADE_TAGS):
        return True
    return bool(_ID.fullmatch(segmentId)) and is_own_entry(entry)


def isTaken(segment: slicer.vtkSegment) -> bool:
    """Return whether a segment of another source is under review."""
    return tagOf(segment, TAKEN_TAG) not in ("", RELEASED)


def madeIds(node: Node) -> list[str]:
    """Return the IDs of the segments that this module has made, in Slicer's order."""
    segmentation = node.GetSegmentation()
    return [i for i in segmentation.GetSegmentIDs() if isMade(segmentation.GetSegment(i), i)]


def takenIds(node: Node) -> list[str]:
    """Return the IDs of the segments that were taken over, in Slicer's order."""
    segmentation = node.GetSegmentation()
    return [i for i in segmentation.GetSegmentIDs() if isTaken(segmentation.GetSegment(i))]


def vertebraIds(node: Node) -> list[str]:
    """Return the IDs of the segments under review, made or taken over, from head to tail."""
    segmentation = node.GetSegmentation()
    order = {i: _position(segmentation.GetSegment(i), i) for i in [*madeIds(node), *takenIds(node)]}
    return sorted(order, key=order.__getitem__)


def _position(segment: slicer.vtkSegment, segmentId: str) -> int:
    """Return the order from head to tail, by the level in the ID, which no rename changes."""
    match = _ID.fullmatch(segmentId)
    label = labelOf(segment) if match is None else BY_VALUE.get(int(match[1]))
    return len(LABELS) if label is None else ORDER[label.name]
