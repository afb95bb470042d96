"""The panel in Slicer's narrow module panel: nothing is cut off."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import slicer
from PySide6 import QtWidgets

WIDTH = 360
HEIGHT = 3200
"""Slicer scrolls a panel that is higher than its window."""
SECTIONS = ("inputs", "segment", "review", "measure", "export", "setup")


@pytest.fixture
def open_panel(panel, volume, fake_worker, pump):
    """The panel after a run, as narrow as it may get, with every section and the log open."""
    panel.enter()
    pump(lambda: isinstance(panel.setupSection.facts, dict))
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    for name in SECTIONS:
        getattr(panel.ui, f"{name}CollapsibleButton").collapsed = False
    panel.checkSection.straightened.button.collapsed = False
    panel.checkSection.compare.button.collapsed = False
    panel.ui.logButton.click()
    panel.frame.resize(WIDTH, HEIGHT)
    slicer.app.processEvents()
    return panel


def test_the_panel_has_its_six_sections_in_the_order_of_work(panel):
    buttons = [getattr(panel.ui, f"{name}CollapsibleButton") for name in SECTIONS]
    texts = ["Inputs", "Segment", "Review", "Measurements", "Export", "Setup"]
    assert [b.text for b in buttons] == texts
    slicer.app.processEvents()
    heights = [button.pos.y() for button in buttons]
    assert heights == sorted(heights)


def test_no_text_is_cut_off_in_a_narrow_panel(open_panel):
    pictures = os.environ.get("SPINEMAMBA_PICTURES")
    if pictures:
        open_panel.frame.grab().save(str(Path(pictures) / "narrow.png"))
    assert open_panel.frame.minimumSizeHint().width() <= WIDTH
    seen = 0
    for kind in (QtWidgets.QAbstractButton, QtWidgets.QLabel):
        for widget in open_panel.frame.findChildren(kind):
            is_picture = isinstance(widget, QtWidgets.QLabel) and not widget.text
            if not widget.isVisible() or is_picture:
                continue
            seen += 1
            wraps = isinstance(widget, QtWidgets.QLabel) and widget.wordWrap
            size, wanted = widget.size, widget.sizeHint()
            fits = wraps or size.width() >= wanted.width()
            height = widget.heightForWidth(size.width()) if wraps else wanted.height()
            assert fits, (widget.name, widget.text)
            assert size.height() >= height, (widget.name, widget.text)
    assert seen > 20


def test_flags_are_never_cut_off(open_panel, pump):
    label = open_panel.ui.reviewDetailLabel
    segment = open_panel.ui.outputSelector.currentNode().GetSegmentation().GetSegment("V20")
    reasons = "Cut by the image (superior). Level uncertain (74 %). " * 3
    segment.SetTag("SpineMamba.Flags", reasons.strip())
    open_panel.refresh()
    open_panel.reviewSection.table.goTo("V20")
    assert reasons.strip() in label.text
    for width in (WIDTH, 500):
        open_panel.frame.resize(width, HEIGHT)
        pump(lambda: label.size.height() >= label.heightForWidth(label.size.width()))


def test_the_key_tab_walks_through_the_panel_from_top_to_bottom(open_panel):
    ui = open_panel.ui
    chain, widget = [], ui.inputSelector
    for _ in range(200):
        widget = widget.nextInFocusChain()
        chain.append(widget.name)
    wanted = ("modalitySelector", "modelSelector", "deviceSelector", "qualitySelector")
    wanted += ("segmentButton", "cancelButton", "reviewTable", "saveButton", "checkButton")
    places = [chain.index(name) for name in wanted]
    assert places == sorted(places)
    assert not ui.reviewTable.tabKeyNavigation


def test_every_button_and_selector_says_what_it_does(open_panel):
    kinds = (QtWidgets.QPushButton, QtWidgets.QComboBox, QtWidgets.QTableWidget)
    widgets = [w for kind in kinds for w in open_panel.frame.findChildren(kind) if w.name]
    assert len(widgets) > 12
    named = [w for w in widgets if not w.name.startswith("qt_")]
    assert [w.name for w in named if not w.toolTip] == []


def test_return_in_the_table_centres_the_slices_on_the_vertebra(open_panel):
    red = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    node = open_panel.ui.outputSelector.currentNode()
    open_panel.ui.reviewTable.cellActivated.emit(2, 0)
    centre = [red.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)]
    assert centre == pytest.approx(node.GetSegmentCenterRAS("V21"), abs=1.0)
