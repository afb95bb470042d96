"""Stand-in for slicer.ScriptedLoadableModule, which slicer-core has not; it has the same shape.

`test_slicers_own_module` runs the product on Slicer's own file where one is at hand.
"""

from __future__ import annotations

import importlib
import logging
import unittest
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
import slicer.util


class ScriptedLoadableModule:
    """What Slicer shows about a module; registers its self test."""

    def __init__(self, parent: Any):
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        for name in ("title", "helpText", "acknowledgementText"):
            setattr(parent, name, "")
        for name in ("categories", "dependencies", "contributors"):
            setattr(parent, name, [])
        for suffix in (".svg", ".png"):
            icon = Path(self.resourcePath(f"Icons/{self.moduleName}{suffix}"))
            if icon.is_file():
                parent.icon = qt.QIcon(str(icon))
                break
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        base, name = slicer.app.documentationBaseUrl, self.moduleName
        url = base + docPage if docPage else slicer.app.moduleDocumentationUrl(name)
        return f'<p><a href="{url}">online documentation</a></p>'

    def runTest(self, msec: int = 100, **kwargs: Any) -> None:
        """Run the test class of the module as the Self Tests module does."""
        kind = getattr(importlib.import_module(self.__module__), f"{self.moduleName}Test")
        case = kind()
        case.messageDelay = msec
        case.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """The panel of a module, in the frame that Slicer gives it."""

    def __init__(self, parent: Any = None):
        # Slicer's class passes no arguments on: further base classes get none.
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue(
            "Developer/DeveloperMode", False, converter=slicer.util.toBool
        )
        if parent:
            self.parent = parent
        else:
            self.parent = slicer.qMRMLWidget()
            self.parent.setLayout(qt.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if not parent:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect(
            "moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded
        )

    def resourcePath(self, filename: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def cleanup(self) -> None:
        """Called before the module is unloaded or reloaded."""

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName != self.moduleName:
            return
        self.cleanup()
        slicer.app.moduleManager().disconnect(
            "moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded
        )

    def setupDeveloperSection(self) -> None:
        if not self.developerMode:
            return
        self.reloadCollapsibleButton = ctk.ctkCollapsibleButton()
        self.reloadCollapsibleButton.text = "Reload && Test"
        self.layout.addWidget(self.reloadCollapsibleButton)
        form = qt.QFormLayout(self.reloadCollapsibleButton)
        self.reloadButton = qt.QPushButton("Reload")
        self.reloadButton.connect("clicked()", self.onReload)
        form.addRow(self.reloadButton)

    def setup(self) -> None:
        self.setupDeveloperSection()

    def onReload(self) -> None:
        slicer.app.reloaded.append(self.moduleName)
        slicer.util.reloadScriptedModule(self.moduleName)

    def onTest(self, **kwargs: Any) -> None:
        with slicer.util.tryWithErrorDisplay("Test failed."):
            slicer.selfTests[self.moduleName](msec=0, **kwargs)

    def onReloadAndTest(self, **kwargs: Any) -> None:
        with slicer.util.tryWithErrorDisplay("Reload and Test failed."):
            self.onReload()
            slicer.selfTests[self.moduleName](msec=0, **kwargs)


class ScriptedLoadableModuleLogic:
    """What a module does."""

    def __init__(self, parent: Any = None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> slicer.vtkMRMLScriptedModuleNode:
        """Return the first parameter node of the module; create it if needed."""
        if not self.isSingletonParameterNode:
            nodes = self.getAllParameterNodes()
            return nodes[0] if nodes else slicer.mrmlScene.AddNode(self.createParameterNode())
        kind = "vtkMRMLScriptedModuleNode"
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, kind)
        if node is None:
            return slicer.mrmlScene.AddNode(self.createParameterNode())
        if node.GetAttribute("ModuleName") != self.moduleName:  # closing a scene removes it
            node.SetAttribute("ModuleName", self.moduleName)
        return node

    def getAllParameterNodes(self) -> list[slicer.vtkMRMLScriptedModuleNode]:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> slicer.vtkMRMLScriptedModuleNode:
        node = slicer.vtkMRMLScriptedModuleNode()
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """A test that runs inside Slicer; it is made without the name of a method."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        super(unittest.TestCase, self).__init__()
        names = [name for name in dir(self) if "test" in name]
        self.moduleTestNames = [name for name in names if callable(getattr(self, name))]

    def delayDisplay(self, message: str, requestedDelay: Any = None, msec: Any = None) -> None:
        """Show a message for a while; a short while is one round of the event loop."""
        delay_ms = getattr(self, "messageDelay", msec or requestedDelay or 100)
        slicer.util.delayDisplay(message, delay_ms)

    def runTest(self) -> None:
        """Run all tests of the class."""
        self.setUpClass()
        for name in self.moduleTestNames:
            self.setUp()
            logging.info("Running %s", name)
            getattr(self, name)()
            self.tearDown()
        self.tearDownClass()
