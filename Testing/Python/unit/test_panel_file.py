"""The panel's .ui file against the code that uses it, without Qt."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def panel(repository: Path) -> ElementTree.Element:
    """The root of the .ui file."""
    path = repository / "SpineMambaSegment" / "Resources" / "UI" / "SpineMambaSegment.ui"
    return ElementTree.parse(path).getroot()


def test_every_widget_that_the_module_uses_is_in_the_panel(
    repository: Path, panel: ElementTree.Element
):
    folder = repository / "SpineMambaSegment"
    files = [folder / "SpineMambaSegment.py", *(folder / "SpineMambaSegmentLib").rglob("*.py")]
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    used = set(re.findall(r"\b_?ui\.(\w+)", code))
    assert len(used) > 20
    assert used <= {widget.get("name") for widget in panel.iter("widget")}


def test_every_custom_widget_is_declared(panel: ElementTree.Element):
    declared = {widget.findtext("class") for widget in panel.iter("customwidget")}
    used = {widget.get("class") for widget in panel.iter("widget")}
    assert {name for name in used if not name.startswith("Q")} == declared


def test_node_selectors_get_the_scene(panel: ElementTree.Element):
    # loadUI sets the scene on the top widget only; the connections pass it on.
    connected = {connection.findtext("receiver") for connection in panel.iter("connection")}
    selectors = {
        widget.get("name")
        for widget in panel.iter("widget")
        if widget.get("class") == "qMRMLNodeComboBox"
    }
    assert selectors
    assert selectors <= connected


def test_the_input_selector_offers_no_label_maps(panel: ElementTree.Element):
    # Label maps are scalar volumes by inheritance.
    selector = next(w for w in panel.iter("widget") if w.get("name") == "inputSelector")
    properties = {p.get("name"): p.findtext("bool") for p in selector.findall("property")}
    assert properties["showChildNodeTypes"] == "false"
