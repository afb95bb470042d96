"""Stand-ins for Slicer's module manager, and for the C++ side of a scripted module."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import qt
import slicer
from mrml_widgets import qMRMLWidget
from PySide6 import QtCore


def execute(path: Path) -> ModuleType:
    """Execute a module file, and enter it in `sys.modules`."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The frame of a panel; owns the object that the module's Python class makes."""

    def __init__(self, moduleName: str):
        super().__init__()
        self.setLayout(qt.QVBoxLayout())
        self.moduleName, self._self, self._entered = moduleName, None, False

    @property
    def isEntered(self) -> bool:
        return self._entered

    def self(self) -> Any:
        """Return the object of the Python class."""
        return self._self

    def reload(self) -> None:
        """Make the object of the current class, and set it up."""
        name = f"{self.moduleName}Widget"
        self._self = getattr(sys.modules[self.moduleName], name)(self)
        setattr(slicer.modules, name, self._self)
        self._self.setup()

    def enter(self) -> None:
        self._entered = True
        self._self.enter()

    def exit(self) -> None:
        self._entered = False
        self._self.exit()


class qSlicerScriptedLoadableModule:
    """A loaded module."""

    def __init__(self, path: Path):
        self.path, self.name = str(path), path.stem
        self.widgets: list[qSlicerScriptedLoadableModuleWidget] = []
        texts = dict.fromkeys(("title", "helpText", "acknowledgementText"), "")
        lists = {"categories": [], "dependencies": [], "contributors": []}
        self.parent = SimpleNamespace(path=self.path, icon=None, **texts, **lists)
        self.instance = getattr(execute(path), self.name)(self.parent)

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        """Return the panel; make it the first time."""
        return self.widgets[0] if self.widgets else self.createNewWidgetRepresentation()

    def createNewWidgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        """Return a further panel."""
        widget = qSlicerScriptedLoadableModuleWidget(self.name)
        self.widgets.append(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        widget.reload()
        return widget

    def close(self, widget: qSlicerScriptedLoadableModuleWidget) -> None:
        """Unload one panel. Errors of its clean-up are raised; from a signal they would be lost."""
        if widget in self.widgets:
            self.widgets.remove(widget)
        entry = widget.self()
        if slicer.modules.__dict__.get(f"{self.name}Widget") is entry:
            delattr(slicer.modules, f"{self.name}Widget")
        entry._onModuleAboutToBeUnloaded(self.name)
        widget.deleteLater()


class ModuleManager(QtCore.QObject):
    """What modules use of ``slicer.app.moduleManager()``."""

    stands_for = "qSlicerModuleManager"
    moduleAboutToBeUnloaded = QtCore.Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.loaded: dict[str, qSlicerScriptedLoadableModule] = {}

    def load(self, path: Path) -> ModuleType:
        """Load a module file as the factory of scripted modules does."""
        entry = qSlicerScriptedLoadableModule(path)
        self.loaded[entry.name] = entry
        setattr(slicer.modules, entry.name.lower(), entry)
        return sys.modules[entry.name]

    def module(self, name: str) -> qSlicerScriptedLoadableModule | None:
        return self.loaded.get(name)
