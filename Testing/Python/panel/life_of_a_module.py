"""Opens, uses, reloads, leaves and unloads the module in a process of its own; prints what it saw.

    python life_of_a_module.py MODULE_FILE SCRATCH [SLICER_PYTHON]

With the third argument, the base classes and the translation are Slicer's own files from that
folder (Base/Python/slicer in Slicer's sources), unmodified; otherwise the stand-ins of the host.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

# ruff: noqa: E402, I001 - the path of the host is needed first
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "host"), str(Path(sys.argv[1]).parent)]

import application
import numpy as np
import qt
import slicer
import slicer.util
from PySide6 import QtWidgets

NAME = "SpineMambaSegment"
FILES = ("i18n", "ScriptedLoadableModule")


class AnyParent(QtWidgets.QMenu):
    """PythonQt takes any object for a parent, and ignores what is not a widget."""

    def __init__(self, *arguments: Any):
        super().__init__(*(a for a in arguments if isinstance(a, (str, QtWidgets.QWidget))))


def use_slicers_files(folder: Path) -> None:
    """Replace stand-ins by Slicer's own files."""
    qt.QMenu = AnyParent
    for name in FILES:
        spec = importlib.util.spec_from_file_location(f"slicer.{name}", folder / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)
        spec.loader.exec_module(module)


def add_case() -> Any:
    """Add a volume and a segmentation of three vertebrae, and choose both in the panel."""
    from scene_helpers import add_volume
    from SpineMambaSegmentLib.Scene import Segments
    from SpineMambaSegmentLib.Scene.Grid import gridOf
    from SpineMambaSegmentLib.Scene.LabelArray import imageOf

    labels = np.zeros((60, 40, 40), np.uint8)
    for k in range(3):
        labels[5 + 18 * k : 18 + 18 * k, 10:30, 10:30] = 22 - k
    volume = add_volume(labels.astype(np.int16), np.eye(4))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    Segments.addSegments(imageOf(labels, gridOf(volume)), node, volume)
    ui = panel().ui
    ui.inputSelector.setCurrentNode(volume)
    ui.outputSelector.setCurrentNode(node)
    slicer.app.processEvents()
    return node


def widget() -> Any:
    return slicer.util.getModuleWidget(NAME)


def panel() -> Any:
    return widget().panel


def follows(entry: Any, node: Any) -> bool:
    """Return whether a panel shows a change that something else makes in the scene."""
    segment = node.GetSegmentation().GetNthSegment(0)
    status = slicer.vtkSlicerSegmentationsModuleLogic
    text = entry.panel.ui.reviewProgressBar.text()
    done = status.GetSegmentStatus(segment) == status.Completed
    status.SetSegmentStatus(segment, status.NotStarted if done else status.Completed)
    deadline_s = time.monotonic() + 1.0
    while time.monotonic() < deadline_s and entry.panel.ui.reviewProgressBar.text() == text:
        slicer.app.processEvents()
    return entry.panel.ui.reviewProgressBar.text() != text


def live() -> dict[str, Any]:
    """Use the module from its first to its last day."""
    seen: dict[str, Any] = {}
    slicer.util.selectModule(NAME)
    frame = slicer.modules.spinemambasegment.widgetRepresentation()
    seen["entered"] = frame.isEntered
    seen["logic"] = slicer.util.getModuleLogic(NAME) is widget().logic
    seen["shortcuts"] = sorted(s.key.toString() for s in frame.findChildren(qt.QShortcut))
    slicer.selfTests[NAME](segment=False)
    slicer.util.selectModule(NAME)
    node = add_case()
    seen["rows"] = len(panel().reviewSection.table.rows)
    panel().reviewSection.table.goTo("V20")
    panel().ui.paintButton.setChecked(True)
    old = widget()
    old.onReload()
    seen["replaced"] = widget() is not old and type(widget()) is not type(old)
    seen["same frame"] = widget().parent is frame
    seen["shown after reload"] = panel().ui.outputSelector.currentNode() is node
    seen["rows after reload"] = len(panel().reviewSection.table.rows)
    slicer.util.selectModule("Data")
    seen["left"] = not frame.isEntered
    slicer.mrmlScene.Clear(0)
    slicer.app.processEvents()
    slicer.util.selectModule(NAME)
    node = add_case()
    seen["rows after closing"] = len(panel().reviewSection.table.rows)
    last = widget()
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit("Data")
    seen["follows, another module unloaded"] = follows(last, node)
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(NAME)
    seen["follows, unloaded"] = follows(last, node)
    seen["observers left"] = len(last.Observations)
    slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(NAME)  # is not called twice
    slicer.mrmlScene.Clear(1)
    slicer.app.processEvents()
    return seen


def main() -> None:
    path, scratch, *folder = map(Path, sys.argv[1:])
    application.start(scratch)
    if folder:
        use_slicers_files(folder[0])
    slicer.app.settings().setValue("Developer/DeveloperMode", "true")
    slicer.app.settings().setValue("Developer/SelfTestDisplayMessageDelay", "0")
    application.import_module(path)
    slicer.app.showMainWindow()
    sys.stdout.write(f"{json.dumps(live())}\n")


main()
