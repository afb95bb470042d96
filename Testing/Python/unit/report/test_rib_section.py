"""The ribs in the case report: words, rib view, and why there is none."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from synthetic_labels import spine
from synthetic_results import result_of

from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.measure.spine import measure
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol.measurements import Measurements
from spinemamba.protocol.result import Result, Witnesses
from spinemamba.protocol.rib_findings import NOT_FOR_MR
from spinemamba.report.case_page import write_page
from spinemamba.report.rib_section import rib_section

SEEN = {"T12": Witnesses(0.95, 0.95, 0.0, 0.8, 0.0), "L1": Witnesses(0.02, 0.02, 0.0, 0.1, 0.0)}
GREEN = (127, 224, 160)


@pytest.fixture(scope="module")
def scan() -> tuple[Volume, Volume]:
    """A CT of the whole width of a body, and its labels."""
    options = PhantomOptions(first="T12", last="L1", noise_hu=10.0, spacing_mm=(3.0, 2.0, 2.0))
    phantom = make_phantom(4, options)
    return phantom.image, phantom.labels


@pytest.fixture(scope="module")
def measured(scan: tuple[Volume, Volume]) -> Measurements:
    return measure(scan[1], scan[0], "ct")


def seen_by(labels: Volume, witnesses: dict[str, Witnesses] = SEEN) -> Result:
    result = result_of(labels)
    instances = tuple(
        replace(item, witnesses=witnesses.get(item.name)) for item in result.instances
    )
    return replace(result, instances=instances)


def pixels(uri: str) -> np.ndarray:
    """Return a picture as uint8 (rows, columns, 3), row 0 on top."""
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.rint(imread(io.BytesIO(data))[..., :3] * 255).astype(int)


def green(uri: str) -> np.ndarray:
    return (np.abs(pixels(uri) - GREEN) < 12).all(axis=-1)


def test_findings_are_listed_and_ribs_are_marked_on_both_sides(scan, measured):
    section = rib_section(*scan, measured, seen_by(scan[1]))
    assert [[cell.text for cell in row] for row in section.findings.rows] == [
        ["T12", "Last rib at this vertebra (T12)."],
        ["L1", "No rib seen."],
    ]
    assert section.summary == "Last rib at T12; this fits the names."
    assert section.notes == ()
    marks = np.argwhere(green(section.picture))
    middle = (marks[:, 1].min() + marks[:, 1].max()) / 2
    # Two discs, at the same height.
    assert np.ptp(marks[:, 0]) < 20
    assert (marks[:, 1] < middle).mean() == pytest.approx(0.5, abs=0.05)


def test_findings_that_contradict_the_names_are_highlighted(scan, measured):
    wrong = {"T12": SEEN["L1"], "L1": SEEN["T12"]}
    section = rib_section(*scan, measured, seen_by(scan[1], wrong))
    assert [row[1].css_class for row in section.findings.rows] == ["contradicts"] * 2
    assert section.summary == "Last rib at L1; this does not fit the names: see T12, L1."


def test_without_a_level_network_the_picture_has_no_marks(scan, measured):
    for result in (None, result_of(scan[1])):
        section = rib_section(*scan, measured, result)
        assert section.findings is None
        assert section.summary == ""
        assert not green(section.picture).any()
        assert pixels(section.picture).shape[0] > 200


def test_mr_has_no_rib_view_and_the_page_says_why(scan, measured, tmp_path: Path):
    section = rib_section(*scan, replace(measured, modality="mr"), None)
    assert section.picture == ""
    assert section.notes == (NOT_FOR_MR,)
    shown = replace(measured, modality="mr")
    write_page(shown, scan, None, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert NOT_FOR_MR in page
    assert "Ribs from the front" not in page


def test_labels_without_image_and_level_network_have_no_section(measured):
    assert rib_section(None, spine("L1", "L2"), measured, None) is None


def test_labels_without_image_still_have_the_findings(scan, measured):
    section = rib_section(None, scan[1], measured, seen_by(scan[1]))
    assert section.picture == ""
    assert len(section.findings.rows) == 2


def test_an_image_that_cuts_the_ribs_says_so(scan, measured):
    image, labels = scan
    columns = np.flatnonzero((labels.array > 0).any(axis=(0, 1)))
    part = slice(columns.min(), columns.max() + 1)
    narrow = []
    for volume in (image, labels):
        array, grid = volume.array[:, :, part], volume.geometry
        origin = tuple(grid.to_lps_mm(np.array([0, 0, part.start])))
        narrow.append(
            Volume(array, Geometry(array.shape, grid.spacing_mm, origin, grid.direction_lps))
        )
    section = rib_section(*narrow, measured, None)
    assert section.notes == (
        "At T12 to L1 the image shows less than 60 mm beside the spine: ribs may be cut.",
    )
    assert section.picture


def test_the_page_shows_findings_and_rib_view(scan, measured, tmp_path: Path):
    write_page(measured, scan, seen_by(scan[1]), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Last rib at T12; this fits the names." in page
    assert "Ribs from the front" in page
    # The rib view takes the place of the surface.
    assert page.count("data:image/png;base64,") == 2
    write_page(measured, (None, scan[1]), seen_by(scan[1]), tmp_path / "labels.html")
    assert "Last rib at this vertebra (T12)." in (tmp_path / "labels.html").read_text("utf-8")
