"""Review of one segmentation: actions as single steps, undo, redo and log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.anatomy.numbering_rules import checked
from spinemamba.common.errors import UserError
from SpineMambaSegmentLib.Review import Log, SharedLabelmap
from SpineMambaSegmentLib.Review.Mask import Mask
from SpineMambaSegmentLib.Review.Rules import changedStates, orderWith, pinsAfter, repaired
from SpineMambaSegmentLib.Review.SceneWriter import write
from SpineMambaSegmentLib.Review.SegmentState import (
    AT_TAG,
    BY_TAG,
    STATUS_TAG,
    SegmentState,
    readState,
)
from SpineMambaSegmentLib.Review.Spine import ATTRIBUTES, Action, Spine, sortedByHeight
from SpineMambaSegmentLib.Scene import Frames
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf
from SpineMambaSegmentLib.Scene.Ownership import vertebraIds

MANUAL_EDIT = _("Edited by hand")
STATUS_EDIT = _("Status set in Slicer")
RESTORED = _("Approved vertebra restored")


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

    Attributes:
        restored: Names of approved vertebrae that were put back, until `takeNotices` is called.
        added: IDs of other segments that appeared, until `takeNotices` is called.

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
        self._removed: dict[str, slicer.vtkSegment] = {}
        self._lastFingerprints: dict[str, tuple[int, int]] = {}
        self._spine = self._read()
        self._order = self._readOrder()
        self.restored: list[str] = []
        self.added: list[str] = []

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
        old, attributes = self._changedAttributes(values)
        checked([s.level for s in {**self._spine.states, **after}.values() if s is not None])
        if not after and not attributes:
            raise UserError(
                _("{title}: nothing would change.").format(title=action.title),
                _("Choose something else."),
            )
        orders = self._order, orderWith(self._spine, after, self._order)
        step = Step(action.title, before, after, old, attributes, *orders)
        self._write(step.after, step.attributesAfter, step.orderAfter)
        self._record(step)
        return list(after)

    def absorb(self) -> list[str]:
        """Record changes made elsewhere, such as in the Segment Editor, as one step.

        What `repaired` does not allow is put back and logged; ``restored`` tells which approved
        vertebrae these were. Overlaps are removed. Nothing is recorded
        while the sequence shows another frame.

        Returns:
            IDs of the segments that changed.
        """
        if not self.isShown():
            return []
        now, order = self._read(), self._readOrder()
        repairs = repaired(self._spine, now, self._stamp())
        if repairs:
            self._logRestored(now, repairs)
            missing = {i: s for i, s in repairs.items() if i not in now.states}
            order = orderWith(now, missing, order)
            write(self.node, now, repairs, order, self._removed)
            now = self._read()
        self.added += [i for i in order if i not in self._order and i not in now.states]
        ids = [i for i in {**self._spine.states, **now.states} if _differs(self._spine, now, i)]
        if not ids:
            self._order = order
            return []
        before = {i: self._spine.states.get(i) for i in ids}
        after = {i: now.states.get(i) for i in ids}
        title = STATUS_EDIT if _onlyStatusDiffers(before, after) else MANUAL_EDIT
        old, attributes = self._changedAttributes(pinsAfter(self._spine, after))
        self._writeAttributes(attributes)
        orders = self._order, self._readOrder()
        self._order, self._spine = orders[1], self._read()
        self._record(Step(title, before, after, old, attributes, *orders))
        return ids

    def takeNotices(self) -> list[str]:
        """Return sentences about changes made elsewhere that the user should know, once each."""
        segmentation = self.node.GetSegmentation()
        segments = [segmentation.GetSegment(i) for i in self.added]
        names = ", ".join(s.GetName() for s in segments if s is not None)
        texts = []
        if self.restored:
            text = _("Approved, therefore restored: {names}. Withdraw the approval to change it.")
            texts.append(text.format(names=", ".join(self.restored)))
        if names:
            text = _(
                "New segments that are not in the table: {names}. Use Split in the menu Shape."
            )
            texts.append(text.format(names=names))
        self.restored, self.added = [], []
        return texts

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
        self._log(_("Undo: {title}").format(title=step.title), step.after, step.before)
        return list(step.before)

    def redo(self) -> list[str]:
        """Repeat the last undone step, and return the IDs of the segments that changed."""
        if self.absorb() or not self._redo or not self.isShown():
            return []
        step = self._redo.pop()
        self._write(step.after, step.attributesAfter, step.orderAfter)
        self._undo.append(step)
        self._log(_("Redo: {title}").format(title=step.title), step.before, step.after)
        return list(step.after)

    def _write(
        self,
        after: Mapping[str, SegmentState | None],
        attributes: Mapping[str, str],
        order: tuple[str, ...],
    ) -> None:
        write(self.node, self._spine, after, order, self._removed)
        self._order = order
        self._writeAttributes(attributes)
        states = {**self._spine.states, **after}
        self._masks = {i: s.mask for i, s in states.items() if s is not None}
        self._updateFingerprints()
        self._spine = self._read()

    def _changedAttributes(self, values: Mapping[str, str]) -> tuple[dict[str, str], ...]:
        """Return the old and the new values of the attributes that differ."""
        known = self._spine.attributes
        names = [name for name, value in values.items() if known[name] != value]
        return {n: known[n] for n in names}, {n: values[n] for n in names}

    def _writeAttributes(self, attributes: Mapping[str, str]) -> None:
        for name, value in attributes.items():
            self.node.SetAttribute(name, value or None)

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

    def _logRestored(self, now: Spine, repairs: Mapping[str, SegmentState | None]) -> None:
        """Log the approved vertebrae that were changed elsewhere and are put back."""
        known = self._spine.states
        ids = [i for i in self._spine.approved() if i in repairs and repairs[i] == known[i]]
        if ids:
            self.restored += [known[i].name for i in ids if known[i].name not in self.restored]
            was = {i: now.states.get(i) for i in ids}
            self._log(RESTORED, was, {i: known[i] for i in ids})

    def _stamp(self) -> tuple[str, str]:
        """Return the reviewer's name and the time."""
        return self.reviewer, Log.now()

    def _read(self) -> Spine:
        """Return the current segments; voxels are read again only if they changed."""
        ids = vertebraIds(self.node)
        if self._fingerprints(ids) != self._lastFingerprints:
            self._masks = SharedLabelmap.readMasks(self.node, ids)
            self._updateFingerprints()
        states = {i: readState(self.node, i, self._masks[i]) for i in ids}
        attributes = {name: self.node.GetAttribute(name) or "" for name in ATTRIBUTES}
        others = frozenset(self._readOrder()) - frozenset(ids)
        grid = self._grid(ids)
        return sortedByHeight(Spine(states, grid, attributes, self.volumeNode, others))

    def _readOrder(self) -> tuple[str, ...]:
        return tuple(self.node.GetSegmentation().GetSegmentIDs())

    def _updateFingerprints(self) -> None:
        ids = vertebraIds(self.node)
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


def _onlyStatusDiffers(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Return whether states differ in nothing but the status and its reviewer and time."""
    nothing = dict.fromkeys((STATUS_TAG, BY_TAG, AT_TAG), "")
    pairs = [(before[i], after[i]) for i in after]
    return all(
        a is not None and b is not None and a.withTags(nothing) == b.withTags(nothing)
        for a, b in pairs
    )


def _isReshaped(
    before: Mapping[str, SegmentState | None], after: Mapping[str, SegmentState | None]
) -> bool:
    """Return whether a step adds or removes a segment, or changes its voxels."""
    return any(
        new is None or before[i] is None or new.mask != before[i].mask for i, new in after.items()
    )


def _differs(one: Spine, other: Spine, segmentId: str) -> bool:
    return one.states.get(segmentId) != other.states.get(segmentId)
