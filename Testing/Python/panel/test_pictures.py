"""Pictures of panel and views after a run; README's are these.

They are written into the folder that SPINEMAMBA_PICTURES names, else into a temporary one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import qt
import slicer
from scene_helpers import add_volume

from spinemamba.image_io import read_volume

TRY_VTK = """
import vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.AddRenderer(vtk.vtkRenderer())
window.Render()
assert window.SupportsOpenGL()
"""
SIZE = (420, 420)
STEP = 5
VIEWS = (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal"))


@pytest.fixture(scope="module")
def drawing() -> None:
    """Skip where VTK cannot draw; asked of another process, which it may end."""
    done = subprocess.run(
        [sys.executable, "-c", TRY_VTK], capture_output=True, check=False, timeout=120
    )
    if done.returncode:
        pytest.skip("VTK cannot draw without a screen here: libEGL, libGL and Mesa are missing")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    given = os.environ.get("SPINEMAMBA_PICTURES")
    return Path(given) if given else tmp_path


@pytest.fixture
def views(panel, drawing):
    """The four views of Slicer's usual layout, open before the run as they are there."""
    from views import SliceView, View3D

    slices = [SliceView(name, orientation, SIZE) for name, orientation in VIEWS]
    yield [*slices, View3D(SIZE)]
    slicer.app.applicationLogic().GetSliceLogics().RemoveAllItems()


def add_scan(path: Path):
    """Add a scan to the scene as Slicer shows CT of bone."""
    volume = read_volume(path)
    directions = np.asarray(volume.geometry.direction_lps).reshape(3, 3)
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([-1, -1, 1]) @ directions * np.array(volume.spacing_mm)[::-1]
    matrix[:3, 3] = np.array(volume.geometry.origin_lps_mm) * [-1, -1, 1]
    node = add_volume(volume.array, matrix, "CT")
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(1100, 300)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    return node


def photograph(panel, views, volume, folder: Path, name: str) -> dict[str, np.ndarray]:
    """Write the panel, each view, and all together as one picture; return the views' pixels."""
    slices, view3d = views[:3], views[3]
    middle = [view.node.GetSliceToRAS().GetElement(a, 3) for view in slices[:1] for a in range(3)]
    for view in slices:
        view.show(volume)
        view.node.JumpSliceByCentering(*middle)
    pixels = {}
    for label, view in zip(("axial", "sagittal", "coronal", "3d"), [*slices, view3d], strict=True):
        path = folder / f"{name}-{label}.png"
        view.write(path)
        pixels[label] = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    together(panel, folder, name)
    return pixels


def together(panel, folder: Path, name: str) -> None:
    panel.frame.resize(430, 2 * SIZE[1])
    slicer.app.processEvents()
    picture = panel.frame.grab()
    picture.save(str(folder / f"{name}-panel.png"))
    canvas = qt.QPixmap(picture.width() + 2 * SIZE[0], 2 * SIZE[1])
    painter = qt.QPainter(canvas)
    painter.drawPixmap(0, 0, picture)
    for k, label in enumerate(("axial", "3d", "coronal", "sagittal")):
        place = (picture.width() + SIZE[0] * (k % 2), SIZE[1] * (k // 2))
        painter.drawPixmap(*place, qt.QPixmap(str(folder / f"{name}-{label}.png")))
    painter.end()
    canvas.save(str(folder / f"{name}.png"))


def visible(panel, views, volume, folder: Path, name: str) -> dict[str, float]:
    """Return the share of each view's pixels that show segments; writes the pictures."""
    display = panel.ui.outputSelector.currentNode().GetDisplayNode()
    display.SetVisibility(False)
    without = photograph(panel, views, volume, folder, f"{name}-without")
    display.SetVisibility(True)
    shown = photograph(panel, views, volume, folder, name)
    return {
        label: float((np.ptp([pixels.astype(int), without[label]], axis=0) > STEP).any(-1).mean())
        for label, pixels in shown.items()
    }


def test_segments_are_seen_in_slices_and_in_3d(panel, views, volume, fake_worker, pump, folder):
    grey = np.random.default_rng(0).integers(0, 300, (60, 60, 60)).astype(np.int16)
    scan = add_volume(grey, np.diag([1.0, 1.0, 1.0, 1.0]), "Boxes")
    scan.CreateDefaultDisplayNodes()
    panel.ui.inputSelector.setCurrentNode(scan)
    panel.ui.segmentButton.click()
    pump(lambda: not panel.logic.isRunning())
    seen = visible(panel, views, scan, folder, "boxes")
    # The boxes take a third of the width in each view, and a third or half of the height.
    assert seen["axial"] == pytest.approx(1 / 9, abs=0.02)
    assert seen["sagittal"] == pytest.approx(1 / 6, abs=0.03)
    assert seen["coronal"] == pytest.approx(1 / 6, abs=0.03)
    assert seen["3d"] > 0.1


@pytest.mark.slow
def test_a_real_ct_gets_its_vertebrae_at_the_press_of_the_button(
    panel, views, real_worker, shared_data: Path, pump, folder
):
    scan = add_scan(shared_data / "lidc" / "lidc0001_ct.nii.gz")
    panel.enter()
    panel.ui.inputSelector.setCurrentNode(scan)
    panel.ui.segmentButton.click()
    pump(lambda: "left" in panel.ui.statusLabel.text, 600.0)
    slicer.app.processEvents()
    panel.frame.grab().save(str(folder / "running-panel.png"))
    pump(lambda: not panel.logic.isRunning(), 1800.0)
    assert "Finished" in panel.ui.statusLabel.text
    node = panel.ui.outputSelector.currentNode()
    assert node.GetSegmentation().GetNumberOfSegments() >= 5
    seen = visible(panel, views, scan, folder, "lidc")
    assert all(share > 0.005 for share in seen.values()), seen
    assert list(real_worker.iterdir()) == []
