"""The part of Slicer that a scripted module meets: real scene, real Qt, no main window."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pythonqt  # noqa: F401, I001 - patches the classes of PySide6 before their first use
import ctk  # noqa: F401
import mrml_widgets
import parameter_node_wrapper
import qt
import slicer
import slicer.util
import scripted_module
from PySide6 import QtCore, QtWidgets
from vtkmodules.vtkCommonCore import vtkCollection

LOGICS = {
    "segmentations": slicer.vtkSlicerSegmentationsModuleLogic,
    "terminologies": slicer.vtkSlicerTerminologiesModuleLogic,
    "sequences": slicer.vtkSlicerSequencesLogic,
}


class Application(QtCore.QObject):
    """What modules use of ``slicer.app``."""

    startupCompleted = QtCore.Signal()
    aboutToQuit = QtCore.Signal()
    applicationName = "Slicer"
    applicationVersion = "5.12.4"

    def __init__(self, folder: Path, logic: slicer.vtkSlicerApplicationLogic):
        super().__init__()
        self.temporaryPath = str(folder / "temporary")
        Path(self.temporaryPath).mkdir()
        self.slicerUserSettingsFilePath = str(folder / "settings" / "Slicer.ini")
        self._settings = QtCore.QSettings(
            self.slicerUserSettingsFilePath, QtCore.QSettings.Format.IniFormat
        )
        self._logic = logic
        self.reloaded: list[str] = []
        self.jumps: list[str] = []

    def applicationLogic(self) -> slicer.vtkSlicerApplicationLogic:
        return self._logic

    def settings(self) -> QtCore.QSettings:
        return self._settings

    def layoutManager(self) -> None:
        """Return nothing: there are no views, as with ``--no-main-window``."""
        return

    def processEvents(self) -> None:
        QtWidgets.QApplication.processEvents()

    def clipboard(self) -> Any:
        return QtWidgets.QApplication.clipboard()

    def testingEnabled(self) -> bool:
        return True


def start(folder: Path) -> QtWidgets.QApplication:
    """Make scene, logics and ``slicer.app``, with settings and temporary files in a folder."""
    application = QtWidgets.QApplication.instance()
    application = application or QtWidgets.QApplication(["Slicer", "-style", "fusion"])
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    logic.GetColorLogic().SetMRMLScene(scene)
    logic.SetSliceLogics(vtkCollection())
    logic.SetViewLogics(vtkCollection())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    _unpack_scenes_in(folder / "cache", scene)
    slicer.mrmlScene = scene
    slicer.app = Application(folder, logic)
    slicer.modules = ModuleType("slicer.modules")
    for name, kind in LOGICS.items():
        entry = kind()
        # With a scene, this one looks for files of the application.
        if name != "terminologies":
            entry.SetMRMLScene(scene)
        setattr(slicer.modules, name, SimpleNamespace(logic=lambda entry=entry: entry))
    i18n = ModuleType("slicer.i18n")
    i18n.tr = lambda text: text
    i18n.translate = lambda context, text: text
    sys.modules["slicer.modules"] = slicer.modules
    sys.modules["slicer.i18n"] = slicer.i18n = i18n
    sys.modules["slicer.ScriptedLoadableModule"] = scripted_module
    slicer.ScriptedLoadableModule = scripted_module
    sys.modules["slicer.parameterNodeWrapper"] = parameter_node_wrapper
    slicer.qMRMLNodeComboBox = mrml_widgets.qMRMLNodeComboBox
    slicer.qMRMLSegmentEditorWidget = mrml_widgets.qMRMLSegmentEditorWidget
    return application


def _unpack_scenes_in(folder: Path, scene: slicer.vtkMRMLScene) -> None:
    """Let the scene read .mrb files, which it unpacks first."""
    folder.mkdir()
    cache, manager = slicer.vtkCacheManager(), slicer.vtkDataIOManager()
    cache.SetRemoteCacheDirectory(str(folder))
    manager.SetCacheManager(cache)
    scene.SetCacheManager(cache)
    scene.SetDataIOManager(manager)


def import_module(path: Path) -> ModuleType:
    """Import a module file as Slicer does, and make the object that describes it."""
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    texts = dict.fromkeys(("title", "helpText", "acknowledgementText"), "")
    parent = SimpleNamespace(path=str(path), categories=[], dependencies=[], **texts)
    description = getattr(module, name)(parent)
    entry = SimpleNamespace(path=str(path), instance=description, parent=parent)
    setattr(slicer.modules, name.lower(), entry)
    return module


def make_panel(module: ModuleType) -> tuple[Any, QtWidgets.QWidget]:
    """Return the module's widget object, set up and entered, and the frame that it is in."""
    frame = mrml_widgets.qMRMLWidget()
    frame.setLayout(qt.QVBoxLayout())
    widget = getattr(module, f"{module.__name__}Widget")(frame)
    widget.setup()
    return widget, frame
