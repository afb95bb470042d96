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
from SpineMambaSegmentLib.Scene import Frames, Provenance, Segments
from SpineMambaSegmentLib.Scene.Ownership import vertebraIds

Node = slicer.vtkMRMLSegmentationNode

_EDITS = (
    slicer.vtkSegmentation.SourceRepresentationModified,
    slicer.vtkSegmentation.SegmentModified,
    slicer.vtkSegmentation.SegmentRemoved,
    Node.SegmentationChangedEvent,
)
"""Events of a segmentation node. Those of its `vtkSegmentation` would not do: a sequence replaces
that object at each frame."""


class ReviewSessions:
    """One session per segmentation, and per frame of a sequence of segmentations.

    Undo still works after switching between them.

    Args:
        onEdited: Called when the watched segmentation changes, by a session or otherwise.
    """

    def __init__(self, onEdited: Callable[[], None]):
        self._onEdited = onEdited
        self._sessions: dict[tuple[str, str], ReviewSession] = {}
        self._node: Node | None = None
        self._tags: list[int] = []

    def watch(self, node: Node | None, reviewer: str) -> ReviewSession | None:
        """Return the session of a segmentation, and report its changes from now on."""
        if node is not self._node:
            for tag in self._tags:
                self._node.RemoveObserver(tag)
            events = [] if node is None else _EDITS
            self._tags = [node.AddObserver(event, self._onEvent) for event in events]
            self._node = node
        if node is None:
            return None
        key = _key(node)
        session = self._sessions.get(key)
        if session is None or session.node is not node or not session.isShown():
            role = node.GetReferenceImageGeometryReferenceRole()
            session = ReviewSession(node, node.GetNodeReference(role), reviewer)
            self._sessions[key] = session
        session.reviewer = reviewer
        return session

    def onSegmented(self, node: Node) -> None:
        """Start a new session after a run; earlier steps cannot be undone; see `startReview`."""
        self.drop(node)
        startReview(node)

    def drop(self, node: Node, indexValue: str | None = None) -> None:
        """Drop the session of a segmentation; the next session reads it again.

        Args:
            node: The segmentation.
            indexValue: Index value of a frame; None for the one that is shown.
        """
        key = _key(node) if indexValue is None else (node.GetID(), indexValue)
        self._sessions.pop(key, None)

    def clear(self) -> None:
        """Drop all sessions, because the scene is being closed."""
        self.watch(None, "")
        self._sessions.clear()

    def _onEvent(self, caller: Node, event: str) -> None:
        self._onEdited()


def startReview(node: Node) -> None:
    """Prepare the segments of a run for review.

    Approved vertebrae were kept, but unknown to the run. They count as fixed levels, and the level
    solver renames the others to match.
    """
    for segmentId in Segments.reviewedIds(node):
        # The instance number belongs to an earlier run.
        node.GetSegmentation().GetSegment(segmentId).RemoveTag(INSTANCE_TAG)
    segments = [node.GetSegmentation().GetSegment(i) for i in vertebraIds(node)]
    if any(Segments.Logic.GetSegmentStatus(s) == Segments.Logic.Completed for s in segments):
        # If there is no consistent labeling, the panel shows which levels are out of order.
        with contextlib.suppress(UserError):
            ReviewSession(node).apply(PinLevel("", ""))
    result = Provenance.keptResult(node)
    model = "" if result is None else f"{result.model_name} {result.model_version}"
    title = _("Segmented by {value}").format(value=model or _("a model"))
    Log.append(node, Log.entry(title, "", Log.now()))
    Frames.keep(node)


def _key(node: Node) -> tuple[str, str]:
    """Return the key of the session of a segmentation, or of the frame that it shows."""
    frame = Frames.frameOf(node)
    return node.GetID(), "" if frame is None else frame.indexValue
