"""Screenshots of the panel and its views in one picture."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import numpy as np
import qt
import SimpleITK as sitk
import slicer
from run_helpers import Ticks
from scene_helpers import add_volume

from spinemamba.imaging.volume import Volume

SIZE = (420, 420)
STEP = 5
ROUNDS = 10
"""Rounds of events after which layouts within layouts are done."""

VIEWS = (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal"))


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


def save_small(picture: qt.QPixmap, path: Path) -> None:
    """Write a picture as PNG; with 256 colours, a fifth of the size, where Pillow is installed."""
    picture.save(str(path))
    if importlib.util.find_spec("PIL"):
        from PIL import Image

        with Image.open(path) as whole:
            colours = whole.convert("RGB").quantize(method=Image.Quantize.FASTOCTREE)
        colours.save(path, optimize=True)


class Screen:
    """What a user of Slicer has before their eyes."""

    def __init__(self, panel, views, folder: Path, scratch: Path):
        self.panel, self.views, self.folder, self.scratch = panel, views, folder, scratch

    def run(self, volume, name: str, pump, seconds: float) -> dict[str, float]:
        """Press Segment Spine, wait for the end, and return how long Slicer was away at most."""
        self.panel.enter()
        pump(lambda: isinstance(self.panel.setupSection.facts, dict), 60.0)
        self.panel.ui.inputSelector.setCurrentNode(volume)
        ticks = Ticks(self.panel.runs)
        self.panel.ui.segmentButton.click()
        pump(lambda: "Starting" not in self.panel.ui.statusLabel.text, seconds)
        pump(lambda: self.panel.ui.progressBar.value > 300, seconds)
        save_small(self.panel.frame.grab(), self.folder / f"{name}-running.png")
        ticks.skip()
        pump(lambda: not self.panel.runs.isRunning(), seconds)
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
        for _ in range(ROUNDS):
            slicer.app.processEvents()
        picture = self.panel.frame.grab()
        canvas = qt.QPixmap(picture.width() + 2 * SIZE[0], 2 * SIZE[1])
        painter = qt.QPainter(canvas)
        painter.drawPixmap(0, 0, picture)
        for k, label in enumerate(("axial", "3d", "coronal", "sagittal")):
            place = (picture.width() + SIZE[0] * (k % 2), SIZE[1] * (k // 2))
            painter.drawPixmap(*place, qt.QPixmap(str(self.scratch / f"{name}-{label}.png")))
        painter.end()
        save_small(canvas, self.folder / f"{name}.png")
