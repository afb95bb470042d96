"""One case from the DICOM files to the closed scene, in the main window, with nothing left behind.

The volume is read by Slicer's own reader, clicks go through the markups of a slice view, keys
through Qt, and runs through processes. Pictures of each step go where SPINEMAMBA_PICTURES says.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import qt
import slicer
import slicer.util
import vtk
from case_user import NAME, User, body_ras
from check_helpers import add_segments
from faulty_spine import FOUND, HOLDS, TRUTH
from run_helpers import is_there, put_python_slicer
from scene_helpers import add_volume
from screen_helpers import in_grey
from synthetic_dicom import write_series

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.phantom import PhantomOptions, make_phantom

HERE = Path(__file__).parent
LONGEST_S = 120.0
RADIUS_MM = 8.0
CTRL, WINDOW = qt.Qt.ControlModifier, qt.Qt.WindowShortcut
KEPT = ("Interaction", "Selection")
"""Singletons of the application that outlive a scene."""

EVENTS = range(1, 30000)
"""Numbers of the events of VTK and MRML."""


class Database:
    """What is used of Slicer's DICOM database: the path of each instance."""

    def __init__(self, folder: Path):
        import pydicom

        self.files = {}
        for path in folder.iterdir():
            header = pydicom.dcmread(path, stop_before_pixels=True)
            self.files[str(header.SOPInstanceUID)] = str(path)

    def fileForInstance(self, uid: str) -> str:  # noqa: N802 - Slicer's name
        return self.files.get(uid, "")

    def load(self) -> slicer.vtkMRMLScalarVolumeNode:
        """Load the series as the DICOM module does, with the reader of volumes."""
        uids = sorted(self.files, key=lambda uid: int(uid.rpartition(".")[2]))
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "3: CT")
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetSingleFile(0)
        storage.SetFileName(self.files[uids[0]])
        storage.ResetFileNameList()
        for uid in uids:
            storage.AddFileName(self.files[uid])
        assert storage.ReadData(node)
        node.SetAttribute("DICOM.instanceUIDs", " ".join(uids))
        return in_grey(node, 1100, 300)


@pytest.fixture(scope="module")
def truth() -> Volume:
    """The labels of the phantom."""
    return _phantom().labels


def _phantom():
    options = PhantomOptions(first="T10", last="Sacrum", spacing_mm=(2.0, 1.6, 1.6), tight=True)
    return make_phantom(7, options)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A DICOM series of the phantom in Slicer's database."""
    pytest.importorskip("highdicom")
    image = _phantom().image
    z_mm, y_mm, x_mm = image.spacing_mm
    x, y, z = image.geometry.origin_lps_mm

    def place(k: int, data) -> None:
        data.ImagePositionPatient = [f"{value:.6f}" for value in (x, y, z + k * z_mm)]
        data.PixelSpacing, data.SliceThickness = [y_mm, x_mm], z_mm

    write_series(tmp_path / "series", (image.array + 1024).astype(np.uint16), place)
    made = Database(tmp_path / "series")
    monkeypatch.setattr(slicer, "dicomDatabase", made, raising=False)
    return made


@pytest.fixture
def processes(truth: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the networks and a real export, with a folder for temporary files."""
    if sys.platform == "win32":
        pytest.skip("the stand-in is a shell script")
    write_image(truth, tmp_path / "truth.nrrd")
    monkeypatch.setenv("TRUTH", str(tmp_path / "truth.nrrd"))
    python = f'exec "{sys.executable}"'
    command = (
        f'case "$3" in export) {python} "$@";; probe) {python} "{HERE / "fake_worker.py"}" "$@";; '
        f'*) {python} "{HERE / "fake_box.py"}" "$@";; esac'
    )
    put_python_slicer(monkeypatch, tmp_path / "bin", command)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(slicer.app, "temporaryPath", str(folder))


@pytest.fixture
def user(processes, main_window, screen, pump) -> Iterator[User]:
    """A user in front of the module; the devices are known."""
    user = User(screen, pump)
    pump(lambda: isinstance(user.panel.setupSection.facts, dict), LONGEST_S)
    yield user
    slicer.util.selectModule("Data")


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is chosen in file dialogs."""
    folder = tmp_path / "out"
    folder.mkdir()
    dialog = qt.QFileDialog
    monkeypatch.setattr(dialog, "getExistingDirectory", lambda *a: str(folder))
    monkeypatch.setattr(dialog, "getSaveFileName", lambda *a: str(folder / "spine.dcm"))
    return folder


def test_a_case_from_dicom_to_the_closed_scene(database, user, answer, out, truth):
    asked, pump = answer(True), user.pump
    open_the_editor_once(user)
    slicer.util.selectModule("Data")
    before = left_behind(user)
    volume = database.load()
    load_and_segment(user, volume, pump)
    correct(user, volume, truth.array, pump)
    paint_and_undo(user, volume, truth.array)
    approve(user)
    export(user, out, pump)
    leave_and_come_back(user)
    gone = [weak(node) for node in (volume, user.ui.outputSelector.currentNode())]
    del volume
    close(user)
    slicer.util.selectModule("Data")
    assert left_behind(user) == before
    gc.collect()  # callbacks of Python refer to each other
    assert [each.Get() for each in gone] == [None, None]
    assert asked == []


def open_the_editor_once(user: User) -> None:
    """Press *Paint* for another spine: Slicer's editor and its node then exist, and stay."""
    labels = np.full((9, 9, 9), BY_NAME["L1"].value, np.uint8)
    volume = add_volume(labels.astype(np.int16), np.eye(4))
    user.ui.inputSelector.setCurrentNode(volume)
    user.ui.outputSelector.setCurrentNode(add_segments(volume, labels, "Other"))
    user.row("L1")
    user.press("paintButton")
    user.press("paintButton")
    slicer.mrmlScene.Clear(0)


def load_and_segment(user: User, volume, pump) -> None:
    """Open the module, which suggests the only volume, and press *Segment Spine*."""
    user.look_at(volume)
    slicer.util.selectModule(NAME)
    assert user.ui.inputSelector.currentNode() is volume
    user.photograph("panel-1-loaded")
    user.press("segmentButton")
    pump(lambda: not user.panel.runs.isRunning(), LONGEST_S)
    assert user.review.session.spine.chain == FOUND, user.panel.runs.log()
    user.row("L1")
    user.photograph("review-faults")


def correct(user: User, volume, truth: np.ndarray, pump) -> None:
    """Use the other naming, split L2 from L3, and add T12."""
    user.press("secondNamingButton")
    assert user.review.session.spine.chain == HOLDS
    user.row("L2")
    user.photograph("panel-3-renamed")
    user.choose("splitSeeds")
    for level in ("L2", "L3"):
        user.click(body_ras(volume, truth, level))
    assert "L3" in user.review.session.spine.chain
    user.photograph("review-split")
    user.choose("grow")
    user.click(body_ras(volume, truth, "T12"))
    pump(lambda: not user.panel.runs.isRunning(), LONGEST_S)
    assert user.review.session.spine.chain == TRUTH, user.panel.runs.log()
    user.photograph("panel-5-added")


def paint_and_undo(user: User, volume, truth: np.ndarray) -> None:
    """Paint a ball on the front of L4, and take the stroke back."""
    user.row("L4")
    before = voxels(user, "L4")
    user.press("paintButton")
    user.key_in_a_view(qt.Qt.Key_1)
    assert user.editor.activeEffect().name == "Paint"
    front = body_ras(volume, truth, "L4") + np.array([0.0, 20.0, 0.0])
    assert user.editor.stroke(tuple(front), RADIUS_MM)
    slicer.app.processEvents()
    assert voxels(user, "L4") > before
    user.photograph("panel-6-painted")
    user.key_in_a_view(qt.Qt.Key_Z, CTRL)
    assert voxels(user, "L4") == before
    user.press("paintButton")
    assert not user.editor.isVisible()


def approve(user: User) -> None:
    """Approve T11, which is flagged, by its key, and the rest by the button."""
    user.row("T11")
    user.key(qt.Qt.Key_A)
    user.press("approveRestButton")
    assert user.ui.reviewProgressBar.text() == "9 of 9 reviewed"
    user.photograph("review-approved")


def export(user: User, out: Path, pump) -> None:
    """Write a surface of each vertebra and a DICOM SEG; no question is asked."""
    import pydicom

    user.fold("review")
    user.fold("export", folded=False)
    user.press("exportButton")
    pump(lambda: not user.panel.exportSection.isExporting(), LONGEST_S)
    assert len(list(out.glob("*.stl"))) == len(TRUTH)
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    assert all(entry["reviewed"] for entry in manifest["vertebrae"])
    user.press("dicomButton")
    pump(lambda: not user.panel.exportSection.isExporting(), LONGEST_S)
    assert user.ui.statusLabel.text == "Saved spine.dcm."
    written = pydicom.dcmread(out / "spine.dcm")
    assert [item.SegmentLabel for item in written.SegmentSequence] == list(TRUTH)
    user.photograph("panel-8-exported")


def leave_and_come_back(user: User) -> None:
    """Go to another module and back: the review is as it was."""
    node = user.ui.outputSelector.currentNode()
    slicer.util.selectModule("Data")
    display = node.GetDisplayNode()
    ids = node.GetSegmentation().GetSegmentIDs()
    assert {display.GetSegmentOpacity3D(segment_id) for segment_id in ids} == {1.0}
    slicer.util.selectModule(NAME)
    assert user.ui.outputSelector.currentNode() is node
    assert user.ui.reviewProgressBar.text() == "9 of 9 reviewed"
    user.fold("export")
    user.fold("review", folded=False)
    user.photograph("panel-9-back")


def close(user: User) -> None:
    """Close the scene: the panel is empty."""
    user.volume = None
    slicer.mrmlScene.Clear(0)
    slicer.app.processEvents()
    assert user.ui.inputSelector.currentNode() is None
    assert user.review.table.rows == []
    assert not user.ui.exportButton.enabled


def voxels(user: User, level: str) -> int:
    """Return the size of a vertebra."""
    states = user.review.session.spine.states
    (segment_id,) = (i for i, state in states.items() if state.level == level)
    node = user.ui.outputSelector.currentNode()
    return int(slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id).sum())


def weak(node) -> vtk.vtkWeakReference:
    """Return a reference that does not keep a node."""
    reference = vtk.vtkWeakReference()
    reference.Set(node)
    return reference


def children() -> list[int]:
    """Return the processes that this one started and that still run; empty without /proc."""
    lists = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    return sorted(pid for pid in map(int, " ".join(lists).split()) if is_there(pid))


def left_behind(user: User) -> dict[str, object]:
    """Return what the module must give back: nodes, observers, shortcuts, processes, files."""
    qt.QCoreApplication.sendPostedEvents(None, qt.QEvent.DeferredDelete)
    scene = slicer.mrmlScene
    nodes = [scene.GetNthNode(k) for k in range(scene.GetNumberOfNodes())]
    kept = [scene.GetNodeByID(f"vtkMRML{name}NodeSingleton") for name in KEPT]
    keys = user.window.findChildren(qt.QShortcut)
    mode = kept[0]
    in_window = [k.key.toString() for k in keys if k.enabled and k.context == WINDOW]
    return {
        "nodes": sorted(node.GetID() for node in nodes),
        "observers of the scene": str(scene).count("vtkObserver ("),
        "observed events": [sorted(e for e in EVENTS if node.HasObserver(e)) for node in kept],
        "shortcuts": len(keys),
        "keys in the window": sorted(in_window),
        "mouse": (mode.GetCurrentInteractionMode(), mode.GetPlaceModePersistence()),
        "processes": children(),
        "files": sorted(path.name for path in Path(slicer.app.temporaryPath).iterdir()),
    }
