"""Leaving the module leaves nothing behind, and its keys reach the review exactly once."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import qt
import slicer
from check_helpers import add_segments
from PySide6.QtTest import QTest
from scene_helpers import add_volume

IDS = ("V19", "V20", "V21", "V22")
SHAPE = (96, 24, 24)
BESIDE_V20 = (10.0, 20.0, 55.0)
CTRL, SHIFT = qt.Qt.ControlModifier, qt.Qt.ShiftModifier


def labels() -> np.ndarray:
    """T12 to L3 as blocks from head to tail."""
    found = np.zeros(SHAPE, np.uint8)
    for n, segment_id in enumerate(IDS):
        top = SHAPE[0] - 24 * n
        found[top - 20 : top, 4:18, 4:18] = int(segment_id[1:])
    return found


@pytest.fixture
def desk(main_window, panel):
    """The panel in a dock of a main window, a view in its centre, and a spine in the scene."""
    scene = slicer.mrmlScene
    for name in ("Interaction", "Selection"):
        if scene.GetNodeByID(f"vtkMRML{name}NodeSingleton") is None:
            scene.AddNode(getattr(slicer, f"vtkMRML{name}Node")())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    for name, orientation in (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal")):
        view = scene.AddNewNodeByClass("vtkMRMLSliceNode", name)
        view.SetLayoutName(name)
        view.SetDefaultOrientation(orientation)
        view.SetOrientation(orientation)
    window, view = main_window, qt.QPushButton("view")
    window.setCentralWidget(view)
    dock = qt.QDockWidget()
    dock.setWidget(panel.frame)
    window.addDockWidget(qt.Qt.LeftDockWidgetArea, dock)
    volume = add_volume(labels().astype(np.int16), np.eye(4))
    node = add_segments(volume, labels(), "Spine")
    window.resize(900, 1000)
    window.activateWindow()
    slicer.app.processEvents()
    ui = panel.ui
    for name in ("inputs", "segment", "export", "setup"):
        getattr(ui, f"{name}CollapsibleButton").collapsed = False
    yield SimpleNamespace(
        panel=panel, ui=ui, review=panel.reviewSection, window=window, view=view,
        node=node, volume=volume,
    )  # fmt: skip
    dock.setWidget(None)
    panel.frame.setParent(None)


def open_review(desk) -> None:
    desk.panel.enter()
    desk.ui.inputSelector.setCurrentNode(desk.volume)
    desk.ui.outputSelector.setCurrentNode(desk.node)
    desk.panel.refresh()
    desk.review.table.goTo("V20")


def editor_of(desk) -> slicer.qMRMLSegmentEditorWidget:
    return desk.ui.paintFrame.findChild(slicer.qMRMLSegmentEditorWidget)


def undos(desk) -> int:
    log = json.loads(desk.node.GetAttribute("SpineMamba.Log") or "[]")
    return sum(item["action"].startswith("Undo") for item in log)


def redos(desk) -> int:
    log = json.loads(desk.node.GetAttribute("SpineMamba.Log") or "[]")
    return sum(item["action"].startswith("Redo") for item in log)


def press(desk, widget, key, modifier=qt.Qt.NoModifier) -> None:
    widget.setFocus()
    slicer.app.processEvents()
    QTest.keyClick(widget, key, modifier)
    slicer.app.processEvents()


def places(desk) -> dict:
    """Where the focus may be."""
    ui = desk.ui
    found = {"table": ui.reviewTable, "button": ui.nextButton, "undo": ui.undoButton}
    found |= {"box": ui.paintOverBox, "run": ui.segmentButton, "check": ui.urgentBox}
    return found | {"view": desk.view}


WHERE = ("table", "button", "undo", "box", "run", "check", "view")


@pytest.mark.parametrize("paint", [False, True])
@pytest.mark.parametrize("where", WHERE)
def test_the_keys_of_undo_reach_the_review_exactly_once(desk, where: str, paint: bool):
    open_review(desk)
    for _ in range(4):
        desk.review.toggleFlag()
    desk.ui.paintButton.setChecked(paint)
    widget = places(desk)[where]
    widget.enabled = True
    if where == "box" and not paint:
        pytest.skip("not visible")
    inside = paint or where != "view"
    press(desk, widget, qt.Qt.Key_Z, CTRL)
    assert undos(desk) == inside
    press(desk, widget, qt.Qt.Key_Z, CTRL | SHIFT)
    assert redos(desk) == inside
    press(desk, widget, qt.Qt.Key_Z, CTRL)
    press(desk, widget, qt.Qt.Key_Y, CTRL)
    assert (undos(desk), redos(desk)) == (2 * inside, 2 * inside)
    press(desk, widget, qt.Qt.Key_Z)
    press(desk, widget, qt.Qt.Key_Y)
    assert (undos(desk), redos(desk)) == (2 * inside + paint, 2 * inside + paint)
    if paint:
        assert editor_of(desk).stored["undone"] == 0


def test_painting_gives_up_waiting_clicks_and_leaves_no_place_mode(desk):
    open_review(desk)
    mouse = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    mouse.SetCurrentInteractionMode(mouse.AdjustWindowLevel)
    desk.review.menus.actions["splitSeeds"].trigger()
    assert mouse.GetCurrentInteractionMode() == mouse.Place
    desk.ui.paintButton.click()
    assert "Clicking was cancelled" in desk.ui.statusLabel.text
    editor_of(desk).setActiveEffectByName("Paint")
    desk.panel.exit()
    slicer.app.processEvents()
    assert mouse.GetCurrentInteractionMode() == mouse.AdjustWindowLevel
    assert not slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")


def test_a_stroke_is_undone_at_once_by_the_review(desk):
    open_review(desk)
    desk.ui.paintButton.click()
    editor = editor_of(desk)
    assert not editor.undoEnabled
    assert not editor.addRemoveSegmentButtonsVisible
    before = desk.review.session.spine.states["V20"]
    editor.setActiveEffectByName("Paint")
    assert editor.stroke(BESIDE_V20)
    assert not editor.logic.CanUndo()
    press(desk, desk.view, qt.Qt.Key_Z, CTRL)  # before the table was updated
    assert desk.review.session.spine.states["V20"] == before
    assert "Undone: Edited by hand" in desk.ui.statusLabel.text
    assert editor.stroke(BESIDE_V20)
    desk.review.toggleApproved()
    press(desk, desk.view, qt.Qt.Key_Z)
    press(desk, desk.view, qt.Qt.Key_Z)
    assert desk.review.session.spine.states["V20"] == before


def test_escape_ends_the_clicks_first_and_then_the_effect(desk):
    open_review(desk)
    desk.ui.paintButton.click()
    editor = editor_of(desk)
    editor.setActiveEffectByName("Paint")
    desk.review.menus.actions["splitSeeds"].trigger()
    assert scene_state()["clicks"] == 1
    press(desk, desk.view, qt.Qt.Key_Escape)
    assert scene_state()["clicks"] == 0
    assert "cancelled" in desk.ui.statusLabel.text
    assert editor.stored["active"] == "Paint"
    press(desk, desk.view, qt.Qt.Key_Escape)
    assert editor.stored["active"] == ""


def test_giving_up_the_clicks_in_the_toolbar_is_announced(desk):
    open_review(desk)
    mode = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    desk.review.menus.actions["splitSeeds"].trigger()
    assert mode.GetPlaceModePersistence() == 1
    mode.SwitchToViewTransformMode()
    slicer.app.processEvents()
    assert "cancelled" in desk.ui.statusLabel.text
    assert scene_state()["clicks"] == 0
    assert mode.GetPlaceModePersistence() == 0


def test_slices_are_turned_back_without_a_current_row(desk):
    known = scene_state()["slices"]
    open_review(desk)
    desk.ui.reviewTable.clearSelection()
    desk.ui.reviewTable.setCurrentCell(-1, -1)
    assert desk.review.currentId() == ""
    desk.review.menus.actions["axes"].trigger()
    now = scene_state()["slices"]
    for name, matrix in now.items():
        np.testing.assert_allclose(matrix[:3, :3], known[name][:3, :3], atol=1e-9)
    desk.review.menus.actions["dim"].trigger()
    assert set(scene_state()["opacities"].values()) == {(1.0, 1.0, 1.0)}


def scene_state(node=None) -> dict:
    """Return what the module may change in the scene."""
    scene = slicer.mrmlScene
    nodes = [scene.GetNthNode(k) for k in range(scene.GetNumberOfNodes())]
    slices = [n for n in nodes if n.IsA("vtkMRMLSliceNode")]
    found = {"nodes": sorted(n.GetID() for n in nodes)}
    found["clicks"] = sum(n.IsA("vtkMRMLMarkupsNode") for n in nodes)
    found["slices"] = {s.GetName(): np.array(matrix_of(s)) for s in slices}
    found["opacities"] = {}
    for segmentation in (n for n in nodes if n.IsA("vtkMRMLSegmentationNode")):
        display = segmentation.GetDisplayNode()
        for segment_id in segmentation.GetSegmentation().GetSegmentIDs():
            names = ("2DFill", "2DOutline", "3D")
            values = [getattr(display, f"GetSegmentOpacity{n}")(segment_id) for n in names]
            found["opacities"][segmentation.GetID(), segment_id] = tuple(values)
    mode = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    found["mode"] = (mode.GetCurrentInteractionMode(), mode.GetPlaceModePersistence())
    found["placed"] = (selection.GetActivePlaceNodeID(), selection.GetActivePlaceNodeClassName())
    return found


def matrix_of(view) -> list[list[float]]:
    matrix = view.GetSliceToRAS()
    return [[matrix.GetElement(r, c) for c in range(4)] for r in range(4)]


def enabled_keys(desk) -> list[str]:
    """Return the shortcuts that would work with the focus in the view."""
    found = desk.window.findChildren(qt.QShortcut)
    window = qt.Qt.WindowShortcut
    return sorted(s.key.toString() for s in found if s.enabled and s.context == window)


def watched(desk) -> list[int]:
    """Return how many observers watch the nodes that the module works with."""
    scene = slicer.mrmlScene
    selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    mode = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    events = [
        (mode, mode.InteractionModeChangedEvent),
        (selection, selection.ActivePlaceNodeIDChangedEvent),
        (selection, selection.ActivePlaceNodeClassNameChangedEvent),
    ]
    return [node.HasObserver(event) for node, event in events]


def test_leaving_the_module_puts_everything_back(desk):
    desk.panel.enter()
    desk.ui.inputSelector.setCurrentNode(desk.volume)
    desk.ui.outputSelector.setCurrentNode(desk.node)
    display = desk.node.GetDisplayNode()
    display.SetSegmentOpacity3D("V21", 0.5)
    mode = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    mode.SetCurrentInteractionMode(mode.AdjustWindowLevel)
    desk.panel.exit()
    known, keys, observers = scene_state(), enabled_keys(desk), watched(desk)
    desk.panel.enter()
    desk.review.table.goTo("V20")
    desk.ui.paintButton.click()
    editor = editor_of(desk)
    editor.setActiveEffectByName("Paint")
    assert editor.stroke(BESIDE_V20)
    desk.review.table.goTo("V21")
    desk.review.menus.actions["splitSeeds"].trigger()
    assert scene_state()["mode"] == (mode.Place, 1)
    desk.panel.exit()
    now = scene_state()
    editor_nodes = {n for n in now["nodes"] if "SegmentEditor" in n}
    assert set(now["nodes"]) - set(known["nodes"]) == editor_nodes
    assert not slicer.mrmlScene.GetNodeByID(min(editor_nodes)).GetSaveWithScene()
    assert slicer.mrmlScene.GetNodeByID(min(editor_nodes)).GetSegmentationNode() is None
    for name, matrix in now.pop("slices").items():
        np.testing.assert_array_equal(matrix, known["slices"][name])
    for name in ("opacities", "mode", "placed", "clicks"):
        assert now[name] == known[name], name
    assert enabled_keys(desk) == keys == []
    assert watched(desk) == observers
    assert editor.stored["active"] == ""
    assert not editor.stored["observes"]
    assert not editor.stored["keys"]
    assert not desk.ui.paintFrame.isVisible()
    log = json.loads(desk.node.GetAttribute("SpineMamba.Log"))
    assert log[-1]["action"] == "Edited by hand"  # the last stroke is not lost


def test_coming_back_shows_the_editor_again_for_the_current_vertebra(desk):
    open_review(desk)
    desk.ui.paintButton.click()
    desk.panel.exit()
    desk.review.table.goTo("V21")
    assert scene_state()["opacities"][desk.node.GetID(), "V20"] == (1.0, 1.0, 1.0)
    desk.panel.enter()
    editor = editor_of(desk)
    assert desk.ui.paintFrame.isVisible()
    assert editor.stored["keys"]
    assert editor.stored["observes"]
    assert editor.logic.GetSegmentEditorNode().GetSelectedSegmentID() == "V21"
    assert editor.logic.GetSegmentEditorNode().GetSegmentationNode() is desk.node
    assert scene_state()["opacities"][desk.node.GetID(), "V20"] == pytest.approx((0.35,) * 3)


def test_outlined_differences_are_in_the_scene_only_while_the_panel_is_shown(desk):
    moved = np.roll(labels(), 3, axis=0)
    reference = add_segments(desk.volume, moved, "Reference")
    open_review(desk)
    desk.panel.exit()
    known = scene_state()["nodes"]
    desk.panel.enter()
    section = desk.panel.checkSection.compare
    section.selector.setCurrentNode(reference)
    section.compare()
    desk.panel.refresh()
    shown = scene_state()["nodes"]
    assert len(shown) == len(known) + 2  # the segmentation and its display node
    desk.panel.exit()
    assert scene_state()["nodes"] == known
    desk.panel.enter()
    assert len(scene_state()["nodes"]) == len(shown)


def another_segmentation(desk) -> None:
    other = add_segments(desk.volume, labels(), "Other")
    desk.ui.outputSelector.setCurrentNode(other)


def close_scene(desk) -> None:
    slicer.mrmlScene.Clear(0)


def close_panel(desk) -> None:
    desk.panel.exit()
    desk.panel.reviewSection.forget()


@pytest.mark.parametrize("change", [another_segmentation, close_scene, close_panel])
def test_the_editor_is_off_after_other_ends_of_painting(desk, change):
    open_review(desk)
    desk.ui.paintButton.click()
    editor = editor_of(desk)
    editor.setActiveEffectByName("Paint")
    change(desk)
    slicer.app.processEvents()
    assert editor.stored["active"] == ""
    assert not editor.stored["observes"]
    assert not editor.stored["keys"]
    assert enabled_keys(desk) == []


def test_a_vertebra_added_while_the_module_is_hidden_leaves_the_views(desk):
    open_review(desk)
    desk.panel.exit()
    known = scene_state()
    desk.review.follow(desk.review.session, ["V22"])
    desk.review.table.goTo("V22")
    now = scene_state()
    assert now["opacities"] == known["opacities"]
    for name, matrix in now["slices"].items():
        np.testing.assert_array_equal(matrix, known["slices"][name])
