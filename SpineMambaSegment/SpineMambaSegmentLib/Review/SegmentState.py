"""State of one segment as an immutable value; reading it from and writing it to a segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import slicer

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.anatomy.terminology import level_of, name_like, segment_info
from spinemamba.protocol.review import (
    AT_TAG,
    BY_TAG,
    NAMED_TAG,
    TAKEN,
    TAKEN_TAG,
)
from SpineMambaSegmentLib.Review.Mask import Mask
from SpineMambaSegmentLib.Scene import Provenance
from SpineMambaSegmentLib.Scene.Provenance import STATUS_TAG

Logic = slicer.vtkSlicerSegmentationsModuleLogic
NOT_STARTED, CORRECTED = Logic.NotStarted, Logic.InProgress
APPROVED, FLAGGED = Logic.Completed, Logic.Flagged
STATUSES = (NOT_STARTED, FLAGGED, CORRECTED, APPROVED)

STATUS_TEXT = {status: Logic.GetSegmentStatusAsMachineReadableString(status) for status in STATUSES}
_STATUS_OF_TEXT = {text: status for status, text in STATUS_TEXT.items()}
_TERMINOLOGY_TAG = slicer.vtkSegment.GetTerminologyEntryTagName()
VARIANT_TAG = "SpineMamba.Variant"
TAGS = (
    _TERMINOLOGY_TAG, STATUS_TAG, BY_TAG, AT_TAG, NAMED_TAG, VARIANT_TAG,
    TAKEN_TAG, *Provenance.SEGMENT_TAGS,
)  # fmt: skip
"""Tags that review reads and writes. Slicer's Python cannot list the tags of a segment, so any
other tag is left unchanged."""


@dataclass(frozen=True)
class SegmentState:
    """One segment.

    Attributes:
        name: Displayed name.
        color: Red, green, blue, 0 to 255. Slicer uses fractions, which files round.
        tags: Names and values of its tags among `TAGS`.
        mask: Voxels.
    """

    name: str
    color: tuple[int, int, int]
    tags: tuple[tuple[str, str], ...]
    mask: Mask

    def tag(self, name: str) -> str:
        """Return the value of a tag, or an empty string."""
        return dict(self.tags).get(name, "")

    def withTags(self, changes: Mapping[str, str]) -> SegmentState:
        """Return the state with changed tags; an empty value removes a tag."""
        if unknown := set(changes) - set(TAGS):
            raise ValueError(f"tags that undo does not know: {sorted(unknown)}")
        merged = {**dict(self.tags), **changes}
        return replace(self, tags=tuple((n, merged[n]) for n in TAGS if merged.get(n)))

    @property
    def level(self) -> str | None:
        """The anatomical level by name or terminology code; None for other segments."""
        label = level_of(self.name, self.tag(_TERMINOLOGY_TAG))
        return None if label is None else label.name

    @property
    def status(self) -> int:
        """One of `STATUSES`."""
        return _STATUS_OF_TEXT.get(self.tag(STATUS_TAG), NOT_STARTED)

    def withStatus(self, status: int) -> SegmentState:
        """Return the state with another status."""
        return self.withTags({STATUS_TAG: STATUS_TEXT[status]})

    def withLevel(self, level: str) -> SegmentState:
        """Return the state with the name, colour and code of a level.

        A vertebra that was taken over keeps its colour and the style of its name, and nothing
        changes if it has the level already.
        """
        info = segment_info(BY_NAME[level].value)
        coded = self.withTags({_TERMINOLOGY_TAG: info.terminology})
        if not self.tag(TAKEN_TAG):
            return replace(coded, name=info.name, color=info.color)
        if self.level == level:
            return self
        return replace(coded, name=name_like(self.name, BY_NAME[level]))


def newState(level: str, mask: Mask, taken: Sequence[str] = ()) -> SegmentState:
    """Return the state of a vertebra that the user adds.

    Args:
        level: Its level.
        mask: Its voxels.
        taken: Names of the vertebrae that were taken over, whose style its name gets.
    """
    state = SegmentState("", (0, 0, 0), (), mask).withLevel(level).withStatus(CORRECTED)
    if not taken:
        return state
    names = [name_like(name, BY_NAME[level]) for name in taken]
    styled = next((name for name in names if name != level), level)
    return replace(state.withTags({TAKEN_TAG: TAKEN}), name=styled)


def readState(node: slicer.vtkMRMLSegmentationNode, segmentId: str, mask: Mask) -> SegmentState:
    """Return the state of a segment with a given mask, because reading voxels is slow."""
    segment = node.GetSegmentation().GetSegment(segmentId)
    tags = tuple((n, v) for n in TAGS if (v := Provenance.tagOf(segment, n)))
    return SegmentState(segment.GetName(), _color(segment), tags, mask)


def _color(segment: slicer.vtkSegment) -> tuple[int, int, int]:
    red, green, blue = (round(255 * channel) for channel in segment.GetColor())
    return red, green, blue


def writeState(segment: slicer.vtkSegment, state: SegmentState) -> None:
    """Write name, colour and tags to a segment; unchanged values are not written."""
    if segment.GetName() != state.name:
        segment.SetName(state.name)
        segment.SetNameAutoGenerated(False)
    if _color(segment) != state.color:
        segment.SetColor(*(channel / 255 for channel in state.color))
        segment.SetColorAutoGenerated(False)
    tags = dict(state.tags)
    for name in TAGS:
        value = tags.get(name)
        if value is None:
            segment.RemoveTag(name)
        elif Provenance.tagOf(segment, name) != value:
            segment.SetTag(name, value)


def volume_ml(state: SegmentState | None, voxel_ml: float) -> float:
    """Return the volume of a segment in mL; 0 if the state is None."""
    return 0.0 if state is None else state.mask.count() * voxel_ml


def idStem(level: str) -> str:
    """Return the first part of the ID of a new segment."""
    return f"V{BY_NAME[level].value}"
