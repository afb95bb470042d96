"""Straightened spine, comparison and export of cases in the panel."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import qt
import SimpleITK as sitk
import slicer
from check_helpers import add_segments, add_slice_view, is_at, matrix_of, photograph
from PySide6 import QtTest
from scene_helpers import add_volume

from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.training.data.read_dataset import check_cases
from spinemamba.training.layouts.find import find_cases

WIDTH = 360


@pytest.fixture(scope="session")
def spine():
    """A CT of a whole spine, and its truth."""
    options = PhantomOptions(first="C1", last="Sacrum", spacing_mm=(3.0, 2.0, 2.0), tight=True)
    return make_phantom(5, options)


@pytest.fixture
def reviewed(panel, spine, pump):
    """The panel with a whole spine, segmented as it truly is, all of review open."""
    volume = add_volume(spine.image.array, matrix_of(spine), "Doe John")
    volume.CreateDefaultDisplayNodes()
    display = volume.GetScalarVolumeDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(1500, 300)
    node = add_segments(volume, spine.labels.array.astype(np.uint8), "Spine")
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.outputSelector.setCurrentNode(node)
    panel.refresh()
    panel.checkSection.straightened.button.collapsed = False
    panel.checkSection.compare.button.collapsed = False
    panel.frame.resize(WIDTH, 2000)
    pump(lambda: panel.checkSection.straightened.label.isVisible())
    return panel


def pixels_of(label) -> np.ndarray:
    image = label.pixmap.toImage().convertToFormat(qt.QImage.Format_RGB888)
    flat = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), -1)
    return flat[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)


def test_the_straightened_spine_fits_a_narrow_panel(reviewed):
    label = reviewed.checkSection.straightened.label
    size = label.size
    assert size.width() <= WIDTH - 30
    assert 400 < size.height() <= 560
    photograph(reviewed, "straightened")
    seen = pixels_of(label)
    coloured = np.ptp(seen.astype(int), axis=-1) > 40
    # Vertebrae from top to bottom, in both strips.
    for half in (coloured[:, : seen.shape[1] // 2], coloured[:, seen.shape[1] // 2 :]):
        assert half.any(axis=1).mean() > 0.7


def test_a_click_on_a_body_selects_the_vertebra_in_table_and_views(reviewed, pump):
    red = add_slice_view()
    section, table = reviewed.checkSection.straightened, reviewed.reviewSection.table
    node = reviewed.ui.outputSelector.currentNode()
    straight = section._straight
    for strip, left, scale in section._drawnStrips:
        for level in ("C5", "T7", "L3"):
            number = straight.names.index(level) + 1
            segment_id = straight.ids[number - 1]
            row, column = strip.marks[number]
            place = qt.QPoint(round(left + column * scale), round(row * scale))
            QtTest.QTest.mouseClick(
                section.label, qt.Qt.MouseButton.LeftButton, qt.Qt.KeyboardModifier(0), place
            )
            pump(lambda wanted=segment_id: table.current() == wanted)
            assert is_at(red, node, segment_id)


def test_the_current_vertebra_is_highlighted(reviewed, pump):
    section = reviewed.checkSection.straightened
    before = pixels_of(section.label).copy()
    reviewed.reviewSection.table.goTo("V20")
    pump(lambda: section._shown[2] == "V20" and not section._timer.isActive())
    changed = (pixels_of(section.label) != before).any(axis=(1, 2))
    # One vertebra's height of all twenty-five.
    assert 0.01 < changed.mean() < 0.12
    photograph(reviewed, "chosen")


def test_renaming_updates_the_picture_without_recomputing_it(reviewed, pump):
    section = reviewed.checkSection.straightened
    before, strip = pixels_of(section.label).copy(), section._straight.side
    node = reviewed.ui.outputSelector.currentNode()
    node.GetSegmentation().GetSegment("V20").SetName("T13")
    reviewed.refresh()
    pump(lambda: "T13" in section._straight.names)
    assert section._straight.side is strip
    assert (pixels_of(section.label) != before).any()


def test_a_collapsed_section_computes_nothing(reviewed, pump, monkeypatch):
    from SpineMambaSegmentLib.Scene import Straightened

    section = reviewed.checkSection.straightened
    section.button.collapsed = True
    monkeypatch.setattr(Straightened, "straightenedInSteps", lambda *nodes: 1 / 0)
    reviewed.ui.outputSelector.currentNode().GetSegmentation().RemoveSegment("V20")
    reviewed.refresh()
    pump(lambda: not section._timer.isActive())
    assert not section.isComputing


def counting_steps(monkeypatch, count: int) -> tuple[list[int], list[int]]:
    """Let each drawing take some more, slow steps; return those begun and those ended."""
    from SpineMambaSegmentLib.Scene import Straightened

    begun, ended, steps = [], [], Straightened.straightenedInSteps

    def slow(*nodes):
        begun.append(0)
        for _ in range(count):
            time.sleep(0.02)
            begun[-1] += 1
            yield
        straight = yield from steps(*nodes)
        ended.append(begun[-1])
        return straight

    monkeypatch.setattr(Straightened, "straightenedInSteps", slow)
    return begun, ended


def test_slicer_handles_events_while_the_spine_is_straightened(reviewed, pump, monkeypatch):
    section = reviewed.checkSection.straightened
    _, ended = counting_steps(monkeypatch, 25)
    node = reviewed.ui.outputSelector.currentNode()
    node.GetSegmentation().RemoveSegment("V20")
    reviewed.refresh()
    events = 0

    def waited() -> bool:
        nonlocal events
        events += section.isComputing
        # The earlier picture stays until the new one is complete.
        assert section.label.isVisible()
        return bool(ended)

    pump(waited)
    assert ended == [25]
    assert events > 10
    assert "V20" not in section._straight.ids


def test_the_newest_of_several_changes_is_drawn(reviewed, pump, monkeypatch):
    section = reviewed.checkSection.straightened
    begun, ended = counting_steps(monkeypatch, 25)
    node = reviewed.ui.outputSelector.currentNode()
    for wanted, segment_id in enumerate(("V20", "V21"), start=1):
        node.GetSegmentation().RemoveSegment(segment_id)
        reviewed.refresh()
        pump(lambda wanted=wanted: len(begun) == wanted and begun[-1] > 2)
    pump(lambda: ended and not section.isComputing)
    assert begun[0] < 25
    assert ended == [25]
    assert not {"V20", "V21"} & set(section._straight.ids)


def test_a_section_that_is_folded_while_it_computes_stops(reviewed, pump, monkeypatch):
    section = reviewed.checkSection.straightened
    begun, ended = counting_steps(monkeypatch, 25)
    reviewed.ui.outputSelector.currentNode().GetSegmentation().RemoveSegment("V20")
    reviewed.refresh()
    pump(lambda: begun and begun[-1] > 2)
    section.button.collapsed = True
    pump(lambda: not section.isComputing)
    assert not ended
    section.button.collapsed = False
    pump(lambda: bool(ended))
    assert "V20" not in section._straight.ids


def test_the_straightened_spine_is_folded_until_it_is_opened(panel):
    assert panel.checkSection.straightened.button.collapsed


def test_a_closed_scene_leaves_no_picture_and_no_error(reviewed, pump):
    section = reviewed.checkSection.straightened
    slicer.mrmlScene.Clear(0)
    pump(lambda: not section._timer.isActive())
    assert not section.label.isVisible()
    assert section.message.text == "Nothing was segmented yet."
    assert not reviewed.checkSection.compare.exportButton.enabled


def test_the_comparison_lists_every_vertebra_and_outlines_differences(reviewed, spine):
    section, ui = reviewed.checkSection.compare, reviewed.ui
    labels = spine.labels.array.astype(np.uint8)
    # The reference has another T5, no L2, and calls L4 L6.
    wrong = np.where(labels == 21, 0, np.where(labels == 23, 25, labels))
    rows = np.flatnonzero((labels == 12).any(axis=(1, 2)))
    half = wrong[: rows[len(rows) // 2]]
    half[half == 12] = 0
    volume, node = ui.inputSelector.currentNode(), ui.outputSelector.currentNode()
    assert not section.compareButton.enabled
    section.selector.setCurrentNode(add_segments(volume, wrong, "Earlier"))
    assert section.compareButton.enabled
    section.compareButton.click()
    table = section.table
    cells = {
        table.item(row, 0).text(): [table.item(row, 1).text(), float(table.item(row, 2).text())]
        for row in range(table.rowCount)
    }
    assert cells["L3"] == ["L3", 1.0]
    assert cells["L6"] == ["L4", 1.0]
    assert cells["T5"][0] == "T5"
    assert 0.3 < cells["T5"][1] < 0.9
    assert "Not in the reference: L2." in section.summary.text
    photograph(reviewed, "compare")
    assert len(differences()) == 1
    section.outlineBox.click()
    assert differences() == []
    section.outlineBox.click()
    assert len(differences()) == 1
    red = add_slice_view()
    table.cellClicked.emit(list(cells).index("L6"), 0)
    assert reviewed.reviewSection.table.current() == "V23"
    assert is_at(red, node, "V23")
    section.selector.setCurrentNode(None)
    assert differences() == []
    assert not table.isVisible()


def differences() -> list:
    from SpineMambaSegmentLib.Scene import Comparison

    scene, kind = slicer.mrmlScene, "vtkMRMLSegmentationNode"
    nodes = [scene.GetNthNodeByClass(k, kind) for k in range(scene.GetNumberOfNodesByClass(kind))]
    return [node for node in nodes if node.GetAttribute(Comparison.DIFFERENCES_ATTRIBUTE)]


def test_a_reference_that_does_not_fit_is_refused(reviewed, tmp_path: Path):
    path = tmp_path / "other.nii.gz"
    path.write_bytes(b"no image")
    count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    reviewed.checkSection.compare.load(path)
    assert (
        "other.nii.gz cannot be used as a reference for this volume" in reviewed.ui.statusLabel.text
    )
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == count


def test_a_corrected_case_is_exported_with_progress_and_can_be_trained_on(
    reviewed, real_worker, pump, tmp_path: Path
):
    values = []
    reviewed.ui.progressBar.valueChanged.connect(values.append)
    reviewed.checkSection.compare.export(tmp_path)
    assert reviewed.runs.isRunning()
    assert not reviewed.ui.segmentButton.enabled
    pump(lambda: not reviewed.runs.isRunning(), 120.0)
    assert "Exported as sub-" in reviewed.ui.statusLabel.text
    assert "Not approved yet: C1" in reviewed.ui.statusLabel.text
    assert len(values) > 1
    cases = find_cases(tmp_path)
    check_cases(cases, lambda text: None)
    assert list(real_worker.iterdir()) == []


def test_disabled_buttons_say_why(panel):
    section = panel.checkSection.compare
    for button in (section.loadButton, section.compareButton, section.exportButton):
        assert not button.enabled
        assert button.toolTip


def test_differences_are_seen_as_outlines_in_the_slice_views(reviewed, spine, tmp_path: Path):
    from views import SliceView

    volume = reviewed.ui.inputSelector.currentNode()
    node = reviewed.ui.outputSelector.currentNode()
    labels = spine.labels.array.astype(np.uint8)
    # The reference reaches one slice further down, and its L2 is L3.
    other = np.where(labels == 21, 22, np.roll(labels, -2, axis=0))
    section = reviewed.checkSection.compare
    section.selector.setCurrentNode(add_segments(volume, other, "Reference"))
    slicer.app.applicationLogic().GetColorLogic().AddDefaultColorNodes()
    volume.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    view = SliceView("Yellow", "Sagittal", (300, 900))
    view.show(volume)
    view.node.JumpSliceByCentering(*node.GetSegmentCenterRAS("V21"))
    for segmentation in (node, section.selector.currentNode()):
        segmentation.GetDisplayNode().SetVisibility(False)
    pictures = []
    for pressed in (False, True):
        if pressed:
            section.compareButton.click()
        path = Path(os.environ.get("SPINEMAMBA_PICTURES", tmp_path)) / f"differ-{pressed}.png"
        view.write(path)
        pictures.append(sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(int))
    slicer.app.applicationLogic().GetSliceLogics().RemoveAllItems()
    changed = np.abs(pictures[1] - pictures[0]).max(axis=-1) > 40
    # Lines and not areas.
    assert 0.001 < changed.mean() < 0.1
