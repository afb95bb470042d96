"""The module uses what Slicer has: names of Qt, CTK and Slicer are compared with their headers.

The test host could not tell: PySide6 and slicer-core have more names. `Testing/Tools/qt_names.py`
has read the headers; classes of MRML and VTK are looked up in slicer-core.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from pythonqt_names import CLASSES, FUNCTIONS, has, signals_of

MODULE = Path(__file__).resolve().parents[3] / "SpineMambaSegment"
LIB = sorted((MODULE / "SpineMambaSegmentLib").rglob("*.py"))
FILES = [MODULE / "SpineMambaSegment.py", *LIB]
ROOTS = ("qt", "ctk", "slicer", "vtk")
OBJECTS = {
    "slicer.app": "qSlicerApplication",
    "slicer.dicomDatabase": "ctkDICOMDatabase",
}
"""Objects of the application, and their classes."""
MODULE_NAMES = ("logic", "path", "widgetRepresentation", "name")
NEWER = {"slicer.packaging.pip_ensure"}
"""Slicer 5.12 only; `Dependencies` looks whether it is there."""


def widgets_of(path: Path) -> dict[str, str]:
    """Return the class of every named widget, layout and action of a .ui file."""
    root = ElementTree.parse(path).getroot()
    return {e.get("name", ""): e.get("class", "") for e in root.iter() if e.get("class")}


WIDGETS = widgets_of(MODULE / "Resources" / "UI" / "SpineMambaSegment.ui")


def names_in(code: str) -> set[str]:
    """Return the dotted names of Qt, Slicer and VTK in a file, each in its full length."""
    tree = ast.parse(code)
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    inner = {id(node.value) for node in attributes}
    names = {dotted(node) for node in attributes if id(node) not in inner}
    return {name for name in names if name.partition(".")[0] in ROOTS}


def dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([getattr(node, "id", ""), *reversed(parts)])


def imports_in(code: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def of_application(name: str) -> bool:
    """Return whether Slicer has a dotted name that starts with ``qt``, ``ctk`` or ``slicer``."""
    root, kind, *rest = name.split(".")
    if root in ("qt", "ctk") or (root == "slicer" and kind.startswith(("qMRML", "qSlicer"))):
        return kind in CLASSES and all(has(kind, entry) for entry in rest[:1])
    if (owner := OBJECTS.get(f"{root}.{kind}")) is not None:
        return not rest or has(owner, rest[0])
    if kind == "modules":
        return len(rest) < 2 or rest[1] in MODULE_NAMES
    return kind == "util" and (not rest or rest[0] in FUNCTIONS)


def of_vtk(name: str) -> bool:
    """Return whether slicer-core has a dotted name of MRML or VTK."""
    import slicer
    import vtk

    root, *rest = name.split(".")
    entry = {"slicer": slicer, "vtk": vtk}[root]
    if rest[:1] == ["mrmlScene"]:
        entry, rest = slicer.vtkMRMLScene, rest[1:]
    for part in rest:
        if not hasattr(entry, part):
            return False
        entry = getattr(entry, part)
    return True


def unknown_names(code: str) -> set[str]:
    """Return the names of a file that Slicer has not."""
    found = {name for name in names_in(code) if "." in name} - NEWER
    by_vtk = {n for n in found if n.startswith(("vtk.", "slicer.vtk", "slicer.mrmlScene"))}
    return {n for n in found - by_vtk if not of_application(n)} | {
        n for n in by_vtk if not of_vtk(n)
    }


def is_ui(node: ast.expr) -> bool:
    name = getattr(node, "attr", getattr(node, "id", ""))
    return name in ("ui", "_ui")


def unknown_of_widgets(code: str) -> set[str]:
    """Return what is used of ``ui.widget`` and is not there: the widget, or its attribute."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and is_ui(node.value) and node.attr not in WIDGETS:
            found.add(f"ui.{node.attr}")
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Attribute):
            continue
        kind = WIDGETS.get(node.value.attr)
        if is_ui(node.value.value) and kind and not has(kind, node.attr):
            found.add(f"{kind}.{node.attr}")
    return found


EVERY_SIGNAL = {signature for kind in CLASSES for signature in signals_of(kind)}


def unknown_signals(code: str) -> set[str]:
    """Return the signatures that are connected and that no class has, or not that of the widget."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        signature = node.args[0] if node.args else None
        if node.func.attr not in ("connect", "disconnect") or not isinstance(
            getattr(signature, "value", None), str
        ):
            continue
        owner = node.func.value
        kind = (
            WIDGETS.get(getattr(owner, "attr", "")) if is_ui(getattr(owner, "value", owner)) else ""
        )
        if signature.value not in (signals_of(kind) if kind else EVERY_SIGNAL):
            found.add(signature.value)
    return found


@pytest.fixture(scope="module")
def vtk_classes() -> None:
    """Skip without slicer-core."""
    pytest.importorskip("slicer", reason="slicer-core is missing")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_slicer_has_every_name_of_qt_ctk_slicer_and_vtk(path: Path, vtk_classes: None):
    assert unknown_names(path.read_text("utf-8")) == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_class_of_a_widget_has_what_is_used_of_it(path: Path):
    assert unknown_of_widgets(path.read_text("utf-8")) == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_connected_signals_have_the_signature_of_qt(path: Path):
    assert unknown_signals(path.read_text("utf-8")) == set()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ui.segmentButton.connect('clicked(int)', f)", {"clicked(int)"}),
        ("ui.urgentBox.connect('toggled()', f)", {"toggled()"}),
        ("ui.inputSelector.connect('currentNodeChanged(vtkMRMLNode*)', f)", set()),
        ("action.connect('triggered()', f)", set()),
        ("timer.connect('timedOut()', f)", {"timedOut()"}),
    ],
)
def test_a_signal_with_another_signature_is_detected(code: str, expected: set[str]):
    assert unknown_signals(code) == expected


PLANTED = {
    "class": ("qt.QTextCodec", {"qt.QTextCodec"}),
    "enum": ("qt.Qt.AlignMiddle", {"qt.Qt.AlignMiddle"}),
    "enum of Qt 6": ("qt.QImage.Format_CMYK8888", {"qt.QImage.Format_CMYK8888"}),
    "static": ("qt.QFileDialog.getOpenUrl()", {"qt.QFileDialog.getOpenUrl"}),
    "application": ("slicer.app.foo()", {"slicer.app.foo"}),
    "util": ("slicer.util.showMessage('x')", {"slicer.util.showMessage"}),
    "MRML": ("slicer.vtkMRMLSegmentNode()", {"slicer.vtkMRMLSegmentNode"}),
    "method": ("slicer.mrmlScene.AddNodeByClass('x')", {"slicer.mrmlScene.AddNodeByClass"}),
    "of ours": ("self.qt.y", set()),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_name_that_slicer_has_not_is_detected(name: str, vtk_classes: None):
    code, expected = PLANTED[name]
    assert unknown_names(code) == expected


def test_an_attribute_that_a_widget_has_not_is_detected():
    code = "ui.segmentButton.setTitle('x')\nself._ui.inputSelector.currentNode()\nui.nothing.hide()"
    assert unknown_of_widgets(code) == {"QPushButton.setTitle", "ui.nothing"}


def test_every_class_of_the_ui_file_is_known():
    spacers = {"", "QSpacerItem"}
    root = ElementTree.parse(MODULE / "Resources" / "UI" / "SpineMambaSegment.ui").getroot()
    for element in root.iter("widget"):
        kind = element.get("class", "")
        assert kind in CLASSES or kind in spacers
        for entry in element.findall("property"):
            assert has(kind, entry.get("name", "")), f"{kind}.{entry.get('name')}"


@pytest.mark.parametrize("path", LIB, ids=lambda path: path.stem)
def test_only_the_module_file_uses_the_application(path: Path):
    singletons = ("slicer.mrmlScene", "slicer.app", "slicer.modules")
    assert not [n for n in names_in(path.read_text("utf-8")) if n.startswith(singletons)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_modules_removed_from_newer_pythons_are_not_imported(path: Path):
    assert not imports_in(path.read_text("utf-8")) & {"imp", "distutils", "pkg_resources", "psutil"}


OPEN_AND_RUN = """
import sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import application
application.start(Path(sys.argv[3]))
module = application.import_module(Path(sys.argv[2]) / "SpineMambaSegment.py")
widget, frame = application.make_panel(module)
widget.enter()
for _ in range(20):
    application.slicer.app.processEvents()
widget.cleanup()
heavy = ("torch", "SimpleITK", "scipy", "skimage", "matplotlib", "safetensors")
assert "numpy" in sys.modules
print(*[name for name in heavy if name in sys.modules])
"""


def test_opening_the_panel_imports_no_heavy_package(tmp_path: Path):
    pytest.importorskip("application", reason="PySide6, slicer-core or Qt's libraries missing")
    host = str(Path(__file__).parent / "host")
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(OPEN_AND_RUN),
        host,
        str(MODULE),
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
