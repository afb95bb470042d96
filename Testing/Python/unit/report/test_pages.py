"""Both HTML pages show any text as text: names, warnings, levels and errors are never markup."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from synthetic_labels import spine
from synthetic_results import result_of

from spinemamba.evaluation.cohort import Case, Outcome, summarize
from spinemamba.evaluation.compare import compare
from spinemamba.measure.spine import measure
from spinemamba.protocol.measurements import Measurements
from spinemamba.protocol.result import Result
from spinemamba.report import case_page, evaluation_page
from spinemamba.report.html import Cell, Table, render

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src="x" onerror="alert(1)">',
    "</style></title><b>bold",
    "'quoted' & &lt;escaped&gt; &amp;",
    "{{ 7 * 7 }} {% raw %} {# gone #}",
    "L1<br>L2",
)
HARMLESS = "plain text"


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, object]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((tag, "end"))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def measured() -> Measurements:
    return measure(spine("L1", "L2"))


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("reformation_picture", "surface_picture"):
        monkeypatch.setattr(case_page, name, lambda *_: "data:,")
    for name in ("level_plot", "confusion_plot"):
        monkeypatch.setattr(evaluation_page, name, lambda *_: "<svg></svg>")


Inputs = tuple[Measurements, Result, str]
"""Arguments of a page: measurements, result and title."""


def with_title(measured: Measurements, result: Result, text: str) -> Inputs:
    return measured, result, text


def with_alert(measured: Measurements, result: Result, text: str) -> Inputs:
    return replace(measured, alerts=(text,)), result, ""


def with_note(measured: Measurements, result: Result, text: str) -> Inputs:
    return replace(measured, notes=(text,)), result, ""


def with_warning(measured: Measurements, result: Result, text: str) -> Inputs:
    return measured, replace(result, warnings=(text,)), ""


def with_level(measured: Measurements, result: Result, text: str) -> Inputs:
    items = tuple(replace(item, name=text) for item in measured.items)
    return replace(measured, items=items), result, ""


def with_flagged_level(measured: Measurements, result: Result, text: str) -> Inputs:
    return measured, replace(result, instances=(replace(result.instances[0], name=text),)), ""


def with_finding(measured: Measurements, result: Result, text: str) -> Inputs:
    first, *rest = measured.items
    first = replace(
        first, values=first.values | {"genant_grade": 1.0}, words=first.words | {"deformity": text}
    )
    return replace(measured, items=(first, *rest)), result, ""


def with_model(measured: Measurements, result: Result, text: str) -> Inputs:
    return measured, replace(result, model_name=text), ""


PLACES = (with_title, with_alert, with_note, with_warning, with_level, with_flagged_level)
PLACES += (with_finding, with_model)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_the_page_of_a_case_shows_any_text_as_text(
    place: Callable[..., Inputs], measured: Measurements, tmp_path: Path
) -> None:
    def page(text: str) -> Page:
        shown, result, title = place(measured, result_of(spine("L1", "L2")), text)
        case_page.write_page(
            shown, (None, spine("L1", "L2")), result, tmp_path / "page.html", title
        )
        return Page((tmp_path / "page.html").read_text(encoding="utf-8"))

    harmless = page(HARMLESS)
    for text in HOSTILE:
        hostile = page(text)
        assert text in hostile.text
        assert hostile.elements == harmless.elements


def outcomes(place: str, text: str) -> Iterator[Outcome]:
    labels = spine("L1", "L2")
    case = Case("one", Path("p.nii.gz"), Path("r.nii.gz"))
    score = compare(labels, labels, distances=False)
    if place == "level":
        score = replace(score, extra=(text,), beyond=(text,))
    yield Outcome(replace(case, name=text if place == "case" else "one"), score)
    yield Outcome(case, score)
    yield Outcome(case, None, text if place == "error" else "broken")


@pytest.mark.parametrize("place", ["case", "level", "error"])
def test_the_page_of_an_evaluation_shows_any_text_as_text(place: str, tmp_path: Path) -> None:
    def page(text: str) -> Page:
        given = list(outcomes(place, text))
        evaluation_page.write_page(given, summarize(given), tmp_path / "page.html")
        return Page((tmp_path / "page.html").read_text(encoding="utf-8"))

    harmless = page(HARMLESS)
    for text in HOSTILE:
        hostile = page(text)
        assert text in hostile.text
        assert hostile.elements == harmless.elements


def test_a_template_without_one_of_its_variables_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="title"):
        render("case.html")


@pytest.mark.parametrize(
    ("column", "classes"),
    [
        (["1", "2.5", "-"], ["number"] * 4),
        (["1", "L1", ""], ["", "number", "", ""]),
        (["", "", ""], [""] * 4),
        (["3 of 4", "missed", "extra"], ["", "number", "missed", "extra"]),
        ([], [""]),
    ],
)
def test_columns_of_numbers_are_right_aligned(column: list[str], classes: list[str]) -> None:
    table = Table.of(("head",), [[text] for text in column])
    assert [cell.css_class for cell in (*table.heads, *(row[0] for row in table.rows))] == classes


def test_a_table_without_rows_has_its_heads() -> None:
    assert Table.of(("case", "why"), []) == Table((Cell("case"), Cell("why")), ())
