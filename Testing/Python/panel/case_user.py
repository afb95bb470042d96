"""A user of the panel: presses, clicks into views and types, and counts each of these."""

from __future__ import annotations

import os
import time

import main_window
import numpy as np
import qt
import slicer
import slicer.util
import vtk
from PySide6.QtTest import QTest
from screen_helpers import SIZE, VIEWS

from spinemamba.anatomy.labels import BY_NAME

NAME = "SpineMambaSegment"
FOLLOWS_S = 0.5
WHOLE = (486, 880)
"""Size of the main window; the panel in it is as large as two views are high."""


class User:
    """Uses the panel in Slicer's main window, with the views beside it.

    Args:
        screen: Panel and views.
        pump: Runs Qt's event loop.
    """

    def __init__(self, screen, pump):
        self.screen, self.pump = screen, pump
        self.panel, self.ui = screen.panel, screen.panel.ui
        self.volume = None
        self.gestures: list[str] = []
        self.window = slicer.app.mainWindow()
        names = [name for name, _ in VIEWS]
        self._slices = dict(zip(names, screen.views, strict=False))
        slicer.app.views = main_window.LayoutManager(self._slices, (screen.views[-1],))
        self.window.resize(*WHOLE)
        slicer.util.selectModule(NAME)
        QTest.qWaitForWindowExposed(self.window)
        self.window.activateWindow()
        slicer.app.processEvents()

    @property
    def review(self):
        return self.panel.reviewSection

    @property
    def editor(self):
        return self.ui.paintFrame.findChild(slicer.qMRMLSegmentEditorWidget)

    def look_at(self, volume) -> None:
        """Show a volume in the slice views, and hide the box in the 3-D view."""
        self.volume = volume
        for view in self._slices.values():
            view.show(volume)
        # Closing a scene shows them again.
        self.screen.views[-1].node.SetBoxVisible(False)
        self.screen.views[-1].node.SetAxisLabelsVisible(False)

    def choose(self, name: str) -> None:
        """Choose an entry of a menu."""
        self.gestures.append(f"menu {name}")
        self.review.menus.actions[name].trigger()

    def press(self, name: str) -> None:
        """Press a button, which must be visible and enabled."""
        self.gestures.append(f"button {name}")
        button = getattr(self.ui, name)
        assert button.isVisible(), name
        assert button.enabled, name
        button.click()
        slicer.app.processEvents()

    def key(self, code: qt.Qt.Key, modifier=qt.Qt.NoModifier) -> None:
        """Press a key in the table."""
        self.gestures.append(f"key {code}")
        self.ui.reviewTable.setFocus()
        QTest.keyClick(self.ui.reviewTable, code, modifier)
        slicer.app.processEvents()

    def key_in_a_view(self, code: qt.Qt.Key, modifier=qt.Qt.NoModifier) -> None:
        """Press a key while the focus is not in the panel."""
        self.gestures.append(f"key {code} in a view")
        self.window.setFocus()
        QTest.keyClick(self.window, code, modifier)
        slicer.app.processEvents()

    def row(self, name: str) -> None:
        """Click a row of the table."""
        self.gestures.append(f"row {name}")
        rows = [row.name for row in self.review.table.rows]
        table = self.ui.reviewTable
        item = table.item(rows.index(name), 1)
        table.scrollToItem(item)
        middle = table.visualItemRect(item).center()
        QTest.mouseClick(table.viewport(), qt.Qt.LeftButton, qt.Qt.NoModifier, middle)
        slicer.app.processEvents()

    def click(self, place_ras: np.ndarray) -> None:
        """Click into the sagittal view, scrolled to a position; Slicer's markups take the click."""
        self.gestures.append("click in a view")
        view = self._slices["Yellow"]
        view.node.JumpSliceByCentering(*map(float, place_ras))
        slicer.app.processEvents()
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(view.node.GetXYToRAS(), inverse)
        x, y = np.round(inverse.MultiplyPoint((*place_ras, 1.0))[:2]).astype(int)
        assert 0 < x < SIZE[0]
        assert 0 < y < SIZE[1]
        view.click(int(x), int(y))
        for _ in range(3):
            slicer.app.processEvents()

    def fold(self, *names: str, folded: bool = True) -> None:
        """Fold or unfold sections."""
        for name in names:
            getattr(self.ui, f"{name}CollapsibleButton").collapsed = folded
        slicer.app.processEvents()

    def photograph(self, name: str) -> None:
        """Write a picture of the screen, if SPINEMAMBA_PICTURES says where to."""
        if "SPINEMAMBA_PICTURES" not in os.environ:
            return
        deadline = time.monotonic() + FOLLOWS_S
        self.pump(lambda: time.monotonic() > deadline)
        self.screen.photograph(self.volume, name)
        self.screen.together(name)


def body_ras(volume, truth: np.ndarray, level: str) -> np.ndarray:
    """Return where a radiologist would click: the middle of a body."""
    from SpineMambaSegmentLib.Review.Mask import Mask
    from SpineMambaSegmentLib.Scene.LazyImport import tool

    mask = Mask.of(truth == BY_NAME[level].value)
    spacing = volume.GetSpacing()[::-1]
    kji = tool("imaging.masks").body_centre(mask.array(), spacing) + mask.first
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return np.array(matrix.MultiplyPoint((*kji[::-1], 1.0))[:3])
