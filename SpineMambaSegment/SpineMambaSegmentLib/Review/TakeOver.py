"""Vertebrae of another source are taken over for the review, in place.

IDs, names, colours and voxels stay as they are. A segment gets the tag `TAKEN_TAG`, and what a run
would store: number, volume, quality flags, and status *flagged* if it has flags. Only a segment
whose level the user chose, against its name or code, gets our code, and our name if its name
means another level.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.anatomy.labels import BY_NAME, Label
from spinemamba.anatomy.terminology import (
    is_sacral_part,
    level_coded,
    level_of,
    mentions_level,
    number_named,
    terminology_entry,
    why_no_level,
)
from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.flags import names, sentences
from spinemamba.protocol.result import Result
from spinemamba.protocol.review import TAKEN, TAKEN_TAG
from SpineMambaSegmentLib.Review import Log, SharedLabelmap
from SpineMambaSegmentLib.Review.Mask import EMPTY, around
from SpineMambaSegmentLib.Review.Pins import INSTANCE_TAG
from SpineMambaSegmentLib.Review.Rules import repaired
from SpineMambaSegmentLib.Review.SceneWriter import write
from SpineMambaSegmentLib.Review.SegmentState import STATUS_TAG
from SpineMambaSegmentLib.Review.Session import ReviewSession
from SpineMambaSegmentLib.Review.Spine import Spine
from SpineMambaSegmentLib.Scene import Frames, Inputs, Provenance, WriteMark
from SpineMambaSegmentLib.Scene.Grid import gridOf, referenceGrid
from SpineMambaSegmentLib.Scene.LabelArray import labelArray
from SpineMambaSegmentLib.Scene.LazyImport import tool
from SpineMambaSegmentLib.Scene.Ownership import entryOf, labelOf, vertebraIds
from SpineMambaSegmentLib.Scene.Straightened import geometryOf, volumeOf

_MAX_VALUE = 255
_FIRST_SACRAL = "s1"
_MARGIN_VOXELS = 2
"""Without an image, the vertebrae are not cut by its edge."""

Node = slicer.vtkMRMLSegmentationNode
Extent = tuple[int, int, int, int, int, int]


@dataclass(frozen=True)
class Candidate:
    """A segment that is not under review.

    Attributes:
        segmentId: Its ID.
        name: Its name.
        level: Its level by name or code; empty if it is not a vertebra.
        reason: Why the user should choose its level; empty if it is clear.
    """

    segmentId: str
    name: str
    level: str
    reason: str = ""


def candidates(node: Node) -> list[Candidate]:
    """Return the segments of a segmentation that are not under review, in Slicer's order."""
    segmentation, reviewed = node.GetSegmentation(), vertebraIds(node)
    segments = {i: segmentation.GetSegment(i) for i in segmentation.GetSegmentIDs()}
    labels = {i: labelOf(segment) for i, segment in segments.items()}
    parts, lower = _sacralParts(segments, labels)
    owners: dict[str, list[str]] = {}
    for segmentId, label in labels.items():
        if label is not None and segmentId not in parts:
            owners.setdefault(label.name, []).append(segmentId)
    found = []
    for segmentId in (i for i in segments if i not in reviewed):
        segment, label = segments[segmentId], labels[segmentId]
        level, reason = ("", "") if label is None else (label.name, "")
        if label is None:
            entry = entryOf(segment)
            if mentions_level(segment.GetName()) or level_coded(entry) is not None:
                reason = why_no_level(entry)
        elif segmentId in parts:
            level = ""  # it stays beside the sacrum, and is left out of the review
        elif others := [segments[i].GetName() for i in owners[level] if i != segmentId]:
            reason = _("{names} is {level}, too").format(names=", ".join(others), level=level)
        elif lower and _FIRST_SACRAL in segment.GetName().lower():
            reason = _("the sacrum is in parts; {names} is left out").format(names=", ".join(lower))
        found.append(Candidate(segmentId, segment.GetName(), level, reason))
    return found


def levelsByNumber(node: Node) -> dict[str, str]:
    """Return levels by segment ID, from numbers in names such as ``Segment_20``.

    Positions and volumes tell which numbering scheme the numbers follow.

    Raises:
        UserError: If the segments have no numbers, or these fit no scheme or several.
    """
    segmentation = node.GetSegmentation()
    names = {i: segmentation.GetSegment(i).GetName() for i in segmentation.GetSegmentIDs()}
    numbers = {i: number_named(name) for i, name in names.items()}
    values = {i: value for i, value in numbers.items() if 0 < (value or 0) <= _MAX_VALUE}
    if len(set(values.values())) < len(values):
        raise UserError(
            _("Several segments have the same number."),
            _("Choose the levels of the vertebrae in the table."),
        )
    grid = SharedLabelmap.commonGrid(node, values)
    if grid is None:
        raise UserError(
            _("The segments have no numbers in their names."),
            _("Choose the levels of the vertebrae in the table."),
        )
    bounds = np.zeros(6)
    segmentation.GetBounds(bounds)
    corners = np.array(np.meshgrid(*bounds.reshape(3, 2))).reshape(3, -1).T
    ijk = grid.toIjk(corners)
    ends = zip(np.floor(ijk.min(axis=0)), np.ceil(ijk.max(axis=0)), strict=True)
    part = grid.cut(tuple(int(n) for pair in ends for n in pair))
    lookup = np.array([0, *values.values()], np.uint8)
    labels = volumeOf(lookup[labelArray(node, list(values), part)], part)
    scheme = tool("labelmaps.recognise_scheme")
    numbering = scheme.guess_numbering(
        scheme.label_stats(labels), sorted(values.values()), node.GetName()
    )
    return {i: numbering.levels[v].name for i, v in values.items() if v in numbering.levels}


def _sacralParts(
    segments: Mapping[str, slicer.vtkSegment], labels: Mapping[str, Label | None]
) -> tuple[list[str], list[str]]:
    """Return the IDs of S1 beside another segment for the sacrum, and the names S2 to S5."""
    sacra = [i for i, label in labels.items() if label is BY_NAME["Sacrum"]]
    first = [i for i in sacra if _FIRST_SACRAL in segments[i].GetName().lower()]
    names = [segments[i].GetName() for i, label in labels.items() if label is None]
    isWhole = len(first) < len(sacra)
    return (first, []) if isWhole else ([], [name for name in names if is_sacral_part(name)])


def takeOver(
    node: Node,
    levels: Mapping[str, str],
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None,
    reviewer: str = "",
) -> list[str]:
    """Take over segments as vertebrae.

    Overlapping voxels are given to the upper vertebra, since no voxel may have two levels.

    Args:
        node: The segmentation.
        levels: Level of each vertebra by segment ID. All other segments stay untouched.
        volumeNode: The image; None if unknown.
        reviewer: Name for the log; may be empty.

    Returns:
        Sentences about what the user should know.

    Raises:
        UserError: If two vertebrae would have the same level, the segments are surfaces or are
            sampled on different grids, or a required package is missing; nothing is changed then.
    """
    _check(node, levels)
    findings = tool("findings.labelled_spine")
    grid = SharedLabelmap.commonGrid(node, [*vertebraIds(node), *levels])
    SharedLabelmap.putOnGrid(node, levels, grid)
    for segmentId, level in levels.items():
        _mark(node.GetSegmentation().GetSegment(segmentId), level)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    spine = ReviewSession(node, volumeNode).spine
    if notes := _removeOverlaps(node, spine):
        spine = ReviewSession(node, volumeNode).spine
    _store(node, spine, _resultOf(spine, _imageExtent(node, spine), findings), levels)
    title = _("Take over ({count})").format(count=len(levels))
    Log.append(node, Log.entry(title, reviewer, Log.now()))
    Frames.keep(node)
    return notes


def _check(node: Node, levels: Mapping[str, str]) -> None:
    if not levels:
        raise UserError(
            _("No segment has a level."), _("Choose the levels of the vertebrae in the table.")
        )
    Inputs.checkVoxels(node)
    WriteMark.check(node)
    segmentation = node.GetSegmentation()
    owners: dict[str, list[str]] = {}
    reviewed = {i: labelOf(segmentation.GetSegment(i)) for i in vertebraIds(node)}
    known = {i: label.name for i, label in reviewed.items() if label is not None}
    for segmentId, level in {**known, **levels}.items():
        name = segmentation.GetSegment(segmentId).GetName()
        owners.setdefault(level, []).append(name)
    for level, both in owners.items():
        if len(both) > 1:
            raise UserError(
                _("{names} would all be {level}.").format(names=", ".join(both), level=level),
                _("Choose different levels in the table, or leave one out."),
                Code.INPUT_BAD,
            )


def _mark(segment: slicer.vtkSegment, level: str) -> None:
    """Tag a segment, and let its name and code mean the level."""
    label = BY_NAME[level]
    if labelOf(segment) is not label:
        segment.SetTag(segment.GetTerminologyEntryTagName(), terminology_entry(label))
        if level_of(segment.GetName(), entryOf(segment)) is not label:
            segment.SetName(level)
    segment.SetTag(TAKEN_TAG, TAKEN)


def _removeOverlaps(node: Node, spine: Spine) -> list[str]:
    """Give every voxel to one vertebra; return sentences about those that had two."""
    notes = []
    for (above, upper), (below, lower) in itertools.combinations(spine.states.items(), 2):
        if (count := upper.mask.overlap(lower.mask)) and above != below:
            text = _("{upper} and {lower} shared {count} voxels; {upper} keeps them.")
            notes.append(text.format(upper=upper.name, lower=lower.name, count=count))
    if notes:
        states = repaired(Spine({}, spine.grid, spine.attributes), spine, ("", ""))
        write(node, spine, states, tuple(node.GetSegmentation().GetSegmentIDs()), {})
    return notes


def _resultOf(spine: Spine, extent: Extent, findings: Any) -> Result:
    """Return sizes and flags of all vertebrae that have voxels."""
    states = {i: s for i, s in spine.states.items() if s.mask != EMPTY and s.level}
    first = np.array(extent[::2])[::-1]
    vertebrae = [
        findings.LabelledVertebra(
            state.level, state.mask.array(), tuple(int(n) for n in state.mask.first - first)
        )
        for state in states.values()
    ]
    return findings.result_of(vertebrae, geometryOf(spine.grid.cut(extent)))


def _imageExtent(node: Node, spine: Spine) -> Extent:
    """Return first and last voxels (i, i, j, j, k, k) of the image on the grid of the spine.

    A segmentation from a file has no volume node, but the geometry of its image.
    """
    volume = spine.volumeNode
    isUsed = volume is not None and volume.GetTransformNodeID() == node.GetTransformNodeID()
    image = gridOf(volume) if isUsed else referenceGrid(node)
    if image is not None:
        corners = spine.grid.toIjk(image.corners())
        ends = zip(np.rint(corners.min(axis=0)), np.rint(corners.max(axis=0)), strict=True)
    else:
        boxes = [s.mask.box for s in spine.states.values() if s.mask != EMPTY]
        box = around(boxes or [(slice(0, 1),) * 3], _MARGIN_VOXELS)
        ends = [(part.start, part.stop - 1) for part in reversed(box)]
    i, j, k = ((int(a), int(b)) for a, b in ends)
    return (*i, *j, *k)


def _store(node: Node, spine: Spine, result: Result, levels: Mapping[str, str]) -> None:
    """Write numbers, volumes, flags and status to the segments, and the result to the node."""
    entries = {entry.name: entry for entry in result.instances}
    # The result of an earlier run in the same segmentation numbers its own vertebrae.
    isFirst = spine.attributes[Provenance.RESULT_ATTRIBUTE] == ""
    for segmentId, level in levels.items():
        segment, entry = node.GetSegmentation().GetSegment(segmentId), entries.get(level)
        if entry is None:
            continue
        tags = {
            "SpineMamba.VolumeMl": f"{entry.volume_ml:.1f}",
            "SpineMamba.Flags": sentences(entry.flags),
            "SpineMamba.FlagNames": names(entry.flags),
            INSTANCE_TAG: str(entry.id) if isFirst else "",
        }
        if entry.flags and spine.states[segmentId].status == Provenance.Logic.NotStarted:
            tags[STATUS_TAG] = Provenance.FLAGGED
        Provenance.setTags(segment, {name: text for name, text in tags.items() if text})
    if isFirst:
        text = json.dumps(result.to_json(), separators=(",", ":"))
        node.SetAttribute(Provenance.RESULT_ATTRIBUTE, text)
