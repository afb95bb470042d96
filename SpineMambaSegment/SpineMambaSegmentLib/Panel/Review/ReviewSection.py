"""The section Review: inspect, correct and approve the vertebrae."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Application.Icons import showStatus
from SpineMambaSegmentLib.Application.Preload import Preload
from SpineMambaSegmentLib.Application.UserSettings import UserSettings
from SpineMambaSegmentLib.Panel.Review import ReviewViews
from SpineMambaSegmentLib.Panel.Review.ReviewEditor import ReviewEditor
from SpineMambaSegmentLib.Panel.Review.ReviewMenus import ReviewMenus
from SpineMambaSegmentLib.Panel.Review.ReviewTable import ReviewTable
from SpineMambaSegmentLib.Panel.TakeOverFrame import TakeOverFrame
from SpineMambaSegmentLib.Review import Display
from SpineMambaSegmentLib.Review.Naming import Naming, UseNaming, doubtOf, namings
from SpineMambaSegmentLib.Review.SegmentState import APPROVED, CORRECTED, FLAGGED, NOT_STARTED
from SpineMambaSegmentLib.Review.Session import ReviewSession
from SpineMambaSegmentLib.Review.Sessions import ReviewSessions
from SpineMambaSegmentLib.Review.Spine import Action, Spine
from SpineMambaSegmentLib.Review.StatusActions import ApproveRest, SetStatus

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
        settings: Remembers the folders of file dialogs.
    """

    def __init__(
        self,
        ui: Any,
        say: Callable[[str], None],
        reviewer: Callable[[], str],
        settings: UserSettings,
    ):
        self._ui, self.say, self._reviewer, self.settings = ui, say, reviewer, settings
        self._sessions = ReviewSessions(lambda: self._edited.start())
        self.session: ReviewSession | None = None
        self.dims = self.alongAxes = True
        self.onShown: Callable[[], None] = lambda: None
        self.table = ReviewTable(ui.reviewTable, self.goTo)
        self.menus = ReviewMenus(ui, self)
        self.takeOver = TakeOverFrame(ui.reviewCollapsibleButton.layout(), say, self._taken)
        self.editor = ReviewEditor(ui.paintFrame, ui.paintOverBox)
        self._slices = ReviewViews.SliceViews()
        # Slicer calls `enter` after setup, but not after a reload of the module.
        self._isEntered = True
        self._isPainting = self._isWaiting = False
        ui.paintFrame.hide()
        ui.reviewBannerFrame.hide()
        self._namings: list[Naming] = []
        self._edited = qt.QTimer()
        self._edited.setSingleShot(True)
        self._edited.setInterval(_EDITED_MS)
        self._edited.connect("timeout()", self.refresh)
        self._solver = Preload("editing.relabel")
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
        for index, button in enumerate(self._namingButtons()):
            button.connect("clicked(bool)", _withIndex(self.useNaming, index))
        ui.urgentBox.connect("toggled(bool)", self.refresh)
        ui.paintButton.connect("toggled(bool)", self._paint)
        keys = {"J": ui.nextButton, "K": ui.previousButton, "A": ui.approveButton}
        keys |= {"F": ui.lookButton}
        for key, button in keys.items():
            # Single letters work in the table only: the Segment Editor below uses them, too.
            _shortcut(ui.reviewFrame, key, button.click)
        panel = ui.reviewCollapsibleButton.parentWidget()
        undos = {"Ctrl+Z": self.undo, "Ctrl+Shift+Z": self.redo, "Ctrl+Y": self.redo}
        self._undoKeys = [_shortcut(panel, key, slot) for key, slot in undos.items()]
        letters = {"Z": self.undo, "Y": self.redo}
        self._paintKeys = [_shortcut(panel, key, slot) for key, slot in letters.items()]
        self._escape = _shortcut(panel, "Esc", self._giveUp)
        self._setKeys()

    def enter(self) -> None:
        """Called each time the panel is shown."""
        self._isEntered = True
        self._setKeys()
        self._dim()
        if self._ui.paintButton.checked:
            self._paint(True)

    def exit(self) -> None:
        """Called each time the panel is hidden: leave the views and the editor as they were."""
        # Clicks that are waited for were asked for last, so they are put back first.
        self.menus.stopClicks()
        self._paint(False)
        self._isEntered = False
        self._setKeys()
        self._slices.restore()
        self._undim()

    def show(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        """Show the vertebrae of a segmentation; None clears the table."""
        if node is not (None if self.session is None else self.session.node):
            self.menus.stopClicks()
            self._ui.paintButton.setChecked(False)
            self._undim()
        self._ui.show3DButton.setSegmentationNode(node)
        self.session = self._sessions.watch(node, self._reviewer() or "")
        if self.session is not None and self.session.spine.states:
            self._solver.start()
        self.refresh()

    def onSegmented(self, node: slicer.vtkMRMLSegmentationNode) -> None:
        """Start a new session after a run; earlier steps cannot be undone."""
        self._sessions.onSegmented(node)

    def onSceneLoaded(self, scene: slicer.vtkMRMLScene) -> None:
        """Restore opacities that were saved while neighbours were dimmed."""
        ReviewViews.restoreOpacities(scene)
        self._dim()

    def _taken(self) -> None:
        """Start a new session with the vertebrae that were taken over."""
        self.reload()
        self._ui.reviewTable.setFocus()

    def onFrameStored(self, node: slicer.vtkMRMLSegmentationNode, indexValue: str) -> None:
        """Start a new session for a frame that a run has replaced."""
        self._sessions.drop(node, indexValue)
        if self.session is not None and self.session.node is node:
            self.session = self._sessions.watch(node, self._reviewer() or "")

    def reload(self) -> None:
        """Read the segmentation again after something else has changed its attributes."""
        node = self.session.node
        self._sessions.drop(node)
        self.show(node)

    def stop(self) -> None:
        """Wait for imports in the background."""
        self._solver.stop()

    def forget(self) -> None:
        """Drop all sessions, because the scene is being closed."""
        self._slices.restore()
        self.show(None)
        self.stop()
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
        self.refresh()  # a stroke may not have been recorded yet
        if self.session is not None and (title := self.session.undoTitle):
            self.follow(self.session, self.session.undo())
            self.say(_("Undone: {what}.").format(what=title))

    def redo(self) -> None:
        """Redo the last undone step."""
        self.refresh()
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
        if self._isEntered:
            node, spine = self.session.node, self.session.spine
            move = self._slices.alignWith if self.alongAxes else self._slices.centreOn
            move(node, spine, segmentId)
            self._dim()
        self.editor.select(segmentId)
        self._showDetails()

    def applyViews(self) -> None:
        """Dim and align the views as ``dims`` and ``alongAxes`` say."""
        if not self.alongAxes:
            self._slices.restoreAxes()
        self._dim()
        self.goTo(self.currentId())

    def _dim(self) -> None:
        if self.session is not None and self._isEntered:
            ReviewViews.dimOthers(self.session.node, self.currentId() if self.dims else "")

    def _undim(self) -> None:
        if self.session is not None:
            ReviewViews.dimOthers(self.session.node, "")

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
            for text in session.takeNotices():
                self.say(text)
        spine = None if session is None else session.spine
        hasRows = spine is not None and bool(spine.states)
        self.table.show(Display.rowsOf(spine, ui.urgentBox.checked) if hasRows else [])
        done, total = Display.progress(spine) if hasRows else (0, 0)
        ui.reviewProgressBar.setMaximum(max(1, total))
        ui.reviewProgressBar.setValue(done)
        ui.reviewProgressBar.setFormat(
            _("{done} of {total} reviewed").format(done=done, total=total)
        )
        self._showBanner(spine if hasRows else None)
        node = None if session is None else session.node
        volumeNode = None if session is None else session.volumeNode
        self.takeOver.show(node, volumeNode, self._reviewer() or "")
        isOffered = not hasRows and self.takeOver.isOffered
        ui.summaryLabel.text = "" if isOffered else Display.summary(spine)
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

    def _showBanner(self, spine: Spine | None) -> None:
        """Show the warning about levels in doubt, and a button for each alternative naming."""
        text = "" if spine is None else Display.banner(spine)
        if text:
            doubt = doubtOf(spine)
            icon = "status-flagged" if doubt == "check_level" else "status-inprogress"
            showStatus(self._ui.reviewBannerIcon, icon, Display.doubtText(doubt))
        self._ui.reviewBannerLabel.text = text
        self._ui.reviewBannerFrame.setVisible(bool(text))
        found = namings(spine) if text else []
        self._namings = found if len(found) > 1 else []
        for index, button in enumerate(self._namingButtons()):
            button.setVisible(index < len(self._namings))
            if index < len(self._namings):
                title = _("Use this: {naming}") if index else _("Keep: {naming}")
                button.text = title.format(naming=self._namings[index].text)

    def _namingButtons(self) -> tuple[Any, ...]:
        ui = self._ui
        return ui.keepNamingButton, ui.secondNamingButton, ui.thirdNamingButton

    def useNaming(self, index: int) -> None:
        """Give all vertebrae the levels of one of the displayed namings, as one step."""
        if index < len(self._namings):
            self.do(UseNaming(self._namings[index]))

    def _showSteps(self) -> None:
        session = self.session
        undo, redo = ("", "") if session is None else (session.undoTitle, session.redoTitle)
        for button, title in ((self._ui.undoButton, undo), (self._ui.redoButton, redo)):
            button.enabled = bool(title)
            text = _("{button}: {step}").format(button=button.text, step=title)
            button.toolTip = text if title else _("Nothing to do")

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
        if not self._isEntered:
            return
        if on:
            # Else the editor would take the place mode of the clicks for the user's own choice.
            self.menus.cancelClicks()
        self._ui.paintFrame.setVisible(on)
        self._isPainting = on and self.session is not None
        self._setKeys()
        if self._isPainting:
            current = self.table.current()
            self.editor.show(self.session.node, self.session.volumeNode, current)
        else:
            self.editor.hide()
            self.refresh()

    def onWaiting(self, isWaiting: bool) -> None:
        """Called when waiting for clicks starts or ends."""
        self._isWaiting = isWaiting
        self._setKeys()

    def _giveUp(self) -> None:
        if self._isWaiting:
            self.menus.cancelClicks()
        else:
            self.editor.deactivate()

    def _setKeys(self) -> None:
        """Let undo and Esc work in the views, too: a stroke or a click leaves the focus there."""
        for shortcut in self._undoKeys:
            _setScope(shortcut, self._isPainting)
            shortcut.setEnabled(self._isEntered)
        for shortcut in self._paintKeys:
            _setScope(shortcut, self._isPainting)
            shortcut.setEnabled(self._isPainting)
        canGiveUp = self._isPainting or self._isWaiting
        _setScope(self._escape, canGiveUp)
        self._escape.setEnabled(canGiveUp)


def _shortcut(parent: qt.QWidget, key: str, slot: Callable[[], Any]) -> qt.QShortcut:
    """Return a shortcut that works while a widget or one of its children has the focus."""
    shortcut = qt.QShortcut(parent)
    shortcut.setKey(qt.QKeySequence(key))
    _setScope(shortcut, False)
    shortcut.connect("activated()", slot)
    return shortcut


def _setScope(shortcut: qt.QShortcut, wholeWindow: bool) -> None:
    scope = qt.Qt.WindowShortcut if wholeWindow else qt.Qt.WidgetWithChildrenShortcut
    shortcut.setContext(scope)


def _withIndex(function: Callable[[int], None], index: int) -> Callable[[], None]:
    # PythonQt passes the argument of a signal to every parameter that it sees, also to defaults.
    return lambda: function(index)
