"""Pictures of the panel during a run, and of panel and views after it; README's are these.

They are written into the folder that SPINEMAMBA_PICTURES names, else into a temporary one.
"""

from __future__ import annotations

import logging
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
from run_helpers import Ticks
from scene_helpers import add_volume

from spinemamba.image_io import read_volume
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.volume import Volume

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
def screen(panel, drawing, folder: Path, tmp_path: Path):
    """The panel and the four views of Slicer's usual layout, open before the run."""
    from views import SliceView, View3D

    # Emptying the scene after an earlier test took the colours with it.
    slicer.app.applicationLogic().GetColorLogic().AddDefaultColorNodes()
    slices = [SliceView(name, orientation, SIZE) for name, orientation in VIEWS]
    yield Screen(panel, [*slices, View3D(SIZE)], folder, tmp_path)
    slicer.app.applicationLogic().GetSliceLogics().RemoveAllItems()


def add_scan(volume: Volume):
    """Add a CT to the scene as Slicer shows bone."""
    directions = np.asarray(volume.geometry.direction_lps).reshape(3, 3)
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag([-1, -1, 1]) @ directions * np.array(volume.spacing_mm)[::-1]
    matrix[:3, 3] = np.array(volume.geometry.origin_lps_mm) * [-1, -1, 1]
    return in_grey(add_volume(volume.array, matrix, "CT"), 1100, 300)


def in_grey(node, window: float, level: float):
    """Show a volume as Slicer does."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(window, level)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    return node


class Screen:
    """What a user of Slicer has before their eyes."""

    def __init__(self, panel, views, folder: Path, scratch: Path):
        self.panel, self.views, self.folder, self.scratch = panel, views, folder, scratch

    def run(self, volume, name: str, pump, seconds: float) -> dict[str, float]:
        """Press Segment Spine, wait for the end, and return how long Slicer was away at most."""
        self.panel.enter()
        pump(lambda: isinstance(self.panel.setupSection.facts, dict), 60.0)
        self.panel.ui.inputSelector.setCurrentNode(volume)
        ticks = Ticks(self.panel.logic)
        self.panel.ui.segmentButton.click()
        pump(lambda: "Starting" not in self.panel.ui.statusLabel.text, seconds)
        pump(lambda: self.panel.ui.progressBar.value > 300, seconds)
        self.panel.frame.grab().save(str(self.folder / f"{name}-running.png"))
        ticks.skip()
        pump(lambda: not self.panel.logic.isRunning(), seconds)
        ticks.stop()
        logging.info("longest absence: %s", ticks.longest_s)
        assert "Finished" in self.panel.ui.statusLabel.text
        return ticks.longest_s

    def visible(self, volume, name: str) -> dict[str, float]:
        """Return the share of each view's pixels that show segments; writes the pictures."""
        display = self.panel.ui.outputSelector.currentNode().GetDisplayNode()
        display.SetVisibility(False)
        without = self.photograph(volume, f"{name}-without")
        # The image itself is there too.
        assert all(without[label].std() > 20 for label in ("axial", "sagittal", "coronal"))
        display.SetVisibility(True)
        shown = self.photograph(volume, name)
        self.together(name)
        changes = {k: np.ptp([shown[k].astype(int), without[k]], axis=0) for k in shown}
        return {k: float((change > STEP).any(-1).mean()) for k, change in changes.items()}

    def photograph(self, volume, name: str) -> dict[str, np.ndarray]:
        """Write a picture of each view; return the views' pixels."""
        slices = self.views[:3]
        middle = [slices[0].node.GetSliceToRAS().GetElement(a, 3) for a in range(3)]
        for view in slices:
            view.show(volume)
            view.node.JumpSliceByCentering(*middle)
        pixels = {}
        for label, view in zip(("axial", "sagittal", "coronal", "3d"), self.views, strict=True):
            path = self.scratch / f"{name}-{label}.png"
            view.write(path)
            pixels[label] = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        return pixels

    def together(self, name: str) -> None:
        """Write the panel beside the views as `photograph` has left them."""
        self.panel.frame.resize(430, 2 * SIZE[1])
        slicer.app.processEvents()
        picture = self.panel.frame.grab()
        canvas = qt.QPixmap(picture.width() + 2 * SIZE[0], 2 * SIZE[1])
        painter = qt.QPainter(canvas)
        painter.drawPixmap(0, 0, picture)
        for k, label in enumerate(("axial", "3d", "coronal", "sagittal")):
            place = (picture.width() + SIZE[0] * (k % 2), SIZE[1] * (k // 2))
            painter.drawPixmap(*place, qt.QPixmap(str(self.scratch / f"{name}-{label}.png")))
        painter.end()
        canvas.save(str(self.folder / f"{name}.png"))


def test_segments_are_seen_in_slices_and_in_3d(screen, fake_worker, pump, monkeypatch):
    monkeypatch.setenv("PAUSE_S", "0.02")
    grey = np.random.default_rng(0).integers(0, 300, (60, 60, 60)).astype(np.int16)
    scan = in_grey(add_volume(grey, np.eye(4), "Boxes"), 300, 150)
    screen.run(scan, "boxes", pump, 30.0)
    seen = screen.visible(scan, "boxes")
    # The boxes take a third of the width in each view, and a third or half of the height.
    assert seen["axial"] == pytest.approx(1 / 9, abs=0.02)
    assert seen["sagittal"] == pytest.approx(1 / 6, abs=0.03)
    assert seen["coronal"] == pytest.approx(1 / 6, abs=0.03)
    assert seen["3d"] > 0.1


@pytest.mark.slow
def test_a_real_ct_gets_its_vertebrae_at_the_press_of_the_button(
    screen, real_worker, shared_data: Path, pump
):
    scan = add_scan(read_volume(shared_data / "lidc" / "lidc0001_ct.nii.gz"))
    longest_s = screen.run(scan, "lidc", pump, 1800.0)
    node = screen.panel.ui.outputSelector.currentNode()
    assert node.GetSegmentation().GetNumberOfSegments() >= 5
    seen = screen.visible(scan, "lidc")
    assert all(share > 0.005 for share in seen.values()), seen
    assert list(real_worker.iterdir()) == []
    assert longest_s["run"] <= 0.1
    assert longest_s["import"] <= 1.5


@pytest.mark.slow
def test_a_made_up_ct_gives_the_pictures_of_the_readme(screen, real_worker, pump):
    options = PhantomOptions(first="T11", last="Sacrum", spacing_mm=(1.5, 1.0, 1.0), tight=True)
    scan = add_scan(make_phantom(3, options).image)
    screen.run(scan, "slicer", pump, 1800.0)
    node = screen.panel.ui.outputSelector.currentNode()
    assert node.GetSegmentation().GetNumberOfSegments() >= 7
    seen = screen.visible(scan, "slicer")
    assert all(share > 0.005 for share in seen.values()), seen
