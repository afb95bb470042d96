"""The viewer OHIF shows the segmentation that was stored in Orthanc, with name and colour."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from dicom_phantom import STUDY, write_phantom
from fake_method import environment
from ohif_site import ohif, ohif_folder
from orthanc_server import orthanc, upload

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.cli.main import main

_CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
_LOAD_MS = 120_000


@pytest.mark.long
def test_ohif_lists_and_colours_a_stored_segmentation(tmp_path, monkeypatch):
    viewer = ohif_folder()
    browsers = pytest.importorskip("playwright.sync_api")
    if not Path(_CHROMIUM).is_file():
        pytest.skip("Chromium is missing")
    for name, value in environment(tmp_path / "method").items():
        monkeypatch.setenv(name, value)
    write_phantom(tmp_path / "images")
    pictures = Path(os.environ.get("SPINEMAMBA_PICTURES", tmp_path))
    with orthanc(tmp_path / "orthanc") as archive:
        upload(archive, tmp_path / "images")
        command = ["watch-dicomweb", f"{archive}/dicom-web", "--study", STUDY, "--store"]
        assert main(command) == 0
        with ohif(viewer, archive) as address, browsers.sync_playwright() as run:
            browser = run.chromium.launch(
                executable_path=_CHROMIUM,
                args=["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader",
                      "--enable-unsafe-swiftshader"],
            )  # fmt: skip
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(f"{address}/segmentation?StudyInstanceUIDs={STUDY}")
            try:
                page.get_by_text("SEG", exact=True).first.wait_for(timeout=_LOAD_MS)
                page.get_by_text("SEG", exact=True).first.dblclick()
                page.get_by_text("L3", exact=True).first.wait_for(timeout=_LOAD_MS)
                page.wait_for_timeout(5000)
            finally:
                picture = pictures / "ohif.png"
                page.screenshot(path=picture)
            browser.close()
    assert errors == []
    assert coloured_pixels(picture, BY_NAME["L3"].color) > 50


def coloured_pixels(picture: Path, rgb: tuple[int, int, int]) -> int:
    """Return how many pixels have about the hue of a colour; overlays are translucent."""
    from matplotlib.colors import rgb_to_hsv
    from matplotlib.image import imread

    pixels = rgb_to_hsv(imread(picture)[..., :3])
    hue = rgb_to_hsv(np.array(rgb) / 255)[0]
    distance = np.abs((pixels[..., 0] - hue + 0.5) % 1 - 0.5)
    return int(((distance < 0.04) & (pixels[..., 1] > 0.25) & (pixels[..., 2] > 0.2)).sum())
