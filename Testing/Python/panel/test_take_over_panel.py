"""A spine of another source goes through review to approved, exported surfaces in few gestures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import qt
import slicer
import slicer.util
from block_spine import NAMES
from foreign_spines import SCALE_MM, SOURCES, TO_RAS, add_foreign, foreign_copy, make_image
from run_helpers import put_python_slicer
from scene_helpers import add_volume, write_series

from spinemamba.anatomy.labels import BY_NAME

MOST_GESTURES = 12


def reviewed(node) -> list[str]:
    """Return the IDs of the segments under review."""
    from SpineMambaSegmentLib.Scene.Ownership import vertebraIds

    return vertebraIds(node)


class User:
    """Does what a user does, and counts: a click, a key, a choice in a list, a file dialog."""

    def __init__(self, panel, monkeypatch: pytest.MonkeyPatch, folder: Path):
        self.panel, self.gestures = panel, 0
        self._folder = folder
        monkeypatch.setattr(qt.QFileDialog, "getExistingDirectory", self._choose_folder)
        monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", self._choose_file)
        monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", self._confirm)

    def choose(self, selector, node) -> None:
        self.gestures += 2  # open the list, click the entry
        selector.setCurrentNode(node)

    def click(self, button) -> None:
        assert button.isVisible()
        assert button.enabled
        self.gestures += 1
        button.click()

    def select(self, segment_id: str) -> None:
        self.gestures += 1
        self.panel.reviewSection.table.goTo(segment_id)

    def _choose_folder(self, *arguments) -> str:
        self.gestures += 2  # choose, and press OK
        return str(self._folder)

    def _choose_file(self, *arguments) -> str:
        self.gestures += 1  # press Save; a name is proposed
        return str(self._folder / "spine.dcm")

    def _confirm(self, text: str) -> bool:
        self.gestures += 1
        return True


@pytest.fixture
def user(panel, monkeypatch, tmp_path) -> User:
    panel.enter()
    (tmp_path / "out").mkdir()
    return User(panel, monkeypatch, tmp_path / "out")


@pytest.fixture
def image(module):
    return add_volume(make_image(), TO_RAS, "CT")


def approve_and_export(user: User, pump) -> dict:
    """Approve flagged vertebrae one by one and the rest at once; return the manifest."""
    panel, ui = user.panel, user.panel.ui
    for row in [row for row in panel.reviewSection.table.rows if row.status == 3]:
        user.select(row.segmentId)
        user.click(ui.approveButton)
    user.click(ui.approveRestButton)
    assert ui.reviewProgressBar.text() == "8 of 8 reviewed"
    ui.exportCollapsibleButton.collapsed = False
    user.gestures += 1
    user.click(ui.exportButton)
    pump(lambda: not panel.exportSection.isExporting())
    return json.loads((user._folder / "manifest.json").read_text("utf-8"))


@pytest.mark.parametrize("source", SOURCES)
def test_review_to_export_takes_at_most_twelve_gestures(user, image, pump, source: str):
    node = add_foreign(image, SOURCES[source], separate=source == "DICOM SEG")
    ui, offer = user.panel.ui, user.panel.reviewSection.takeOver
    user.choose(ui.outputSelector, node)
    assert f"Not from a run of this program: {SOURCES[source]('T11')[1]} to " in offer.label.text
    assert not ui.reviewFrame.enabled
    user.click(offer.button)
    assert not offer.widget.isVisible()
    assert ui.statusLabel.text.endswith("(8).")
    manifest = approve_and_export(user, pump)
    assert [entry["level"] for entry in manifest["vertebrae"]] == list(NAMES)
    assert all(entry["reviewed"] for entry in manifest["vertebrae"])
    assert user.gestures <= MOST_GESTURES


class Database:
    """What is used of Slicer's DICOM database."""

    def __init__(self, folder: Path):
        self._folder = folder

    def fileForInstance(self, uid: str) -> str:  # noqa: N802 - Slicer's name
        return str(self._folder / "0.dcm")


@pytest.fixture
def series(user, image, tmp_path, monkeypatch) -> Path:
    """The DICOM series that the image was loaded from; also lets the real exporter run."""
    pytest.importorskip("highdicom")
    put_python_slicer(monkeypatch, tmp_path / "real", f'exec "{sys.executable}" "$@"')
    uids = write_series(image, tmp_path / "series", SCALE_MM)
    image.SetAttribute("DICOM.instanceUIDs", " ".join(uids))
    monkeypatch.setattr(slicer, "dicomDatabase", Database(tmp_path / "series"), raising=False)
    return tmp_path / "series"


@pytest.mark.parametrize("source", ["TotalSegmentator", "SPINEPS", "DICOM SEG"])
def test_review_to_dicom_seg_takes_at_most_twelve_gestures(user, image, series, pump, source):
    pydicom = pytest.importorskip("pydicom")
    node = add_foreign(image, SOURCES[source], separate=source == "DICOM SEG")
    ui, panel = user.panel.ui, user.panel
    user.choose(ui.outputSelector, node)
    user.click(panel.reviewSection.takeOver.button)
    for row in [row for row in panel.reviewSection.table.rows if row.status == 3]:
        user.select(row.segmentId)
        user.click(ui.approveButton)
    user.click(ui.approveRestButton)
    assert ui.reviewProgressBar.text() == "8 of 8 reviewed"
    ui.exportCollapsibleButton.collapsed = False
    user.gestures += 1
    user.click(ui.dicomButton)
    pump(lambda: not panel.exportSection.isExporting(), seconds=120)
    assert ui.statusLabel.text == "Saved spine.dcm."
    written = pydicom.dcmread(user._folder / "spine.dcm")
    # The liver is no vertebra, and is left out.
    assert [item.SegmentLabel for item in written.SegmentSequence] == list(NAMES)
    kinds = [item.SegmentedPropertyTypeCodeSequence[0] for item in written.SegmentSequence]
    assert [kind.CodeValue for kind in kinds] == [BY_NAME[name].snomed for name in NAMES]
    assert user.gestures <= MOST_GESTURES


def test_a_vertebra_is_taken_out_of_the_review_from_the_menu(user, image):
    node = add_foreign(image, SOURCES["TotalSegmentator"])
    section, offer = user.panel.reviewSection, user.panel.reviewSection.takeOver
    user.choose(user.panel.ui.outputSelector, node)
    user.click(offer.button)
    user.select("vertebrae_L2")
    section.menus.actions["release"].trigger()
    assert "vertebrae_L2" not in reviewed(node)
    assert "vertebrae_L2. Take over" in offer.label.text
    assert user.panel.ui.undoButton.toolTip == "Undo: Take out of the review"
    user.click(user.panel.ui.undoButton)
    assert "vertebrae_L2" in reviewed(node)
    assert not offer.widget.isVisible()


def test_a_second_run_into_a_taken_over_spine_is_refused(user, image):
    panel = user.panel
    node = add_foreign(image, SOURCES["TotalSegmentator"])
    panel.ui.inputSelector.setCurrentNode(image)
    user.choose(panel.ui.outputSelector, node)
    user.click(panel.reviewSection.takeOver.button)
    assert not panel.ui.segmentButton.enabled
    assert "Foreign has vertebrae that were taken over" in panel.ui.segmentButton.toolTip
    assert not panel.ui.undoButton.enabled
    assert panel.ui.undoButton.toolTip == "Nothing to do"


def test_numbers_need_one_look_at_the_table(user, image, pump):
    values = {name: BY_NAME[name].value for name in NAMES}
    node = add_foreign(image, lambda n: (f"s{values[n]}", f"Segment_{values[n]}", ""))
    offer = user.panel.reviewSection.takeOver
    user.choose(user.panel.ui.outputSelector, node)
    assert "No segment here has the name" in offer.label.text
    user.click(offer.button)
    assert reviewed(node) == []
    assert offer.table.isVisible()
    assert list(offer.levels().values()) == [*NAMES]
    user.click(offer.button)
    approve_and_export(user, pump)
    assert user.gestures <= MOST_GESTURES


def test_a_level_is_chosen_in_the_table_where_names_clash(user, image):
    node = add_foreign(image, SOURCES["TotalSegmentator"])
    node.GetSegmentation().GetSegment("vertebrae_L1").SetName("vertebrae_L2")
    offer = user.panel.reviewSection.takeOver
    user.choose(user.panel.ui.outputSelector, node)
    user.click(offer.button)
    assert "Check the levels in the table" in user.panel.ui.statusLabel.text
    first = [offer.table.item(row, 2).text() for row in range(2)]
    assert first == ["vertebrae_L2 is L2, too"] * 2
    user.click(offer.button)
    assert "would all be L2" in user.panel.ui.statusLabel.text
    assert reviewed(node) == []
    box = offer.selectors["vertebrae_L1"]
    box.setCurrentIndex(1 + list(BY_NAME).index("L1"))
    offer.selectors["vertebrae_T11"].setCurrentIndex(0)
    user.click(offer.button)
    assert [row.name for row in user.panel.reviewSection.table.rows][:3] == [
        "vertebrae_T12", "L1", "vertebrae_L2",
    ]  # fmt: skip
    # What was left out is offered again.
    assert "vertebrae_T11. Take over" in offer.label.text


def test_a_scene_opens_with_the_review_as_it_was(user, image, tmp_path):
    node = add_foreign(image, SOURCES["TotalSegmentator"])
    user.choose(user.panel.ui.outputSelector, node)
    user.click(user.panel.reviewSection.takeOver.button)
    user.select(reviewed(node)[2])
    user.click(user.panel.ui.approveButton)
    path = tmp_path / "scene.mrb"
    assert slicer.mrmlScene.WriteToMRB(str(path), None)
    slicer.mrmlScene.Clear(0)
    assert slicer.mrmlScene.ReadFromMRB(str(path), 1)
    again = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    user.panel.ui.outputSelector.setCurrentNode(again)
    assert user.panel.ui.reviewProgressBar.text() == "1 of 8 reviewed"
    assert not user.panel.reviewSection.takeOver.widget.isVisible()


def test_a_segmentation_of_a_run_is_not_offered(panel, volume, fake_worker, pump):
    panel.enter()
    panel.ui.inputSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    assert panel.ui.reviewFrame.enabled
    assert not panel.reviewSection.takeOver.widget.isVisible()


def test_one_run_of_the_networks_adds_level_evidence(user, image, pump, fake_worker):
    panel = user.panel
    panel.ui.inputSelector.setCurrentNode(image)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.runs.isRunning())
    node = foreign_copy(panel.ui.outputSelector.currentNode())
    user.choose(panel.ui.outputSelector, node)
    user.click(panel.reviewSection.takeOver.button)
    before = list(node.GetSegmentation().GetSegmentIDs())
    panel.reviewSection.menus.actions["evidence"].trigger()
    pump(lambda: not panel.runs.isRunning())
    assert "level probabilities" in panel.ui.statusLabel.text
    assert list(node.GetSegmentation().GetSegmentIDs()) == before
    assert panel.ui.undoButton.toolTip == "Undo: Level evidence from the networks"
    # The button that starts a run refuses to write into this spine.
    assert not panel.ui.segmentButton.enabled
    assert "taken over" in panel.ui.segmentButton.toolTip
