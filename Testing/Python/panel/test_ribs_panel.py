"""The rib view and the ribs seen by the level network in the panel."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import qt
from check_helpers import add_segments, add_slice_view, is_at, matrix_of, photograph
from PySide6 import QtTest
from scene_helpers import add_volume
from synthetic_results import result_of

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol.result import Result, Witnesses
from spinemamba.protocol.rib_findings import NOT_FOR_MR

LEVELS = ("T10", "T11", "T12", "L1", "L2")
RIB_COLOR = (127, 224, 160)
WARNING_COLOR = (255, 209, 128)


@pytest.fixture(scope="session")
def body():
    """A CT of the lower chest in its whole width, and its truth."""
    options = PhantomOptions(first="T10", last="L2", spacing_mm=(3.0, 2.0, 2.0), noise_hu=15.0)
    return make_phantom(4, options)


def seen_result(phantom) -> Result:
    """Return the result of a run with a level network that saw the ribs as they are."""
    result = result_of(phantom.labels)
    instances = []
    for item in result.instances:
        ribs = 0.95 if item.name[0] == "T" else 0.03
        last = 0.8 if item.name == "T12" else 0.1
        seen = Witnesses(ribs, ribs, 0.0, last, 0.0)
        instances.append(replace(item, witnesses=seen, flags=(), posterior=0.99))
    return replace(result, instances=tuple(instances), ambiguous=False, warnings=())


@pytest.fixture
def show(panel, body, pump):
    """A function that shows a phantom in the panel, with the straightened spine open."""

    def opened(result: Result | None = None, grey: np.ndarray | None = None):
        array = body.image.array if grey is None else grey
        volume = add_volume(array, matrix_of(body), "Doe John")
        node = add_segments(volume, body.labels.array.astype(np.uint8), "Spine")
        if result is not None:
            node.SetAttribute("SpineMamba.Result", json.dumps(result.to_json()))
            for item in result.instances:
                segment = node.GetSegmentation().GetSegment(f"V{item.label}")
                segment.SetTag("SpineMamba.Instance", str(item.id))
        panel.ui.inputSelector.setCurrentNode(volume)
        panel.ui.outputSelector.setCurrentNode(node)
        panel.refresh()
        section = panel.checkSection.straightened
        section.button.collapsed = False
        panel.frame.resize(360, 1500)
        pump(lambda: section.label.isVisible())
        section.ribsBox.click()
        pump(lambda: section._fingerprint is not None and not section.isComputing)
        return panel

    return opened


def pixels_of(label) -> np.ndarray:
    image = label.pixmap.toImage().convertToFormat(qt.QImage.Format_RGB888)
    flat = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), -1)
    return flat[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)


def share(label, color: tuple[int, int, int]) -> np.ndarray:
    return (np.abs(pixels_of(label) - color) < 12).all(axis=-1)


def test_the_rib_view_marks_the_ribs_that_were_seen(show, body):
    panel = show(seen_result(body))
    section = panel.checkSection.straightened
    photograph(panel, "ribs")
    (strip, left, scale) = section._drawnStrips[0]
    marks = share(section.label, RIB_COLOR)
    for number, level in enumerate(LEVELS, start=1):
        for row, column in strip.joints[number]:
            y, x = (round(2 * (v + 0.5) * scale) for v in (row, column))
            found = marks[y - 3 : y + 4, x - 3 : x + 4].mean()
            assert (found > 0.9) == (level[0] == "T"), level
    assert left == 0.0
    assert section.message.text == "Last rib at T12; this fits the names."
    assert not share(section.label, WARNING_COLOR).any()


def test_a_name_that_contradicts_the_ribs_is_highlighted(show, body, pump):
    panel = show(seen_result(body))
    section, node = panel.checkSection.straightened, panel.ui.outputSelector.currentNode()
    view = section._straight.strips[0].grey
    for level, name in {"L2": "L3", "L1": "L2", "T12": "L1"}.items():
        node.GetSegmentation().GetSegment(f"V{BY_NAME[level].value}").SetName(name)
    panel.refresh()
    pump(lambda: "not fit" in section.message.text)
    assert section.message.text == "Last rib at L1; this does not fit the names: see L1."
    assert share(section.label, WARNING_COLOR).any()
    assert section._straight.strips[0].grey is view
    assert panel.ui.reviewTable.item(2, 4).text() == "Last rib: check the name"
    photograph(panel, "contradicted")


def test_the_table_and_the_details_name_the_last_rib(show, body):
    panel = show(seen_result(body))
    table = panel.ui.reviewTable
    cells = {table.item(row, 1).text(): table.item(row, 4).text() for row in range(5)}
    assert cells == {"T10": "", "T11": "", "T12": "Last rib", "L1": "", "L2": ""}
    assert table.item(0, 1).toolTip() == "Ribs on both sides."
    panel.reviewSection.table.goTo("V19")
    assert panel.ui.reviewDetailLabel.text.endswith("Last rib at this vertebra (T12).")


def test_a_click_in_the_rib_view_brings_the_views_to_the_vertebra(show, body, pump):
    panel = show(seen_result(body))
    red, node = add_slice_view(), panel.ui.outputSelector.currentNode()
    section, table = panel.checkSection.straightened, panel.reviewSection.table
    ((strip, left, scale),) = section._drawnStrips
    for number, level in ((1, "T10"), (5, "L2")):
        # Beside the spine, where only the height tells the vertebra.
        row, wanted = strip.marks[number][0], f"V{BY_NAME[level].value}"
        place = qt.QPoint(round(left + 0.9 * strip.grey.shape[1] * scale), round(row * scale))
        QtTest.QTest.mouseClick(
            section.label, qt.Qt.MouseButton.LeftButton, qt.Qt.KeyboardModifier(0), place
        )
        pump(lambda wanted=wanted: table.current() == wanted)
        assert is_at(red, node, wanted)


def test_without_a_level_network_only_the_picture_is_shown(show, body):
    section = show().checkSection.straightened
    assert section.label.isVisible()
    assert not section.message.isVisible()
    assert not share(section.label, RIB_COLOR).any()
    assert section._straight.names == LEVELS


def test_mr_has_no_rib_view_and_the_panel_says_why(show, body):
    mr = make_phantom(
        4, PhantomOptions(first="T10", last="L2", spacing_mm=(3.0, 2.0, 2.0), modality="mr")
    )
    panel = show(grey=mr.image.array)
    section = panel.checkSection.straightened
    assert section.message.text == NOT_FOR_MR
    assert not section.label.isVisible()


def test_the_strips_return_when_the_rib_view_is_switched_off(show, body, pump):
    section = show(seen_result(body)).checkSection.straightened
    section.ribsBox.click()
    pump(lambda: section._straight is not None and len(section._straight.strips) == 2)
    assert section.label.isVisible()
    assert not share(section.label, RIB_COLOR).any()
    assert section.message.text == "Last rib at T12; this fits the names."


def test_cut_ribs_are_mentioned_below_the_rib_view(show, body):
    columns = np.flatnonzero((body.labels.array > 0).any(axis=(0, 1)))
    grey = body.image.array.copy()
    grey[:, :, : columns.min()] = grey[:, :, columns.max() + 1 :] = -2000
    section = show(grey=grey).checkSection.straightened
    assert section.label.isVisible()
    assert section.message.text.startswith("At T10 to L1 the image shows less than 60 mm")
