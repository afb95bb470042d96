"""Pictures of the panel during a run, and of panel and views after it; the pages show these.

They are written into the folder that SPINEMAMBA_PICTURES names, else into a temporary one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
from scene_helpers import add_volume
from screen_helpers import add_scan, in_grey

from spinemamba.imaging.read import read_volume
from spinemamba.phantom import PhantomOptions, make_phantom


def test_segments_are_visible_in_slices_and_in_3d(screen, fake_worker, pump, monkeypatch):
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
def test_a_real_ct_is_segmented_by_the_button(screen, real_worker, shared_data: Path, pump):
    scan = add_scan(read_volume(shared_data / "lidc" / "lidc0001_ct.nii.gz"))
    screen.panel.ui.qualitySelector.setCurrentIndex(1)  # fast
    longest_s = screen.run(scan, "lidc", pump, 1800.0)
    node = screen.panel.ui.outputSelector.currentNode()
    assert node.GetSegmentation().GetNumberOfSegments() >= 5
    seen = screen.visible(scan, "lidc")
    assert all(share > 0.005 for share in seen.values()), seen
    assert list(real_worker.iterdir()) == []
    assert longest_s["run"] <= 0.1
    assert longest_s["import"] <= 1.5


@pytest.mark.slow
def test_a_phantom_gives_the_pictures_of_the_pages(screen, real_worker, pump):
    options = PhantomOptions(first="T11", last="Sacrum", spacing_mm=(1.5, 1.0, 1.0), tight=True)
    scan = add_scan(make_phantom(3, options).image)
    screen.run(scan, "slicer", pump, 1800.0)
    node = screen.panel.ui.outputSelector.currentNode()
    assert node.GetSegmentation().GetNumberOfSegments() >= 7
    seen = screen.visible(scan, "slicer")
    assert all(share > 0.005 for share in seen.values()), seen
