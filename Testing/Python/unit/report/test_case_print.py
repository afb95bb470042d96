"""The case report fits on one sheet of A4, with few levels and with all of them."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from synthetic_labels import spine

from spinemamba.anatomy.labels import LABELS
from spinemamba.measure.given import Given
from spinemamba.measure.spine import measure
from spinemamba.report import case_page
from spinemamba.report.print_pdf import find_browser, print_pdf
from spinemamba.report.rib_section import RibSection

PICTURE = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='{}' height='430'%3E"
    "%3Crect width='100%25' height='100%25'/%3E%3C/svg%3E"
)
ALERT = "Check one level: C6 to L3 (48 %) or C5 to L2 (39 %). Count ribs: the last are at T12 for "
ALERT += "C6 to L3, at T11 for C5 to L2. An image that shows the sacrum would decide."


@pytest.mark.parametrize("count", [5, 17, 25])
def test_the_report_fits_on_one_sheet(count: int, tmp_path: Path, monkeypatch):
    if find_browser() is None:
        pytest.skip("no browser is installed")
    monkeypatch.setattr(case_page, "reformation_picture", lambda *_: PICTURE.format(520))
    ribs = RibSection("Last rib at T12; this fits the names.", None, (), PICTURE.format(320), ())
    monkeypatch.setattr(case_page, "rib_section", lambda *_: ribs)
    labels = spine("L1", "L2")
    few = measure(labels, given=Given(draws=0))
    names = [label.name for label in LABELS if label.name not in ("T13", "L6", "Coccyx")][-count:]
    vertebra, disc = few.of("vertebra")[0], few.of("disc")[0]
    items = [replace(vertebra, name=name) for name in names]
    items += [replace(disc, name=f"{a}-{b}") for a, b in pairwise(names)]
    many = replace(few, items=(*items, *few.of("angle")), alerts=(ALERT,))
    case_page.write_page(many, (None, labels), None, tmp_path / "page.html", "Case 7")
    pdf = print_pdf(tmp_path / "page.html")
    assert len(re.findall(rb"/Type /Page\b", pdf)) == 1
