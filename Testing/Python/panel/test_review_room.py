"""Room for the review: folded sections, height of the table, reasons in its rows."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
from check_helpers import add_segments
from PySide6 import QtCore
from scene_helpers import add_volume

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS

SECTIONS = ("inputs", "segment", "review")
LEVELS = NETWORK_LEVELS[:25]
STATUS, NAME, PROBABILITY, VOLUME, REVIEWED = range(5)


def folded(panel) -> list[bool]:
    return [getattr(panel.ui, f"{name}CollapsibleButton").collapsed for name in SECTIONS]


def settle() -> None:
    """One round of events for each layout within a layout."""
    for _ in range(8):
        slicer.app.processEvents()


@pytest.fixture
def whole_spine(panel):
    """The panel with a segmentation of C1 to the sacrum, as after a run."""
    levels = [name for name in BY_NAME if name in {*LEVELS, "Sacrum"}][:25]
    labels = np.zeros((4 * len(levels), 8, 8), np.uint8)
    for k, name in enumerate(reversed(levels)):
        labels[4 * k : 4 * k + 3, 2:6, 2:6] = BY_NAME[name].value
    volume = add_volume(labels.astype(np.int16), np.eye(4))
    node = add_segments(volume, labels, "Spine")
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.outputSelector.setCurrentNode(node)
    panel._makeRoom()
    return panel


def row_of(panel, segment_id: str) -> int:
    return [row.segmentId for row in panel.reviewSection.table.rows].index(segment_id)


def show(panel, width: int, height: int) -> None:
    panel.frame.resize(width, height)
    settle()
    panel.refresh()
    panel.frame.resize(width, height)
    settle()


def test_inputs_fold_after_the_first_run_and_then_stay_as_the_user_wants(
    panel, volume, fake_worker, pump
):
    assert folded(panel) == [False, False, False]
    panel.ui.reviewCollapsibleButton.collapsed = True
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    assert folded(panel) == [True, True, False]
    assert panel.ui.statusLabel.isVisible()
    assert panel.ui.cancelButton.isVisible()
    panel.ui.segmentCollapsibleButton.collapsed = False
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    assert folded(panel) == [True, False, False]


def test_c1_to_the_sacrum_fit_1080_pixels_without_scrolling(whole_spine):
    show(whole_spine, 430, 1080)
    table = whole_spine.ui.reviewTable
    assert table.rowCount == 25
    assert table.verticalScrollBar().maximum == 0
    assert table.verticalHeader().length() <= table.viewport().height
    assert whole_spine.frame.size.height() == 1080


def test_the_menus_are_visible_at_840_pixels(whole_spine):
    # Slicer scrolls what is below.
    show(whole_spine, 360, 840)
    more, frame = whole_spine.ui.moreButton, whole_spine.frame
    assert more.mapTo(frame, QtCore.QPoint(0, more.size.height())).y() <= 840


def test_the_current_row_is_in_view_in_a_low_window(whole_spine, pump):
    show(whole_spine, 360, 500)
    table = whole_spine.ui.reviewTable
    table.setFixedHeight(150)
    whole_spine.frame.resize(360, 500)
    settle()
    for segment_id in ("V24", "V1", "V20"):
        whole_spine.reviewSection.table.goTo(segment_id)
        pump(lambda: not whole_spine.reviewSection.table._scrolling.isActive())
        settle()
        rectangle = table.visualItemRect(table.item(row_of(whole_spine, segment_id), NAME))
        assert table.viewport().rect.contains(rectangle)


def test_an_empty_table_has_no_blank_rows(panel):
    settle()
    assert panel.ui.reviewTable.size.height() < 50


def test_no_head_of_the_table_is_cut_off_in_a_narrow_panel(whole_spine):
    show(whole_spine, 360, 840)
    header = whole_spine.ui.reviewTable.horizontalHeader()
    for column in range(1, 5):
        text = whole_spine.ui.reviewTable.horizontalHeaderItem(column).text()
        assert header.sectionSize(column) >= header.fontMetrics().horizontalAdvance(text) + 6, text


def test_reasons_stand_in_the_table_until_a_vertebra_is_approved(whole_spine):
    panel, table = whole_spine, whole_spine.ui.reviewTable
    segmentation = panel.ui.outputSelector.currentNode().GetSegmentation()
    reasons = "Cut by the image (superior). Level uncertain (74 %)."
    segmentation.GetSegment("V20").SetTag("SpineMamba.Flags", reasons)
    panel.refresh()
    item = table.item(row_of(panel, "V20"), REVIEWED)
    assert item.text() == "Cut by the image (superior)"
    assert reasons in item.toolTip()
    assert not item.icon().isNull()
    panel.reviewSection.table.goTo("V20")
    panel.reviewSection.toggleApproved()
    item = table.item(row_of(panel, "V20"), REVIEWED)
    assert "Cut" not in item.text()
    assert item.text()
    assert reasons in item.toolTip()
    assert item.icon().isNull()


def test_by_hand_stands_only_beside_levels_that_the_user_has_set(whole_spine):
    table = whole_spine.ui.reviewTable
    texts = {table.item(row, PROBABILITY).text() for row in range(table.rowCount)}
    assert texts == {"\N{EN DASH}"}
    segment = whole_spine.ui.outputSelector.currentNode().GetSegmentation().GetSegment("V20")
    segment.SetTag("SpineMamba.NamedBy", "person")
    whole_spine.refresh()
    found = {table.item(row, NAME).text(): table.item(row, PROBABILITY) for row in range(25)}
    assert found["L1"].text() == "by hand"
    assert found["L1"].toolTip() == "The level was set by the user."
    assert found["L2"].text() == "\N{EN DASH}"
