"""The panel inside Slicer's main window: keys, questions, modules shown in turn, views."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import gil
import main_window as windows
import qt
import slicer
import slicer.util
from PySide6.QtTest import QTest
from scene_helpers import add_volume

NAME = "SpineMambaSegment"


@pytest.fixture
def case(main_window, panel):
    """The panel in the main window, with three vertebrae under review."""
    from SpineMambaSegmentLib.Scene import Segments
    from SpineMambaSegmentLib.Scene.Grid import gridOf
    from SpineMambaSegmentLib.Scene.LabelArray import imageOf

    slicer.util.selectModule(NAME)
    QTest.qWaitForWindowExposed(main_window)
    main_window.activateWindow()
    labels = np.zeros((60, 40, 40), np.uint8)
    for k in range(3):
        labels[5 + 18 * k : 18 + 18 * k, 10:30, 10:30] = 22 - k
    volume = add_volume(labels.astype(np.int16), np.eye(4))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    Segments.addSegments(imageOf(labels, gridOf(volume)), node, volume)
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.outputSelector.setCurrentNode(node)
    panel.reviewSection.table.goTo("V20")
    panel.ui.reviewTable.setFocus()
    slicer.app.processEvents()
    yield panel
    slicer.util.selectModule("Data")


def key(panel, code, modifier=qt.Qt.NoModifier) -> None:
    """Press a key with the focus in the table."""
    QTest.keyClick(panel.ui.reviewTable, code, modifier)
    slicer.app.processEvents()


def test_keys_in_the_table_approve_and_undo(case):
    key(case, qt.Qt.Key_A)
    assert case.ui.reviewProgressBar.text() == "1 of 3 reviewed"
    key(case, qt.Qt.Key_Z, qt.Qt.ControlModifier)
    assert case.ui.reviewProgressBar.text() == "0 of 3 reviewed"


def test_ctrl_z_in_the_table_undoes_the_review_while_painting(case):
    case.ui.paintButton.click()
    case.ui.reviewTable.setFocus()
    key(case, qt.Qt.Key_A)
    assert case.ui.reviewProgressBar.text() == "1 of 3 reviewed"
    key(case, qt.Qt.Key_Z, qt.Qt.ControlModifier)
    assert case.ui.reviewProgressBar.text() == "0 of 3 reviewed"
    key(case, qt.Qt.Key_Z, qt.Qt.ControlModifier | qt.Qt.ShiftModifier)
    assert case.ui.reviewProgressBar.text() == "1 of 3 reviewed"


def test_the_frame_is_entered_and_left_with_the_module(case):
    assert case.frame.isEntered
    assert case.frame.isVisible()
    slicer.util.selectModule("Data")
    assert not case.frame.isEntered
    assert not case.frame.isVisible()


@pytest.mark.parametrize("agreed", [True, False])
def test_a_question_is_answered_as_the_test_wants(answer, agreed: bool):
    asked = answer(agreed)
    assert slicer.util.confirmOkCancelDisplay("Overwrite 2 files?") == agreed
    assert asked == ["Overwrite 2 files?"]


def test_the_editor_of_the_host_keeps_its_keys_without_undo_buttons(case):
    case.ui.paintButton.click()
    editor = case.ui.paintFrame.findChild(slicer.qMRMLSegmentEditorWidget)
    editor.maximumNumberOfUndoStates = 10
    node = editor.segmentationNode()
    editor.setActiveEffectByName("Paint")
    size = voxels(node, "V20")
    assert editor.stroke((32.0, 20.0, 48.0))
    painted = voxels(node, "V20")
    assert painted > size
    editor.undoEnabled = False  # as in Slicer, this clears nothing, and hides the buttons only
    editor.undo()
    assert voxels(node, "V20") == size
    editor.maximumNumberOfUndoStates = 0
    assert editor.stroke((32.0, 20.0, 48.0))
    editor.undo()
    assert voxels(node, "V20") == painted


def voxels(node: slicer.vtkMRMLSegmentationNode, segment: str) -> int:
    return int(slicer.util.arrayFromSegmentBinaryLabelmap(node, segment).sum())


def test_views_are_centred_through_the_layout_manager(case):
    from SpineMambaSegmentLib.Panel.Review import ReviewViews

    manager = windows.LayoutManager({}, (None, None))
    ReviewViews.showSegments(case.ui.outputSelector.currentNode(), ["V20"], manager)
    resets = [manager.threeDWidget(k).threeDView().resets for k in range(manager.threeDViewCount)]
    assert resets == [1, 1]


def turns_of_a_thread(*, holding: bool) -> int:
    """Return how often a thread that waits for the GIL now and then gets it in half a second."""
    count, stop = [0], threading.Event()

    def work() -> None:
        while not stop.is_set():
            count[0] += 1
            time.sleep(1e-4)  # gives up the GIL, as a write to a file does

    thread = threading.Thread(target=work)
    thread.start()
    deadline_s = time.monotonic() + 0.5
    longest_s = gil.pump(lambda: time.monotonic() > deadline_s, holding=holding)
    counted = count[0]
    stop.set()
    thread.join()
    assert longest_s < 0.5
    return counted


def test_a_thread_starves_while_the_event_loop_holds_the_gil(panel):
    assert turns_of_a_thread(holding=True) < 0.2 * turns_of_a_thread(holding=False)


PRODUCT = "/SpineMambaSegmentLib/Planted.py"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("label.setTextInteractionFlags", ""),
        ("label.textInteractionFlags", ""),
        ("label.resolveTextColor", "QLabel.resolveTextColor"),
        ("table.scrollToItem", ""),
        ("timer.callOnTimeout", "QTimer.callOnTimeout"),
        ("button.connect('clicked(bool)', print)", ""),
        ("button.connect('clicked(int)', print)", "no signal clicked"),
        ("timer.singleShot", ""),
    ],
)
def test_the_host_refuses_to_the_product_what_pythonqt_has_not(panel, code: str, says: str):
    names = {
        "label": qt.QLabel(),
        "table": qt.QTableWidget(),
        "timer": qt.QTimer(),
        "button": qt.QPushButton(),
    }
    said = ""
    try:
        exec(compile(code, PRODUCT, "exec"), names)
    except (AttributeError, ValueError) as error:
        said = str(error)
    assert says in said
    assert bool(says) == bool(said)
