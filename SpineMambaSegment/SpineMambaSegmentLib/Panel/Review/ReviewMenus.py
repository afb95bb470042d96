"""The menus of the section Review: Names, Shape and More, which saves and opens files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from spinemamba.anatomy.labels import BY_NAME, LABELS
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Panel.Review import ReviewViews
from SpineMambaSegmentLib.Panel.Review.ReviewClicks import Clicks
from SpineMambaSegmentLib.Panel.Review.ReviewHost import ReviewHost
from SpineMambaSegmentLib.Review import Log, ReviewFile
from SpineMambaSegmentLib.Review.LeftOut import RestoreBone
from SpineMambaSegmentLib.Review.LevelActions import (
    LUMBARISED,
    SACRALISED,
    InsertLevel,
    MarkVariant,
    SetLevel,
    ShiftLevels,
    SwapLevels,
)
from SpineMambaSegmentLib.Review.LevelsFrom import TakeLevels, otherSegmentations, scanFrom, scanOf
from SpineMambaSegmentLib.Review.Pins import PinLevel
from SpineMambaSegmentLib.Review.ShapeActions import (
    Delete,
    FillHoles,
    Merge,
    RemoveIslands,
    SplitByPlane,
    SplitBySeeds,
)
from SpineMambaSegmentLib.Review.StatusActions import Release, TakeDecision

_CSV = "_log.csv"
_OTHER_FILES = ("*.seg.nrrd", "*_result.json")
_ALWAYS_ENABLED = ("dim", "axes", "csv", "save", "open", "grow", "evidence", "levelsFrom")
"""Entries that need no selected vertebra."""

_Slot = Callable[[], Any]


class ReviewMenus:
    """Three menus, and the level selector.

    Args:
        ui: Widgets of the panel.
        host: Applies the actions.
    """

    def __init__(self, ui: Any, host: ReviewHost):
        self._ui, self._host = ui, host
        self._clicks: Clicks | None = None
        self.actions: dict[str, Any] = {}
        self.files = _FileDialogs(host)
        ui.levelSelector.addItems([label.name for label in LABELS])
        ui.setLevelButton.connect("clicked(bool)", self._setLevel)
        self._menus = [self._names(), self._shapes(), self._more()]
        buttons = (ui.namesButton, ui.shapeButton, ui.moreButton)
        for button, menu in zip(buttons, self._menus, strict=True):
            button.setMenu(menu)

    def refresh(self) -> None:
        """Show the level of the current vertebra, and enable the entries that apply."""
        session = self._host.session
        ids = self._host.selectedIds()
        current = self._host.currentId()
        one, two = bool(current), len(ids) == 2
        for name, action in self.actions.items():
            needs = {"swap": two, "merge": len(ids) > 1, "shiftUp": True, "shiftDown": True}
            action.setEnabled(needs.get(name, name in _ALWAYS_ENABLED or one))
        self._ui.setLevelButton.enabled = one
        if one and session is not None and current in session.spine.states:
            level = session.spine.states[current].level
            if level in BY_NAME:
                self._ui.levelSelector.setCurrentIndex([n.name for n in LABELS].index(level))

    def stopClicks(self) -> None:
        """Stop waiting for clicks in the views."""
        if self._clicks is not None:
            self._clicks.stop()
            self._onStopped()

    def cancelClicks(self) -> None:
        """Stop waiting for clicks because the user gave up."""
        if self._clicks is not None:
            self._clicks.stop()
            self._onCancelled()

    def waitForClicks(self, count: int, text: str, then: Callable[[list[Any]], Any]) -> None:
        """Wait for clicks in the views.

        Args:
            count: Number of clicks.
            text: Message for the status line while waiting.
            then: Called with the clicked positions, in the segmentation's own RAS.
        """
        self.stopClicks()
        self._host.say(text)

        def done(places: list[Any]) -> None:
            self._onStopped()
            then(places)

        self._clicks = Clicks(self._host.session.node, count, done, self._onCancelled)
        self._host.onWaiting(True)

    def _onStopped(self) -> None:
        self._clicks = None
        self._host.onWaiting(False)

    def _onCancelled(self) -> None:
        self._onStopped()
        self._host.say(_("Clicking was cancelled; nothing was changed."))

    def _names(self) -> Any:
        menu, here = qt.QMenu(self._ui.namesButton), self._here
        self._add(menu, "shiftDown", _("All down by one (L1 to L2)"), lambda: ShiftLevels(1))
        self._add(menu, "shiftUp", _("All up by one (L1 to T12)"), lambda: ShiftLevels(-1))
        for name, title, by, towards in (
            ("belowDown", _("From here caudally: down by one"), 1, "tail"),
            ("belowUp", _("From here caudally: up by one"), -1, "tail"),
            ("aboveDown", _("From here cranially: down by one"), 1, "head"),
            ("aboveUp", _("From here cranially: up by one"), -1, "head"),
        ):
            make = _shift(here, by, towards)
            self._add(menu, name, title, make)
        menu.addSeparator()
        self._add(
            menu, "swap", _("Swap the two selected levels"), lambda: SwapLevels(*self._selected())
        )
        for level, title in (
            ("T13", _("This is T13")),
            ("L6", _("This is L6")),
            ("T11", _("This is T11, the last level with ribs")),
        ):
            self._add(menu, f"insert{level}", title, _insert(here, level))
        menu.addSeparator()
        for name, title, variant in (
            ("sacralised", _("Mark as sacralised L5"), SACRALISED),
            ("lumbarised", _("Mark as lumbarised S1 (L6)"), LUMBARISED),
            ("unmark", _("Remove the mark"), ""),
        ):
            self._add(menu, name, title, _mark(here, variant))
        self._add(menu, "unpin", _("Release the fixed level"), lambda: PinLevel(here(), ""))
        menu.addSeparator()
        self._levelsFrom(menu)
        return menu

    def _shapes(self) -> Any:
        menu = qt.QMenu(self._ui.shapeButton)
        self._entry(menu, "splitSeeds", _("Split: click into both bodies"), self._splitBySeeds)
        self._entry(menu, "splitPlane", _("Split at the axial slice"), self._splitByPlane)
        self._add(menu, "merge", _("Merge the selected vertebrae"), lambda: Merge(self._selected()))
        self._add(
            menu, "delete", _("Delete the selected vertebrae"), lambda: Delete(self._selected())
        )
        menu.addSeparator()
        self._add(menu, "islands", _("Remove islands"), lambda: RemoveIslands(self._selected()))
        self._add(menu, "holes", _("Fill holes"), lambda: FillHoles(self._selected()))
        title = _("Restore bone that the run left out")
        self._add(menu, "restoreBone", title, lambda: RestoreBone(self._selected()))
        return menu

    def addNames(self, *entries: tuple[str, str, _Slot]) -> None:
        """Add entries to the menu Names: name, title and function to call."""
        self._addTo(self._menus[0], entries)

    def addShapes(self, *entries: tuple[str, str, _Slot]) -> None:
        """Add entries to the menu Shape: name, title and function to call."""
        self._addTo(self._menus[1], entries)

    def _addTo(self, menu: Any, entries: Iterable[tuple[str, str, _Slot]]) -> None:
        menu.addSeparator()
        for name, title, slot in entries:
            self._entry(menu, name, title, slot)

    def _more(self) -> Any:
        menu = qt.QMenu(self._ui.moreButton)
        for name, title, attribute in (
            ("dim", _("Dim the neighbours"), "dims"),
            ("axes", _("Align slices with the vertebra"), "alongAxes"),
        ):
            action = menu.addAction(title)
            action.setCheckable(True)
            action.setChecked(True)
            action.connect("toggled(bool)", self._switch(attribute))
            self.actions[name] = action
        menu.addSeparator()
        title = _("Take the selected vertebrae out of the review")
        self._add(menu, "release", title, lambda: Release(self._selected()))
        menu.addSeparator()
        self._entry(menu, "csv", _("Save the log as a table..."), self.files.chooseCsv)
        self._entry(menu, "save", _("Save the review..."), self.files.chooseSave)
        self._entry(menu, "open", _("Open a review..."), self.files.chooseOpen)
        return menu

    def _add(self, menu: Any, name: str, title: str, make: _Slot) -> None:
        """Add an entry that applies an action as one step."""
        self._entry(menu, name, title, lambda: self._host.do(make()))

    def _entry(self, menu: Any, name: str, title: str, slot: _Slot) -> None:
        action = menu.addAction(title)
        action.connect("triggered()", slot)
        self.actions[name] = action

    def _here(self) -> str:
        return self._host.currentId()

    def _selected(self) -> tuple[str, ...]:
        return tuple(self._host.selectedIds())

    def _switch(self, attribute: str) -> Callable[[bool], None]:
        def switch(on: bool) -> None:
            setattr(self._host, attribute, on)
            self._host.applyViews()

        return switch

    def _setLevel(self) -> None:
        action = PinLevel if self._ui.solveBox.checked else SetLevel
        self._host.do(action(self._here(), self._ui.levelSelector.currentText))

    def _levelsFrom(self, menu: Any) -> None:
        """Add the menu with the other segmentations of the scene, which is filled when shown."""
        others = menu.addMenu(_("Levels from"))
        others.setToolTip(_("Take the levels from another scan of the same patient"))
        others.connect("aboutToShow()", lambda: self.listOthers(others))
        self.actions["levelsFrom"] = others.menuAction()

    def listOthers(self, menu: Any) -> None:
        """Fill a menu with the other segmentations of the scene, and with the choice of a file."""
        menu.clear()
        for node in otherSegmentations(self._host.session.node):
            menu.addAction(node.GetName()).connect("triggered()", self._taking(node))
        menu.addSeparator()
        menu.addAction(_("File...")).connect("triggered()", self._chooseFile)

    def _taking(self, node: Any) -> _Slot:
        return lambda: self.levelsFrom(node)

    def levelsFrom(self, node: Any) -> None:
        """Take the levels from another segmentation of the scene; errors are shown."""
        self._takeLevels(lambda: scanOf(node))

    def _chooseFile(self) -> None:
        """Ask for a result or labels of another scan, and take their levels."""
        kinds = f"({' '.join(_OTHER_FILES)})"
        path = self._host.settings.askFile(_("Levels from a file"), "Review", kinds)
        if path is not None:
            self.levelsFromFile(path)

    def levelsFromFile(self, path: Path) -> None:
        """Take the levels from a result or labels of another scan; errors are shown."""
        self._takeLevels(lambda: scanFrom(path, self._host.session.node.GetScene()))

    def _takeLevels(self, read: Callable[[], Any]) -> None:
        with Errors.shown(_("The levels could not be read."), self._host.say):
            self._host.do(TakeLevels(read()))

    def _splitBySeeds(self) -> None:
        here = self._here()
        text = _("Click into the body of each of the two vertebrae.")
        self.waitForClicks(2, text, lambda seeds: self._host.do(SplitBySeeds(here, tuple(seeds))))

    def _splitByPlane(self) -> None:
        plane = ReviewViews.axialPlane(self._host.session.node)
        if plane is None:
            self._host.say(_("There is no axial view; split by clicks."))
        else:
            self._host.do(SplitByPlane(self._here(), *plane))


class _FileDialogs:
    """Writes and reads the files of the current review.

    Args:
        host: Session to save or reload, and status line.
    """

    def __init__(self, host: ReviewHost):
        self._host = host

    def saveCsv(self, path: Path) -> None:
        """Write the log as a _CSV table; errors are shown."""
        self._save(path, lambda: ReviewFile.writeText(Log.csvText(self._node()), path))

    def saveReview(self, path: Path) -> None:
        """Write the review file that belongs to a saved segmentation; errors are shown."""
        self._save(path, lambda: ReviewFile.write(self._node(), path))

    def openReview(self, path: Path) -> None:
        """Restore a review file into the segmentation; errors are shown."""
        with Errors.shown(_("The review could not be opened."), self._host.say):
            decision = ReviewFile.decisionIn(path, self._host.session.spine)
            if decision is not None:
                self._host.do(TakeDecision(decision))
                return
            ReviewFile.read(self._node(), path)
            self._host.reload()
            self._host.say(_("Opened {file}.").format(file=path.name))

    def _save(self, path: Path, write: Callable[[], None]) -> None:
        with Errors.shown(_("The review could not be saved."), self._host.say):
            write()
            self._host.say(_("Saved {file}.").format(file=path.name))

    def _node(self) -> Any:
        return self._host.session.node

    def chooseCsv(self) -> None:
        """Ask for the file of the log, and write it."""
        self._choose(_CSV, self.saveCsv)

    def chooseSave(self) -> None:
        """Ask for the file of the review, and write it."""
        self._choose(ReviewFile.SUFFIX, self.saveReview)

    def chooseOpen(self) -> None:
        """Ask for a saved review, and open it."""
        settings = self._host.settings
        if (path := settings.askFile(_("Open a review"), "Review", "(*.json)")) is not None:
            self.openReview(path)

    def _choose(self, suffix: str, save: Callable[[Path], None]) -> None:
        ending = f".{suffix.rpartition('.')[2]}"
        name = f"spine{suffix}"
        path = self._host.settings.askNewFile(_("Save"), "Review", name, ending)
        if path is not None:
            save(path)


def _shift(here: Callable[[], str], by: int, towards: str) -> Callable[[], ShiftLevels]:
    return lambda: ShiftLevels(by, here(), towards)


def _insert(here: Callable[[], str], level: str) -> Callable[[], InsertLevel]:
    return lambda: InsertLevel(here(), level)


def _mark(here: Callable[[], str], variant: str) -> Callable[[], MarkVariant]:
    return lambda: MarkVariant(here(), variant)
