"""The section Review: inspect, correct and approve the vertebrae."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import UserError
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Panel import ReviewViews
from SpineMambaSegmentLib.Panel.ReviewEditor import ReviewEditor
from SpineMambaSegmentLib.Panel.ReviewMenus import ReviewMenus
from SpineMambaSegmentLib.Panel.ReviewTable import ReviewTable
from SpineMambaSegmentLib.Review import Display
from SpineMambaSegmentLib.Review.SegmentState import APPROVED, CORRECTED, FLAGGED, NOT_STARTED
from SpineMambaSegmentLib.Review.Session import ReviewSession
from SpineMambaSegmentLib.Review.Sessions import ReviewSessions
from SpineMambaSegmentLib.Review.Spine import Action
from SpineMambaSegmentLib.Review.StatusActions import ApproveRest, SetStatus
from SpineMambaSegmentLib.Scene.LazyImport import tool

_BANNER_STYLE = "background: #fff3cd; color: #4d3800; border: 1px solid #e0b84c; padding: 5px;"
_LOADING_MS = 1000
"""Delay after which the level solver is imported. The import takes half a second, which would
otherwise delay the first use."""

_EDITED_MS = 300
"""Delay between the last stroke of a brush and the update of the table."""


class ReviewSection:
    """Table, shortcuts and buttons. Everything shown comes from the nodes, also in a loaded scene.

    Attributes:
        session: Session of the segmentation in the table; None if the table is empty.
        dims: If True, neighbours of the current vertebra are dimmed in the views.
        alongAxes: If True, slices follow the axes of the current vertebra.
        onShown: Called when the current vertebra, or any vertebra, has changed.

    Args:
        ui: Widgets of the panel.
        say: Shows a message in the status line.
        reviewer: Returns the user's name; may be empty.
    """

    def __init__(self, ui: Any, say: Callable[[str], None], reviewer: Callable[[], str]):
        self._ui, self.say, self._reviewer = ui, say, reviewer
        self._sessions = ReviewSessions(lambda: self._edited.start())
        self.session: ReviewSession | None = None
        self.dims = self.alongAxes = True
        self.onShown: Callable[[], None] = lambda: None
        self.table = ReviewTable(ui.reviewTable, self.goTo)
        self.menus = ReviewMenus(ui, self)
        self.editor = ReviewEditor(ui.paintFrame, ui.paintOverBox)
        ui.paintFrame.hide()
        ui.reviewBannerLabel.setStyleSheet(_BANNER_STYLE)
        ui.reviewBannerLabel.hide()
        self._edited = qt.QTimer()
        self._edited.setSingleShot(True)
        self._edited.setInterval(_EDITED_MS)
        self._edited.connect("timeout()", self.refresh)
        self._loading = qt.QTimer()
        self._loading.setSingleShot(True)
        self._loading.setInterval(_LOADING_MS)
        self._loading.connect("timeout()", _loadSolver)
        self._connect()

    def _connect(self) -> None:
        ui = self._ui
        presses = {
            ui.approveButton: self.toggleApproved,
            ui.lookButton: self.toggleFlag,
            ui.approveRestButton: lambda: self.do(ApproveRest()),
            ui.previousButton: lambda: self.table.step(-1),
            ui.nextButton: lambda: self.table.step(1),
            ui.undoButton: self.undo,
            ui.redoButton: self.redo,
        }
        for button, slot in presses.items():
            button.connect("clicked(bool)", slot)
        ui.urgentBox.connect("toggled(bool)", self.refresh)
        ui.paintButton.connect("toggled(bool)", self._paint)
        keys = {"J": ui.nextButton, "K": ui.previousButton, "A": ui.approveButton}
        keys |= {"F": ui.lookButton, "Ctrl+Z": ui.undoButton, "Ctrl+Shift+Z": ui.redoButton}
        for key, button in keys.items():
            shortcut = qt.QShortcut(ui.reviewFrame)
            shortcut.setKey(qt.QKeySequence(key))
            # Single letters work in the table only: the Segment Editor below uses them, too.
            shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
            shortcut.connect("activated()", button.click)

    def show(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Show the vertebrae of a segmentation; None clears the table."""
        if node is not (None if self.session is None else self.session.node):
            self.menus.stopClicks()
            self._ui.paintButton.setChecked(False)
        self.session = self._sessions.watch(node, self._reviewer() or "")
        if self.session is not None and self.session.spine.states:
            self._loading.start()
        self.refresh()

    def onSegmented(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        """Start a new session after a run; earlier steps cannot be undone."""
        self._sessions.onSegmented(node)

    def onFrameStored(self, node: slicer.vtkMRMLSegmentationNode, indexValue: str) -> None:
        """Start a new session for a frame that a run has replaced."""
        self._sessions.drop(node, indexValue)
        if self.session is not None and self.session.node is node:
            self.session = self._sessions.watch(node, self._reviewer() or "")

    def reload(self) -> None:
        """Read the segmentation again after a file changed its attributes."""
        node = self.session.node
        self._sessions.drop(node)
        self.show(node)

    def forget(self) -> None:
        """Drop all sessions, because the scene is being closed."""
        self.show(None)
        self._loading.stop()
        self._edited.stop()
        self._sessions.clear()

    def do(self, action: Action) -> bool:
        """Apply an action as one step; return False after showing why it failed."""
        if self.session is None:
            return False
        with Errors.shown(_("{what} is not possible.").format(what=action.title), self.say):
            changed = self.session.apply(action)
            self.say(_("{what}: done.").format(what=action.title))
            self.follow(self.session, changed)
            return True
        return False

    def undo(self) -> None:
        """Undo the last step."""
        if self.session is not None and (title := self.session.undoTitle):
            self.follow(self.session, self.session.undo())
            self.say(_("Undone: {what}.").format(what=title))

    def redo(self) -> None:
        """Redo the last undone step."""
        if self.session is not None and (title := self.session.redoTitle):
            self.follow(self.session, self.session.redo())
            self.say(_("Redone: {what}.").format(what=title))

    def toggleApproved(self) -> None:
        """Approve the selected vertebrae and go to the next, or withdraw their approval."""
        ids = self.table.selected()
        if self._allAre(ids, APPROVED):
            self.do(SetStatus(tuple(ids), CORRECTED))
        elif ids and self.do(SetStatus(tuple(ids), APPROVED)) and len(ids) == 1:
            self.table.step(1)

    def toggleFlag(self) -> None:
        """Flag the selected vertebrae, or remove their flag."""
        ids = self.table.selected()
        if ids:
            flagged = self._allAre(ids, FLAGGED)
            self.do(SetStatus(tuple(ids), NOT_STARTED if flagged else FLAGGED))

    def goTo(self, segmentId: str) -> None:
        """Centre the views on a vertebra."""
        if self.session is None or segmentId not in self.session.spine.states:
            return
        node, spine = self.session.node, self.session.spine
        if self.alongAxes:
            ReviewViews.jumpTo(node, spine, segmentId)
        else:
            ReviewViews.centreOn(node, spine, segmentId)
        ReviewViews.dimOthers(node, segmentId if self.dims else "")
        self.editor.select(segmentId)
        self._showDetails()

    def currentId(self) -> str:
        """Return the segment ID of the current vertebra, or an empty string."""
        return self.table.current()

    def selectedIds(self) -> list[str]:
        """Return the segment IDs of the selected vertebrae, in the order of the table."""
        return self.table.selected()

    def refresh(self) -> None:
        """Record changes made elsewhere, and show the current state."""
        if self.session is not None and not self.session.isShown():
            # The browser of the sequence has gone to another frame, which has its own review.
            self.menus.stopClicks()
            self.session = self._sessions.watch(self.session.node, self._reviewer() or "")
        session, ui = self.session, self._ui
        if session is not None:
            session.absorb()
        spine = None if session is None else session.spine
        hasRows = spine is not None and bool(spine.states)
        self.table.show(Display.rowsOf(spine, ui.urgentBox.checked) if hasRows else [])
        done, total = Display.progress(spine) if hasRows else (0, 0)
        ui.reviewProgressBar.setMaximum(max(1, total))
        ui.reviewProgressBar.setValue(done)
        ui.reviewProgressBar.setFormat(
            _("{done} of {total} reviewed").format(done=done, total=total)
        )
        text = Display.banner(spine) if hasRows else ""
        ui.reviewBannerLabel.text = text
        ui.reviewBannerLabel.setVisible(bool(text))
        ui.summaryLabel.text = Display.summary(spine)
        ui.summaryLabel.setVisible(bool(ui.summaryLabel.text))
        ui.reviewFrame.enabled = hasRows
        self._showSteps()
        self._showDetails()

    def follow(self, session: ReviewSession, changed: list[str]) -> None:
        """Update the table after a step; do nothing if another segmentation is shown now."""
        if session is not self.session:
            return
        before, current = {row.segmentId for row in self.table.rows}, self.table.current()
        self.refresh()
        present = [i for i in changed if i in session.spine.states]
        new = [i for i in present if i not in before]
        # Go to the vertebra that the step has created.
        if new or (current not in session.spine.states and present):
            self.table.goTo((new or present)[0])

    def _showSteps(self) -> None:
        session = self.session
        undo, redo = ("", "") if session is None else (session.undoTitle, session.redoTitle)
        for button, title in ((self._ui.undoButton, undo), (self._ui.redoButton, redo)):
            button.enabled = bool(title)
            name = button.text
            button.toolTip = f"{name}: {title}" if title else _("Nothing to do")

    def _showDetails(self) -> None:
        rows = {row.segmentId: row for row in self.table.rows}
        row = rows.get(self.table.current())
        text = _("Click a vertebra, or press J.") if rows else ""
        if row is not None:
            text = Display.details(self.session.spine, row)
        self._ui.reviewDetailLabel.text = text
        self.menus.refresh()
        self.onShown()

    def _allAre(self, ids: list[str], status: int) -> bool:
        states = self.session.spine.states if self.session is not None else {}
        return bool(ids) and all(i in states and states[i].status == status for i in ids)

    def _paint(self, on: bool) -> None:
        self._ui.paintFrame.setVisible(on)
        if on and self.session is not None:
            current = self.table.current()
            self.editor.show(self.session.node, self.session.volumeNode, current)
        else:
            self.editor.hide()
            self.refresh()


def _loadSolver() -> None:
    """Import the level solver; errors are shown when it is used."""
    with contextlib.suppress(UserError):
        tool("editing.relabel")
