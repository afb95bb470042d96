"""The part of Slicer that a scripted module meets: real scene, real Qt, no main window."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pythonqt  # noqa: F401, I001 - patches the classes of PySide6 before their first use
import ctk  # noqa: F401
import main_window
import modules
import mrml_widgets
import parameter_node_wrapper
import slicer
import slicer.util
import scripted_module
import segment_editor
from PySide6 import QtCore, QtWidgets
from vtkmodules.vtkCommonCore import vtkCollection

LOGICS = {
    "segmentations": slicer.vtkSlicerSegmentationsModuleLogic,
    "terminologies": slicer.vtkSlicerTerminologiesModuleLogic,
    "sequences": slicer.vtkSlicerSequencesLogic,
    "markups": slicer.vtkSlicerMarkupsLogic,
}


class Application(QtCore.QObject):
    """What modules use of ``slicer.app``.

    Attributes:
        testing: What ``testingEnabled`` returns; if True, ``slicer.util`` answers its questions.
        views: What ``layoutManager`` returns; None without a main window.
        reloaded: Names of the modules that were reloaded.
    """

    stands_for = "qSlicerApplication"
    startupCompleted = QtCore.Signal()
    aboutToQuit = QtCore.Signal()
    applicationName = "Slicer"
    applicationVersion = "5.12.4"
    documentationBaseUrl = "https://slicer.readthedocs.io/en/5.12/"

    def __init__(self, folder: Path, logic: slicer.vtkSlicerApplicationLogic):
        super().__init__()
        self.temporaryPath = str(folder / "temporary")
        Path(self.temporaryPath).mkdir()
        self._settings = _settings_in(folder / "settings")
        self.slicerUserSettingsFilePath = self._settings.fileName()
        self._logic = logic
        self._modules = modules.ModuleManager()
        self._window: main_window.MainWindow | None = None
        self.testing, self.views = True, None
        self.reloaded: list[str] = []

    def applicationLogic(self) -> slicer.vtkSlicerApplicationLogic:
        return self._logic

    def settings(self) -> QtCore.QSettings:
        return self._settings

    def userSettings(self) -> QtCore.QSettings:
        return self._settings

    def layoutManager(self) -> main_window.LayoutManager | None:
        return self.views

    def moduleManager(self) -> modules.ModuleManager:
        return self._modules

    def mainWindow(self) -> main_window.MainWindow | None:
        return self._window

    def topLevelWidgets(self) -> list[QtWidgets.QWidget]:
        """Return the main window, if there is one; `slicer.util.mainWindow` looks for it here."""
        return [] if self._window is None else [self._window]

    def showMainWindow(self) -> main_window.MainWindow:
        """Start as without ``--no-main-window``."""
        self._window = main_window.MainWindow()
        self._window.show()
        return self._window

    def closeMainWindow(self) -> None:
        """Go on as with ``--no-main-window``."""
        if self._window is not None:
            for entry in self._modules.loaded.values():
                for widget in entry.widgets:
                    widget.setParent(None)  # the panels outlive the window
            self._window.close()
            self._window.deleteLater()
        self._window, self.views = None, None

    def translate(self, context: str, text: str) -> str:
        return text

    def commandOptions(self) -> SimpleNamespace:
        hidden = self._window is None
        return SimpleNamespace(testingEnabled=self.testing, noMainWindow=hidden)

    def moduleDocumentationUrl(self, moduleName: str) -> str:
        return f"{self.documentationBaseUrl}user_guide/modules/{moduleName.lower()}.html"

    def keyboardModifiers(self) -> Any:
        return QtWidgets.QApplication.keyboardModifiers()

    def restart(self) -> None:
        """Slicer would start again."""
        raise AssertionError("a test restarted Slicer")

    def processEvents(self) -> None:
        QtWidgets.QApplication.processEvents()

    def clipboard(self) -> Any:
        return QtWidgets.QApplication.clipboard()

    def testingEnabled(self) -> bool:
        return self.testing


def _settings_in(folder: Path) -> QtCore.QSettings:
    """Return the settings that ``QSettings()`` opens, too, as in Slicer."""
    kind = QtCore.QSettings
    kind.setDefaultFormat(kind.Format.IniFormat)
    kind.setPath(kind.Format.IniFormat, kind.Scope.UserScope, str(folder))
    QtCore.QCoreApplication.setOrganizationName("slicer.org")
    QtCore.QCoreApplication.setApplicationName("Slicer")
    return kind()


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
    slicer.selfTests = {}
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
    slicer.qMRMLWidget = mrml_widgets.qMRMLWidget
    slicer.qMRMLSegmentEditorWidget = segment_editor.qMRMLSegmentEditorWidget
    for kind in (
        modules.qSlicerScriptedLoadableModule,
        modules.qSlicerScriptedLoadableModuleWidget,
    ):
        setattr(slicer, kind.__name__, kind)
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
    return slicer.app.moduleManager().load(path)


def make_panel(module: ModuleType) -> tuple[Any, QtWidgets.QWidget]:
    """Return the module's widget object, set up but not entered, and the frame that it is in."""
    entry = slicer.app.moduleManager().module(module.__name__)
    frame = entry.createNewWidgetRepresentation()
    return frame.self(), frame


def close_panel(frame: modules.qSlicerScriptedLoadableModuleWidget) -> None:
    """Unload a panel as Slicer does when it quits."""
    slicer.app.moduleManager().module(frame.moduleName).close(frame)
