"""Review of one segmentation: actions as single steps, undo, redo and log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.anatomy.numbering_rules import checked
from spinemamba.common.errors import UserError
from SpineMambaSegmentLib.Review import Log, SharedLabelmap
from SpineMambaSegmentLib.Review.Mask import Mask
from SpineMambaSegmentLib.Review.Rules import changedStates, orderWith, pinsAfter, repaired
from SpineMambaSegmentLib.Review.SceneWriter import write
from SpineMambaSegmentLib.Review.SegmentState import SegmentState, readState
from SpineMambaSegmentLib.Review.Spine import ATTRIBUTES, Action, Spine, sortedByHeight
from SpineMambaSegmentLib.Scene import Frames
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf
from SpineMambaSegmentLib.Scene.Segments import SEGMENT_ID

MANUAL_EDIT = _("Edited by hand")


@dataclass(frozen=True)
class Step:
    """One step that can be undone.

    Attributes:
        title: Title of the action.
        before: Changed segments before the step, by ID; None if the segment did not exist.
        after: The same segments after the step; None if the segment was removed.
        attributesBefore: Changed attributes of the segmentation node before the step.
        attributesAfter: The same attributes after the step.
        orderBefore: IDs of all segments in Slicer's order before the step.
        orderAfter: The same after the step.
    """

    title: str
    before: Mapping[str, SegmentState | None]
    after: Mapping[str, SegmentState | None]
    attributesBefore: Mapping[str, str]
    attributesAfter: Mapping[str, str]
    orderBefore: tuple[str, ...]
    orderAfter: tuple[str, ...]


class ReviewSession:
    """The vertebrae of one segmentation under review, or of one frame of a sequence.

    Attributes:
        frame: Frame of the sequence; None if the segmentation is no proxy node of a sequence.

    Args:
        node: The segmentation; its segments are read at once.
        volumeNode: The image; None if unknown.
        reviewer: Name for the log and for approved segments; may be empty.
    """

    def __init__(
        self,
        node: slicer.vtkMRMLSegmentationNode,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None,
        reviewer: str = "",
    ):
        self.node, self.volumeNode, self.reviewer = node, volumeNode, reviewer
        self.frame = Frames.frameOf(node)
        self._undo: list[Step] = []
        self._redo: list[Step] = []
        self._masks: dict[str, Mask] = {}
        self._lastFingerprints: dict[str, tuple[int, int]] = {}
        self._spine = self._read()
        self._order = self._readOrder()

    @property
    def spine(self) -> Spine:
        """The vertebrae after the last step."""
        return self._spine

    def isShown(self) -> bool:
        """Return False while the browser of the sequence shows another frame."""
        return self.frame == Frames.frameOf(self.node)

    def apply(self, action: Action) -> list[str]:
        """Apply an action as one step.

        Returns:
            IDs of the segments that changed.

        Raises:
            UserError: If the action is not possible; then nothing is changed.
        """
        if not self.isShown():
            raise UserError(
                _("{title}: the sequence shows another frame now.").format(title=action.title),
                _("Go back to the frame and try again."),
            )
        self.absorb()
        edit = action.edit(self._spine)
        after = changedStates(self._spine, edit, self._stamp())
        before = {i: self._spine.states.get(i) for i in after}
        values = {**pinsAfter(self._spine, after), **edit.attributes}
        attributes = {n: v for n, v in values.items() if self._spine.attributes[n] != v}
        checked([s.level for s in {**self._spine.states, **after}.values() if s is not None])
        if not after and not attributes:
            raise UserError(
                _("{title}: nothing would change.").format(title=action.title),
                _("Choose something else."),
            )
        old = {name: self._spine.attributes[name] for name in attributes}
        orders = self._order, orderWith(self._spine, after, self._order)
        step = Step(action.title, before, after, old, attributes, *orders)
        self._write(step.after, step.attributesAfter, step.orderAfter)
        self._record(step)
        return list(after)

    def absorb(self) -> list[str]:
        """Record changes made elsewhere, such as in the Segment Editor, as one step.

        Changes of approved vertebrae are reverted, and overlaps are removed. Nothing is recorded
        while the sequence shows another frame.

        Returns:
            IDs of the segments that changed.
        """
        if not self.isShown():
            return []
        now = self._read()
        if repairs := repaired(self._spine, now):
            write(self.node, now, repairs, self._readOrder())
            now = self._read()
        ids = [i for i in {**self._spine.states, **now.states} if _differs(self._spine, now, i)]
        if not ids:
            return []
        before = {i: self._spine.states.get(i) for i in ids}
        after = {i: now.states.get(i) for i in ids}
        order, self._order = self._order, self._readOrder()
        self._spine = now
        self._record(Step(MANUAL_EDIT, before, after, {}, {}, order, self._order))
        return ids

    @property
    def undoTitle(self) -> str:
        """Title of the step that `undo` reverts; empty if there is none."""
        return self._undo[-1].title if self._undo else ""

    @property
    def redoTitle(self) -> str:
        """Title of the step that `redo` repeats; empty if there is none."""
        return self._redo[-1].title if self._redo else ""

    def undo(self) -> list[str]:
        """Undo the last step, and return the IDs of the segments that changed."""
        self.absorb()
        if not self._undo or not self.isShown():
            return []
        step = self._undo.pop()
        self._write(step.before, step.attributesBefore, step.orderBefore)
        self._redo.append(step)
        self._log(f"Undo: {step.title}", step.after, step.before)
        return list(step.before)

    def redo(self) -> list[str]:
        """Repeat the last undone step, and return the IDs of the segments that changed."""
        if self.absorb() or not self._redo or not self.isShown():
            return []
        step = self._redo.pop()
        self._write(step.after, step.attributesAfter, step.orderAfter)
        self._undo.append(step)
        self._log(f"Redo: {step.title}", step.before, step.after)
        return list(step.after)

    def _write(
        self,
        after: Mapping[str, SegmentState | None],
        attributes: Mapping[str, str],
        order: tuple[str, ...],
    ) -> None:
        write(self.node, self._spine, after, order)
        self._order = order
        for name, value in attributes.items():
            self.node.SetAttribute(name, value or None)
        states = {**self._spine.states, **after}
        self._masks = {i: s.mask for i, s in states.items() if s is not None}
        self._updateFingerprints()
        self._spine = self._read()

    def _record(self, step: Step) -> None:
        self._undo.append(step)
        self._redo.clear()
        self._log(step.title, step.before, step.after)

    def _log(
        self,
        title: str,
        before: Mapping[str, SegmentState | None],
        after: Mapping[str, SegmentState | None],
    ) -> None:
        item = Log.entry(title, self.reviewer, self._stamp()[1])
        item["changes"] = Log.changes(before, after, self._spine.voxel_ml)
        Log.append(self.node, item)
        Frames.keep(self.node, None if _isReshaped(before, after) else list(after))

    def _stamp(self) -> tuple[str, str]:
        """Return the reviewer's name and the time."""
        return self.reviewer, Log.now()

    def _read(self) -> Spine:
        """Return the current segments; voxels are read again only if they changed."""
        ids = [i for i in self.node.GetSegmentation().GetSegmentIDs() if SEGMENT_ID.fullmatch(i)]
        if self._fingerprints(ids) != self._lastFingerprints:
            self._masks = SharedLabelmap.readMasks(self.node, ids)
            self._updateFingerprints()
        states = {i: readState(self.node, i, self._masks[i]) for i in ids}
        attributes = {name: self.node.GetAttribute(name) or "" for name in ATTRIBUTES}
        return sortedByHeight(Spine(states, self._grid(ids), attributes, self.volumeNode))

    def _readOrder(self) -> tuple[str, ...]:
        return tuple(self.node.GetSegmentation().GetSegmentIDs())

    def _updateFingerprints(self) -> None:
        ids = [i for i in self.node.GetSegmentation().GetSegmentIDs() if SEGMENT_ID.fullmatch(i)]
        self._lastFingerprints = self._fingerprints(ids)

    def _fingerprints(self, ids: list[str]) -> dict[str, tuple[int, int]]:
        """Return modification time and label value of each segment, to detect changed voxels."""
        fingerprints = {}
        for segmentId in ids:
            image = SharedLabelmap.imageOf(self.node, segmentId)
            value = self.node.GetSegmentation().GetSegment(segmentId).GetLabelValue()
            fingerprints[segmentId] = (0 if image is None else image.GetMTime(), value)
        return fingerprints

    def _grid(self, ids: list[str]) -> Grid:
        for segmentId in ids:
            if (image := SharedLabelmap.imageOf(self.node, segmentId)) is not None:
                return SharedLabelmap.gridOfImage(image)
        if self.volumeNode is not None:
            return gridOf(self.volumeNode)
        return Grid(np.eye(4), (0, 0, 0))  # no segment has voxels


def _isReshaped(
    before: Mapping[str, SegmentState | None], after: Mapping[str, SegmentState | None]
) -> bool:
    """Return whether a step adds or removes a segment, or changes its voxels."""
    return any(
        new is None or before[i] is None or new.mask != before[i].mask for i, new in after.items()
    )


def _differs(one: Spine, other: Spine, segmentId: str) -> bool:
    return one.states.get(segmentId) != other.states.get(segmentId)
