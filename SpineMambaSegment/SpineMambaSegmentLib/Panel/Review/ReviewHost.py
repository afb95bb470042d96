"""What menus and file dialogs may ask of the section Review."""

from __future__ import annotations

from typing import Protocol

from SpineMambaSegmentLib.Application.UserSettings import UserSettings
from SpineMambaSegmentLib.Review.Session import ReviewSession
from SpineMambaSegmentLib.Review.Spine import Action


class ReviewHost(Protocol):
    """Implemented by `ReviewSection`; tests may use a smaller object.

    Attributes:
        session: Session of the segmentation in the table; None if the table is empty.
        dims: If True, neighbours of the current vertebra are dimmed in the views.
        alongAxes: If True, slices follow the axes of the current vertebra.
        settings: Remembers the folders of file dialogs.
    """

    session: ReviewSession | None
    dims: bool
    alongAxes: bool
    settings: UserSettings

    def say(self, text: str) -> None:
        """Show a message in the status line."""

    def currentId(self) -> str:
        """Return the segment ID of the current vertebra, or an empty string."""

    def selectedIds(self) -> list[str]:
        """Return the segment IDs of the selected vertebrae, in the order of the table."""

    def goTo(self, segmentId: str) -> None:
        """Centre the views on a vertebra."""

    def applyViews(self) -> None:
        """Dim and align the views as ``dims`` and ``alongAxes`` say."""

    def onWaiting(self, isWaiting: bool) -> None:
        """Called when waiting for clicks starts or ends."""

    def do(self, action: Action) -> bool:
        """Apply an action as one step; return False after showing why it failed."""

    def follow(self, session: ReviewSession, changed: list[str]) -> None:
        """Update the table after a step of a session changed some segments."""

    def reload(self) -> None:
        """Read the segmentation again after a file changed its attributes."""
