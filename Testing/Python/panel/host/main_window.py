"""Stand-ins for Slicer's main window: module selector, status bar and views."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import slicer
from PySide6 import QtWidgets


class ModuleSelector:
    """Shows one module at a time: the last one is left, the next one entered."""

    def __init__(self, window: MainWindow):
        self._window = window
        self.selectedModule = ""

    def selectModule(self, name: str) -> None:
        """Show a module; any name that is not loaded stands for another module of Slicer."""
        if name == self.selectedModule:
            return
        modules = slicer.app.moduleManager()
        left, entered = modules.module(self.selectedModule), modules.module(name)
        self.selectedModule = name
        if left is not None:
            widget = left.widgetRepresentation()
            widget.hide()
            widget.exit()
        if entered is not None:
            widget = entered.widgetRepresentation()
            self._window.panels.layout().addWidget(widget)
            widget.show()
            widget.enter()


class MainWindow(QtWidgets.QMainWindow):
    """The window that owns the shortcuts of the application."""

    stands_for = "qSlicerMainWindow"

    def __init__(self) -> None:
        super().__init__()
        self.name = "qSlicerMainWindow"
        self.panels = QtWidgets.QWidget()
        QtWidgets.QVBoxLayout(self.panels)
        self.setCentralWidget(self.panels)
        self.resize(480, 900)
        self._selector = ModuleSelector(self)

    def moduleSelector(self) -> ModuleSelector:
        return self._selector


class _ThreeDView:
    def __init__(self) -> None:
        self.resets = 0

    def resetFocalPoint(self) -> None:
        self.resets += 1

    def resetCamera(self) -> None:
        self.resets += 1

    def forceRender(self) -> None:
        """Draw at once."""


class _Widget3D:
    def __init__(self, view: Any):
        self._view, self._inside = view, _ThreeDView()

    def threeDView(self) -> _ThreeDView:
        return self._inside

    def mrmlViewNode(self) -> Any:
        return None if self._view is None else self._view.node


class _SliceWidget:
    def __init__(self, view: Any):
        self._view = view

    def sliceView(self) -> Any:
        return SimpleNamespace(interactor=lambda: self._view.interactor)

    def mrmlSliceNode(self) -> slicer.vtkMRMLSliceNode:
        return self._view.node

    def sliceLogic(self) -> slicer.vtkMRMLSliceLogic:
        return self._view.logic


class LayoutManager:
    """What modules use of ``slicer.app.layoutManager()``.

    Args:
        slices: Slice views by name, as `views.SliceView`.
        threeD: 3-D views; None stands for one without a picture.
    """

    def __init__(self, slices: dict[str, Any], threeD: tuple[Any, ...] = (None,)):
        self._slices = {name: _SliceWidget(view) for name, view in slices.items()}
        self._threeD = [_Widget3D(view) for view in threeD]
        self.layout = slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView

    @property
    def threeDViewCount(self) -> int:
        return len(self._threeD)

    def threeDWidget(self, k: int) -> _Widget3D:
        return self._threeD[k]

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._slices)

    def sliceWidget(self, name: str) -> _SliceWidget:
        return self._slices[name]

    def setLayout(self, layout: int) -> None:
        self.layout = layout

    def mrmlSliceLogics(self) -> Any:
        return slicer.app.applicationLogic().GetSliceLogics()
