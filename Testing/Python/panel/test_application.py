"""What Slicer shows of the module outside of its panel."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import urllib.request
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import qt
import slicer
import slicer.util
from sample_image import FILE, sample_image
from scene_helpers import add_volume

from spinemamba.imaging.read import read_volume

PLUGIN = "SpineMambaSegmentSubjectHierarchyPlugin"
MAX_BYTES = 1_000_000
"""Of the sample image; every version of it stays in the history."""
ARGUMENTS = {"category", "sampleName", "uris", "fileNames", "nodeNames", "customDownloader"}
ARGUMENTS |= {"thumbnailFileName", "loadFileTypes", "loadFiles", "loadFileProperties", "checksums"}
"""Of Slicer's SampleDataLogic.registerCustomSampleDataSource, 5.10 and 5.12."""


class StatusBarLog:
    """Records the messages of the status bar."""

    def __init__(self, panel):
        self.shown: list[tuple[str, int]] = []
        self.isPanelVisible = True
        panel.statusBar._show = lambda text, duration_ms: self.shown.append((text, duration_ms))
        panel.statusBar._isPanelVisible = lambda: self.isPanelVisible


def run(panel, volume, pump) -> None:
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())


def test_the_status_bar_shows_a_run_while_another_module_is_open(panel, volume, fake_worker, pump):
    log = StatusBarLog(panel)
    log.isPanelVisible = False
    run(panel, volume, pump)
    texts = [text for text, _ in log.shown]
    assert "%, Locating the spine" in " ".join(texts)
    assert "Finished in" in texts[-1]
    assert log.shown[0][1] == 0
    assert log.shown[-1][1] >= 10_000
    panel.enter()
    assert log.shown[-1] == ("", 0)


def test_the_status_bar_is_left_alone_while_the_panel_is_visible(panel, volume, fake_worker, pump):
    log = StatusBarLog(panel)
    run(panel, volume, pump)
    panel.enter()
    assert log.shown == []


def test_the_status_bar_says_that_a_run_failed(
    panel, volume, fake_worker, pump, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOW", "NO_SPINE")
    monkeypatch.setenv("STOP_AT", "locate")
    log = StatusBarLog(panel)
    log.isPanelVisible = False
    run(panel, volume, pump)
    assert panel.runSection.lastCode
    assert log.shown[-1][0].startswith("SpineMamba Segment: ")
    assert "%" not in log.shown[-1][0]


def test_a_panel_that_is_reloaded_while_open_is_entered(module, monkeypatch):
    entered = []
    monkeypatch.setattr(module.SpineMambaSegmentWidget, "enter", lambda self: entered.append(1))
    import application

    widget, frame = application.make_panel(module)  # as when the module is opened
    assert entered == []
    widget.cleanup()
    monkeypatch.setattr(type(frame), "isEntered", True)
    again, other = application.make_panel(module)
    assert entered == [1]
    again.cleanup()
    for parent in (frame, other):
        parent.deleteLater()


def test_the_help_names_the_documentation_and_its_page_exists(module, repository: Path):
    help_text = slicer.modules.spinemambasegment.parent.helpText
    assert f'<a href="{module.PAGE}">documentation</a>' in help_text
    assert (repository / module.PAGE.partition("/main/")[2]).is_file()


@pytest.fixture
def sample_data(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """A stand-in of Slicer's module SampleData; the registered sources."""
    sources: list[dict[str, object]] = []

    class Logic:
        @staticmethod
        def registerCustomSampleDataSource(**source: object) -> None:  # noqa: N802 - Slicer's name
            assert set(source) <= ARGUMENTS
            sources.append(source)

    stand_in = ModuleType("SampleData")
    stand_in.SampleDataLogic = Logic
    stand_in.__spec__ = importlib.util.spec_from_loader("SampleData", loader=None)
    monkeypatch.setitem(sys.modules, "SampleData", stand_in)
    return sources


def test_sample_data_offers_a_file_with_its_hash(module, sample_data, tmp_path: Path):
    module.registerSampleData()
    (source,) = sample_data
    # As Slicer does: urlretrieve also opens files.
    copy = tmp_path / source["fileNames"]
    urllib.request.urlretrieve(source["uris"], copy)
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    assert source["checksums"] == f"SHA256:{digest}"
    assert copy.stat().st_size < MAX_BYTES
    assert Path(source["thumbnailFileName"]).is_file()
    assert source["sampleName"] == "SpineMambaPhantomCT"


def test_without_the_module_sample_data_nothing_happens(module, monkeypatch):
    monkeypatch.delitem(sys.modules, "SampleData", raising=False)
    module.registerSampleData()


def test_the_sample_image_is_the_phantom_of_its_recipe():
    stored, made = read_volume(FILE), sample_image()
    assert stored.array.shape == made.array.shape
    # Libraries may round otherwise in a few voxels.
    differences = np.abs(stored.array.astype(int) - np.rint(made.array).astype(int))
    assert np.mean(differences > 1) < 0.001
    assert stored.geometry.spacing_mm == pytest.approx((2.0, 2.0, 2.0))


@pytest.fixture
def context_menu(module, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Slicer's handler of the module Data, with the plugin registered as Slicer does."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    handler = SimpleNamespace(
        plugins=[], item=0, subjectHierarchyNode=lambda: hierarchy, opened=[], segmented=[]
    )
    handler.currentItem = lambda: handler.item
    handler.registerPlugin = handler.plugins.append
    # In Slicer, the handler makes the items.
    handler.itemOf = lambda node: hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    put_in_slicer(handler, monkeypatch)
    widget = SimpleNamespace(segmentVolume=handler.segmented.append)
    monkeypatch.setattr(slicer.util, "selectModule", handler.opened.append)
    monkeypatch.setattr(slicer.util, "getModuleWidget", lambda name: widget)
    monkeypatch.setattr(qt, "QAction", lambda text, owner: _Action(text))
    module.registerContextMenu()
    return handler


def put_in_slicer(handler: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put stand-ins of Slicer's classes for scripted plugins in place."""

    class Abstract:
        def __init__(self, plugin: _Adaptor):
            handler.registerPlugin(plugin)

    def scripted(parent: None) -> _Adaptor:
        handler.adaptor = _Adaptor(handler)
        return handler.adaptor

    plugins = ModuleType("SubjectHierarchyPlugins")
    plugins.AbstractScriptedSubjectHierarchyPlugin = Abstract
    monkeypatch.setitem(sys.modules, "SubjectHierarchyPlugins", plugins)
    monkeypatch.setattr(slicer, "qSlicerSubjectHierarchyScriptedPlugin", scripted, raising=False)
    singleton = SimpleNamespace(instance=lambda: handler)
    name = "qSlicerSubjectHierarchyPluginHandler"
    monkeypatch.setattr(slicer, name, singleton, raising=False)


class _Adaptor:
    """Slicer's side of a plugin."""

    def __init__(self, handler: SimpleNamespace):
        self.name, self._handler = "UnnamedScriptedPlugin", handler

    def setPythonSource(self, path: str) -> bool:  # noqa: N802 - Slicer's name
        spec = importlib.util.spec_from_file_location(PLUGIN, path)
        source = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(source)
        self._handler.python = getattr(source, Path(path).stem)(self)
        return True


class _Action(SimpleNamespace):
    """A QAction that Slicer has hidden."""

    def __init__(self, text: str):
        super().__init__(text=text, visible=False, objectName="", slots={})

    def connect(self, signal: str, slot: object) -> None:
        self.slots[signal] = slot


def add(kind: str) -> slicer.vtkMRMLNode:
    return slicer.mrmlScene.AddNewNodeByClass(kind, kind)


@pytest.mark.parametrize(
    ("kind", "offered"),
    [
        ("vtkMRMLScalarVolumeNode", True),
        ("vtkMRMLLabelMapVolumeNode", False),
        ("vtkMRMLVectorVolumeNode", False),
        ("vtkMRMLSegmentationNode", False),
        ("vtkMRMLMarkupsFiducialNode", False),
    ],
)
def test_segment_spine_is_offered_for_volumes_only(context_menu, panel, kind: str, offered: bool):
    plugin = context_menu.python
    assert [a.text for a in plugin.itemContextMenuActions()] == ["Segment Spine"]
    node = add(kind)
    plugin.showContextMenuActionsForItem(context_menu.itemOf(node))
    assert plugin.action.visible is offered
    context_menu.item = context_menu.itemOf(node)
    plugin.action.slots["triggered()"]()
    assert context_menu.segmented == ([node] if offered else [])
    assert context_menu.opened == (["SpineMambaSegment"] if offered else [])


def test_segment_spine_does_nothing_without_an_item(context_menu, panel):
    context_menu.python.showContextMenuActionsForItem(0)
    assert not context_menu.python.action.visible
    context_menu.python.segment()
    assert context_menu.segmented == []


def test_the_plugin_owns_no_items_of_the_data_module(context_menu, panel, volume):
    item = context_menu.itemOf(volume)
    plugin = context_menu.python
    assert context_menu.plugins == [context_menu.adaptor]
    assert context_menu.adaptor.name == "SpineMambaSegment"
    assert plugin.canOwnSubjectHierarchyItem(item) == 0.0
    assert plugin.canAddNodeToSubjectHierarchy(volume, item) == 0.0
    assert plugin.filePath.endswith(f"{PLUGIN}.py")


def test_segment_volume_chooses_the_volume_and_starts(panel, volume, fake_worker, pump):
    other = add_volume(np.zeros((8, 8, 8), np.int16), np.eye(4))
    panel.ui.inputSelector.setCurrentNode(other)
    panel.ui.roiSelector.setCurrentNode(add("vtkMRMLMarkupsROINode"))
    panel.ui.outputSelector.setCurrentNode(add("vtkMRMLSegmentationNode"))
    panel.widget.segmentVolume(volume)
    assert panel.runs.isRunning()
    assert panel.ui.inputSelector.currentNode() is volume
    assert panel.ui.roiSelector.currentNode() is None
    pump(lambda: not panel.runs.isRunning())
    # Not into the segmentation of the other volume.
    made = panel.ui.outputSelector.currentNode()
    assert made.GetName() == "Doe John spine"
    panel.widget.segmentVolume(volume)
    pump(lambda: not panel.runs.isRunning())
    assert panel.ui.outputSelector.currentNode() is made


@pytest.mark.parametrize("answer", [True, False])
def test_a_busy_panel_asks_before_it_stops_a_run(watched, monkeypatch, answer: bool):
    watched.start("segment")
    first = watched.panel.runs.run
    asked: list[str] = []

    def ask(text: str, *a: object, **k: object) -> bool:
        asked.append(text)
        return answer

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", ask)
    other = add_volume(np.arange(512, dtype=np.int16).reshape(8, 8, 8), np.eye(4))
    watched.panel.widget.segmentVolume(other)
    assert "in progress" in asked[0]
    assert first.isRunning() is not answer
    assert (watched.panel.runs.run is first) is not answer
    assert (watched.ui.inputSelector.currentNode() is other) is answer
    watched.panel.runs.stopNow()


def test_a_volume_that_cannot_be_segmented_is_refused_in_words(panel, monkeypatch):
    shown: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, *a, **k: shown.append(text))
    panel.widget.segmentVolume(add("vtkMRMLScalarVolumeNode"))
    assert not panel.runs.isRunning()
    assert len(shown) == 1
    assert shown[0]


def test_show_3d_removes_and_adds_the_surfaces(panel, volume, fake_worker, pump):
    button = panel.ui.show3DButton
    assert not button.enabled
    run(panel, volume, pump)
    node = panel.ui.outputSelector.currentNode()
    assert button.enabled
    assert button.checked
    for present in (False, True):
        button.click()
        assert node.GetSegmentation().ContainsRepresentation("Closed surface") is present
    panel.ui.outputSelector.setCurrentNode(None)
    assert not button.enabled
