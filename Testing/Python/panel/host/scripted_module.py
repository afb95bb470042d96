"""Stand-in for slicer.ScriptedLoadableModule, which slicer-core has not."""

from __future__ import annotations

import unittest
from pathlib import Path
from typing import Any

import slicer


class ScriptedLoadableModule:
    """What Slicer shows about a module."""

    def __init__(self, parent: Any):
        self.parent = parent


class _WithResources:
    def resourcePath(self, name: str) -> str:
        path = getattr(slicer.modules, self.moduleName.lower()).path
        return str(Path(path).parent / "Resources" / name)


class ScriptedLoadableModuleWidget(_WithResources):
    """The panel of a module, in the frame that Slicer gives it."""

    def __init__(self, parent: Any = None):
        self.parent = parent
        self.layout = parent.layout()
        self.moduleName = type(self).__name__.removesuffix("Widget")

    def setup(self) -> None:
        """Slicer's own puts the reload section here."""

    def onReload(self) -> None:
        """Slicer's own loads the module file again."""
        slicer.app.reloaded.append(self.moduleName)


class ScriptedLoadableModuleLogic:
    """What a module does."""

    def __init__(self, parent: Any = None):
        super().__init__()  # as in Slicer: further base classes would get no arguments
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> slicer.vtkMRMLScriptedModuleNode:
        """Return the module's only parameter node; make it if need be."""
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag(self.moduleName)
            node.SetName(self.moduleName)
            node = scene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """A test that runs inside Slicer."""
