"""A user who does anything, in a process of its own, which a crash would end.

    python random_gestures.py MODULE_FILE SCRATCH SEED COUNT

Every gesture is printed before it is done; the last line says what was found.
"""

from __future__ import annotations

# ruff: noqa: E402, I001 - the path of the host is needed first
import faulthandler
import json
import random
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "host"), str(Path(sys.argv[1]).parent)]

import application
import main_window
import numpy as np
import qt
import slicer
import slicer.util
import views
from PySide6.QtTest import QTest

NAME = "SpineMambaSegment"
SIZE = (300, 300)
VIEWS = (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal"))
FILE_ENTRIES = ("csv", "save", "open")
"""Entries of menus that open a file dialog."""
GESTURES = {
    "click": 30, "menu": 14, "wait": 10, "row": 10, "key": 10, "paint": 8, "undo": 8, "redo": 4,
    "effect": 8, "escape": 6, "mouse": 5, "leave": 6, "frame": 4, "add": 2, "remove": 2,
    "rest": 1, "close": 2,
}  # fmt: skip
"""Gestures, and how often each is done relative to the others."""
KEYS = {"J": qt.Qt.Key_J, "K": qt.Qt.Key_K, "A": qt.Qt.Key_A, "F": qt.Qt.Key_F}


class User:
    """Does gestures chosen by a generator of random numbers."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.window = slicer.app.showMainWindow()
        self.views = [views.ClickedSliceView(name, side, SIZE) for name, side in VIEWS]
        slices = {name: view for (name, _), view in zip(VIEWS, self.views, strict=True)}
        slicer.app.views = main_window.LayoutManager(slices)
        # With odd seeds, the segmentation is a frame of a sequence, too.
        self.moving, self.left_behind = bool(seed % 2), set()
        slicer.util.selectModule(NAME)
        QTest.qWaitForWindowExposed(self.window)
        self.window.activateWindow()
        self.open_case()

    @property
    def panel(self) -> Any:
        return slicer.util.getModuleWidget(NAME).panel

    @property
    def editor(self) -> Any:
        return self.panel.ui.paintFrame.findChild(slicer.qMRMLSegmentEditorWidget)

    def open_case(self) -> None:
        """Add an image of two frames with three vertebrae, and choose both in the panel."""
        from scene_helpers import add_volume
        from SpineMambaSegmentLib.Scene import Segments
        from SpineMambaSegmentLib.Scene.Grid import gridOf
        from SpineMambaSegmentLib.Scene.LabelArray import imageOf

        labels = np.zeros((60, 40, 40), np.uint8)
        for k in range(3):
            labels[5 + 18 * k : 18 + 18 * k, 10:30, 10:30] = 22 - k
        volume = add_volume(labels.astype(np.int16) * 100, np.eye(4), "CT")
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
        Segments.addSegments(imageOf(labels, gridOf(volume)), node, volume)
        nodes = [volume, node] if self.moving else [volume]
        self.browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
        for one in nodes:
            sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
            for frame in ("0", "1"):
                sequence.SetDataNodeAtValue(one, frame)
            self.browser.AddSynchronizedSequenceNode(sequence)
            self.browser.AddProxyNode(one, sequence, False)
            self.browser.SetSaveChanges(sequence, True)
        self.panel.ui.inputSelector.setCurrentNode(volume)
        self.panel.ui.outputSelector.setCurrentNode(node)
        for view in self.views:
            view.show(volume)
            view.node.JumpSliceByCentering(20.0, 20.0, 30.0)
        self.rounds(3)

    def rounds(self, count: int) -> None:
        for _ in range(count):
            slicer.app.processEvents()

    def do(self, number: int) -> None:
        """Do one gesture, and print it first."""
        (name,) = self.random.choices(list(GESTURES), list(GESTURES.values()))
        say({"gesture": number, "name": name})
        getattr(self, f"do_{name}")()
        self.rounds(self.random.randrange(3))

    def do_click(self) -> None:
        view = self.random.choice(self.views)
        x, y = (self.random.randrange(30, side - 30) for side in SIZE)
        say({"view": view.node.GetName(), "x": x, "y": y})
        # An active effect of the editor takes the click.
        if self.editor is None or not self.editor.stroke(view.place_ras(x, y)):
            view.click(x, y)

    def do_menu(self) -> None:
        menus = self.panel.reviewSection.menus
        clicks = ("splitSeeds", "grow") * 4
        others = [name for name in menus.actions if name not in FILE_ENTRIES]
        name = self.random.choice([*clicks, *others])
        say({"entry": name})
        menus.actions[name].trigger()

    def do_wait(self) -> None:
        self.rounds(40)
        QTest.qWait(self.random.choice((1, 50, 250)))

    def do_row(self) -> None:
        rows = self.panel.reviewSection.table.rows
        if rows:
            self.panel.ui.reviewTable.setCurrentCell(self.random.randrange(len(rows)), 1)

    def do_key(self) -> None:
        name = self.random.choice(list(KEYS))
        say({"key": name})
        self.panel.ui.reviewTable.setFocus()
        QTest.keyClick(self.panel.ui.reviewTable, KEYS[name])

    def do_paint(self) -> None:
        self.panel.ui.paintButton.click()

    def do_effect(self) -> None:
        key = self.random.choice((qt.Qt.Key_1, qt.Qt.Key_2, qt.Qt.Key_Space, qt.Qt.Key_Q))
        QTest.keyClick(self.window, key)

    def do_undo(self) -> None:
        where = self.random.choice((self.panel.ui.reviewTable, self.window))
        QTest.keyClick(
            where, qt.Qt.Key_Z, self.random.choice((qt.Qt.ControlModifier, qt.Qt.NoModifier))
        )

    def do_redo(self) -> None:
        where = self.random.choice((self.panel.ui.reviewTable, self.window))
        QTest.keyClick(where, qt.Qt.Key_Z, qt.Qt.ControlModifier | qt.Qt.ShiftModifier)

    def do_escape(self) -> None:
        QTest.keyClick(
            self.random.choice((self.window, self.panel.ui.reviewTable)), qt.Qt.Key_Escape
        )

    def do_mouse(self) -> None:
        """Press the arrow in the toolbar of the mouse, which ends placing."""
        interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def do_leave(self) -> None:
        slicer.util.selectModule("Data")
        self.rounds(5)
        self.look_around()
        if self.random.random() < 0.3:
            self.do_click()
        slicer.util.selectModule(NAME)

    def look_around(self) -> None:
        """Note what the module leaves to the next one."""
        editor = self.editor
        if editor is not None and (editor.stored["observes"] or editor.stored["keys"]):
            self.left_behind.add("the editor takes clicks or keys")
        interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        if interaction.GetCurrentInteractionMode() == interaction.Place:
            self.left_behind.add("a click would place a point")
        if interaction.GetPlaceModePersistence():
            self.left_behind.add("place mode persists")
        if slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode"):
            self.left_behind.add("points of waiting clicks")

    def do_frame(self) -> None:
        self.browser.SelectNextItem()
        slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(self.browser)

    def _press(self, text: str) -> None:
        if self.editor is not None and self.editor.isVisible():
            buttons = {b.text: b for b in self.editor.findChildren(qt.QPushButton)}
            if buttons[text].isVisible():
                buttons[text].click()

    def do_add(self) -> None:
        self._press("Add")

    def do_remove(self) -> None:
        self._press("Remove")

    def do_rest(self) -> None:
        self.panel.ui.approveRestButton.click()

    def do_close(self) -> None:
        slicer.mrmlScene.Clear(0)
        self.rounds(2)
        self.open_case()


def say(facts: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(facts)}\n")
    sys.stdout.flush()


def main() -> None:
    faulthandler.enable()
    path, scratch, seed, count = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
    application.start(scratch)
    application.import_module(path)
    user = User(seed)
    for number in range(count):
        user.do(number)
    slicer.util.selectModule("Data")
    user.look_around()
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(NAME)
    slicer.mrmlScene.Clear(1)
    user.rounds(20)
    say({"alive": True, "left behind": sorted(user.left_behind)})


main()
