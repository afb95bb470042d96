"""Self test of the module and a user in its panel, for a real Slicer.

    Slicer --testing --no-splash --additional-module-paths SpineMambaSegment
        --python-script Testing/Slicer/scripted_user.py

Slicer ends with 0 if all went well. With --no-main-window, the user is left out.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import slicer
import slicer.util

NAME = "SpineMambaSegment"


def wait(rounds: int = 20) -> None:
    """Let the application do what is pending."""
    for _ in range(rounds):
        slicer.app.processEvents()


def add_case() -> tuple[Any, Any]:
    """Add an image, and a segmentation with one segment for two bodies and one more."""
    from SpineMambaSegmentLib.Scene import Segments
    from SpineMambaSegmentLib.Scene.Grid import gridOf
    from SpineMambaSegmentLib.Scene.LabelArray import imageOf

    labels = np.zeros((60, 40, 40), np.uint8)
    labels[5:13, 10:30, 10:30] = labels[15:28, 10:30, 10:30] = 22
    labels[13:15, 18:22, 18:22] = 22
    labels[41:54, 10:30, 10:30] = 20
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.util.updateVolumeFromArray(volume, labels.astype(np.int16) * 50)
    volume.CreateDefaultDisplayNodes()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    Segments.addSegments(imageOf(labels, gridOf(volume)), node, volume)
    return volume, node


def click(view: Any, place_ras: tuple[float, float, float]) -> None:
    """Click into a slice view at a position, which the view is moved to show."""
    node = view.mrmlSliceNode()
    node.JumpSliceByCentering(*place_ras)
    wait()
    matrix = slicer.util.arrayFromVTKMatrix(node.GetXYToRAS())
    x, y = np.linalg.solve(matrix, [*place_ras, 1.0])[:2].round().astype(int)
    interactor = view.sliceView().interactor()
    interactor.SetEventPosition(int(x), int(y))
    for event in ("MouseMoveEvent", "LeftButtonPressEvent", "LeftButtonReleaseEvent"):
        interactor.InvokeEvent(event)
    wait()


def use_panel() -> None:
    """Split a vertebra by two clicks, undo, approve, paint, reload, and leave the module.

    Raises:
        AssertionError: If the panel does not do what the user wants.
    """
    slicer.util.selectModule(NAME)
    panel = slicer.util.getModuleWidget(NAME).panel
    volume, node = add_case()
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.outputSelector.setCurrentNode(node)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    wait()
    review = panel.reviewSection
    assert len(review.table.rows) == 2
    review.table.goTo("V22")
    review.menus.actions["splitSeeds"].trigger()
    view = slicer.app.layoutManager().sliceWidget("Yellow")
    for row in (9.0, 21.0):
        click(view, (20.0, 20.0, row))
    wait(100)
    assert len(review.table.rows) == 3, panel.ui.statusLabel.text
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 0
    panel.ui.undoButton.click()
    assert len(review.table.rows) == 2
    review.table.goTo("V20")
    panel.ui.approveButton.click()
    assert panel.ui.reviewProgressBar.value == 1
    panel.ui.paintButton.click()
    slicer.util.getModuleWidget(NAME).onReload()
    panel = slicer.util.getModuleWidget(NAME).panel
    assert panel.ui.outputSelector.currentNode() is node
    slicer.util.selectModule("Data")
    slicer.mrmlScene.Clear(0)
    wait()
    slicer.util.selectModule(NAME)


def main() -> int:
    """Run everything, and return the exit status of Slicer."""
    try:
        slicer.selfTests[NAME]()
        if slicer.util.mainWindow() is not None:
            use_panel()
    except Exception:
        logging.exception("the scripted user failed")
        return 1
    logging.info("the scripted user is content")
    return 0


if __name__ == "__main__":
    slicer.util.exit(main())
