"""Review sessions of all segmentations of a scene, and observers of their changes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from SpineMambaSegmentLib.Review import Log
from SpineMambaSegmentLib.Review.Pins import INSTANCE_TAG, PinLevel
from SpineMambaSegmentLib.Review.Session import ReviewSession
from SpineMambaSegmentLib.Scene import Provenance, Segments

_EDITS = ("SourceRepresentationModified", "SegmentModified", "SegmentRemoved")

Node = slicer.vtkMRMLSegmentationNode


class ReviewSessions:
    """One session per segmentation, so that undo still works after switching between them.

    Args:
        onEdited: Called when the watched segmentation changes, by a session or otherwise.
    """

    def __init__(self, onEdited: Callable[[], None]):
        self._onEdited = onEdited
        self._sessions: dict[str, ReviewSession] = {}
        self._segmentation: slicer.vtkSegmentation | None = None
        self._tags: list[int] = []

    def watch(self, node: Node | None, reviewer: str) -> ReviewSession | None:
        """Return the session of a segmentation, and report its changes from now on."""
        segmentation = None if node is None else node.GetSegmentation()
        if segmentation is not self._segmentation:
            for tag in self._tags:
                self._segmentation.RemoveObserver(tag)
            events = [] if node is None else [getattr(slicer.vtkSegmentation, e) for e in _EDITS]
            self._tags = [segmentation.AddObserver(e, self._onEvent) for e in events]
            self._segmentation = segmentation
        if node is None:
            return None
        session = self._sessions.get(node.GetID())
        if session is None or session.node is not node:
            role = node.GetReferenceImageGeometryReferenceRole()
            session = ReviewSession(node, node.GetNodeReference(role), reviewer)
            self._sessions[node.GetID()] = session
        session.reviewer = reviewer
        return session

    def onSegmented(self, node: Node) -> None:
        """Start a new session after a run; earlier steps cannot be undone.

        Approved vertebrae were kept, but unknown to the run. They count as fixed levels, and the
        level solver renames the others to match.
        """
        self.drop(node)
        for segmentId in Segments.reviewedIds(node):
            # The instance number belongs to an earlier run.
            node.GetSegmentation().GetSegment(segmentId).RemoveTag(INSTANCE_TAG)
        session = ReviewSession(node)
        if session.spine.approved():
            # If there is no consistent labeling, the panel shows which levels are out of order.
            with contextlib.suppress(UserError):
                session.apply(PinLevel("", ""))
        result = Provenance.keptResult(node)
        model = "" if result is None else f"{result.model_name} {result.model_version}"
        title = _("Segmented by {value}").format(value=model or _("a model"))
        Log.append(node, Log.entry(title, "", Log.now()))

    def drop(self, node: Node) -> None:
        """Drop the session of a segmentation; the next session reads it again."""
        self._sessions.pop(node.GetID(), None)

    def clear(self) -> None:
        """Drop all sessions, because the scene is being closed."""
        self.watch(None, "")
        self._sessions.clear()

    def _onEvent(self, caller: slicer.vtkSegmentation, event: str) -> None:
        self._onEdited()
