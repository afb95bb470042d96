"""The triage of a cohort as a reader does it: in a browser, from the file system, by keys."""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from chromium import opened
from synthetic_cohort import NAMES, OTHER
from triage_reviews import decision, shifted, write_review

from spinemamba.anatomy.numbering_rules import insert_l6, insert_t13, shift
from spinemamba.cli.main import main
from spinemamba.cohort.triage.apply import apply_review
from spinemamba.cohort.triage.viewer import classic_script
from spinemamba.common.errors import UserError
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.protocol.cohort import read_record
from spinemamba.protocol.result import read_result
from spinemamba.protocol.review import REVIEW, TRIAGE
from spinemamba.training.layouts.find import find_cases

PAGE_BYTES = 6_000_000
"""Largest size of the page without the data of its cases."""


def saved(page: Any, path: Path) -> Path:
    """Save the review as a download; return its path."""
    with page.expect_download() as waiting:
        page.keyboard.press("s")
    waiting.value.save_as(path)
    return path


def table(out: Path) -> dict[str, dict[str, str]]:
    """Return the rows of cohort.csv by case."""
    with (out / "cohort.csv").open(newline="", encoding="utf-8") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def names_of(out: Path, case: str) -> tuple[str, ...]:
    """Return the names in result.json of a case."""
    result = read_result(out / "cases" / case / f"{case}_result.json")
    return tuple(item.name for item in result.instances)


def check_applied(out: Path) -> None:
    """Check labels, results and table after the review of the first test."""
    assert names_of(out, "case-11") == OTHER
    labels = read_vertebra_labels(out / "cases" / "case-11" / "case-11.seg.nrrd")
    found = {label.level.name: label.segment.tags for label in labels.file.vertebrae}
    assert tuple(found) == OTHER
    assert {tags["Segmentation.Status"] for tags in found.values()} == {"completed"}
    assert {tags["SpineMamba.ReviewedBy"] for tags in found.values()} == {"Ada"}
    assert names_of(out, "case-09") == NAMES
    rows = table(out)
    assert rows["case-11"]["names"] == "T10 T11 T12 L1"
    assert rows["case-11"]["doubt"] == "0.0"
    assert [rows[f"case-{k}"]["review"] for k in ("11", "10", "09")] == [
        *("approved", "flagged", "approved")
    ]
    assert (rows["case-10"]["note"], rows["case-10"]["reviewer"]) == ("Count the ribs.", "Ada")
    assert rows["case-08"]["review"] == ""


def test_a_reader_decides_by_keys_and_the_decisions_are_applied(
    browser: Any, out: Path, tmp_path: Path
):
    with opened(browser, (out / "triage.html").as_uri()) as page:
        review = read_three_cases(page, tmp_path / "review.json")
    triage = TRIAGE.read(review)
    assert [d.case for d in triage.decisions] == ["case-11", "case-10", "case-09"]
    assert main(["apply-review", str(out), str(review)]) == 0
    check_applied(out)


def read_three_cases(page: Any, path: Path) -> Path:
    """Decide about the first three cases by keys; return the saved review."""
    press, heading = page.keyboard.press, page.locator("#case h2")
    # The most doubtful case comes first; its names are wrong, and the other naming is right.
    assert heading.inner_text() == "case-11"
    page.get_by_label("Reader", exact=True).fill("Ada")
    press("Escape")
    press("1")
    press("a")
    # The next one needs a second look, with a note.
    press("j")
    assert heading.inner_text() == "case-10"
    press("f")
    press("n")
    page.keyboard.type("Count the ribs.")
    press("Escape")
    # A wrong key is undone.
    press("j")
    press("ArrowDown")
    press("u")
    press("a")
    assert "3 of 12 decided: 2 approved, 1 flagged" in page.locator("#progress").inner_text()
    page.reload()
    assert "3 of 12 decided: 2 approved, 1 flagged" in page.locator("#progress").inner_text()
    assert page.get_by_label("Reader", exact=True).input_value() == "Ada"
    assert page.get_by_role("option", name="case-11").get_attribute("data-status") == "approved"
    return saved(page, path)


def test_a_click_on_a_vertebra_names_it_and_the_others_follow(page: Any):
    page.locator("tbody").get_by_role("button", name="L1", exact=True).click()
    page.locator("#levels").get_by_role("button", name="L2", exact=True).click()
    assert page.locator("tbody .level").all_inner_texts() == ["T12", "L1", "L2", "L3"]
    page.locator("tbody .level").nth(3).focus()
    page.keyboard.press("Enter")
    page.get_by_label("Rename the others, too").uncheck()
    page.locator("#levels").get_by_role("button", name="L4", exact=True).click()
    assert page.locator("tbody .level").all_inner_texts() == ["T12", "L1", "L2", "L4"]
    page.keyboard.press("u")
    page.keyboard.press("u")
    assert page.locator("tbody .level").all_inner_texts() == list(NAMES)


def test_the_page_numbers_vertebrae_by_the_rules_of_the_package(page: Any):
    chains = [
        ("C1", "C2"),
        ("T11", "T12", "L1"),
        ("T12", "T13", "L1"),
        ("L4", "L5", "Sacrum"),
        ("L3", "L4", "L5"),
        ("L5", "L6", "Sacrum"),
    ]
    for chain in chains:
        for by in (-1, 1):
            try:
                wanted = list(shift(chain, by))
            except UserError:
                wanted = None
            code = "([c, by]) => { try { return Names.shift(c, by); } catch { return null; } }"
            assert page.evaluate(code, [list(chain), by]) == wanted, (chain, by)
    rename = "([c, k, level]) => Names.rename(c, k, level, true)"
    assert page.evaluate(rename, [["T11", "T12", "L1"], 1, "T13"]) == list(
        insert_t13(("T11", "T12", "L1"), 1)
    )
    assert page.evaluate(rename, [["L4", "L5", "Sacrum"], 1, "L6"]) == list(
        insert_l6(("L4", "L5", "Sacrum"), 1)
    )


def test_arrows_move_in_the_list_and_shift_names_elsewhere(page: Any):
    page.keyboard.press("ArrowUp")
    assert page.locator("tbody .level").all_inner_texts() == list(OTHER)
    page.locator("#cases").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("#case h2").inner_text() == "case-10"
    assert page.locator("tbody .level").all_inner_texts() == list(NAMES)


def test_slices_and_3d_show_the_volumes_of_the_case(page: Any):
    pytest.importorskip("ipyniivue")
    canvas = page.locator("canvas[data-ready='case-11']")
    canvas.wait_for(timeout=60_000)
    page.get_by_role("button", name="3-D").click()
    assert page.evaluate("Viewer.isReady(TRIAGE.cases[0])") is True
    # The same canvas goes on with the next case, also after cases that were left in haste.
    for key in "jjk":
        page.keyboard.press(key)
    canvas = page.locator("canvas[data-ready='case-10']")
    canvas.wait_for(timeout=60_000)
    page.wait_for_function(
        "() => { const { width, offsetWidth } = document.querySelector('canvas');"
        " return width > 0 && width === offsetWidth; }"
    )
    assert page.get_by_role("button", name="3-D").get_attribute("aria-pressed") == "true"


def test_the_page_is_small_and_opens_soon(browser: Any, finished: Path):
    shared = [
        finished / "triage.html",
        *(p for p in (finished / "triage").iterdir() if p.is_file()),
    ]
    data = [p for p in (finished / "triage").rglob("*") if p.is_file() and p not in shared]
    page = browser.new_page()
    started = time.monotonic()
    page.goto((finished / "triage.html").as_uri(), wait_until="load")
    seconds = time.monotonic() - started
    page.close()
    total, per_case = (
        sum(p.stat().st_size for p in shared),
        sum(p.stat().st_size for p in data) / 12,
    )
    text = f"page {total / 1e6:.2f} MB, {per_case / 1e3:.0f} kB per case, opens in {seconds:.2f} s"
    sys.stderr.write(f"{text}\n")
    assert total < PAGE_BYTES


def decide(out: Path, path: Path, name: str, **change: Any) -> Path:
    """Write a review of Ada with one decision."""
    return write_review(path, "Ada", [decision(out, name, **change)])


def test_a_review_is_applied_once(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    review = decide(out, tmp_path / "r.json", "case-03", levels=shifted())
    assert main(["apply-review", str(out), str(review)]) == 0
    assert "case-03: renamed (T11 is T10 to L2 is L1), approved" in capsys.readouterr().out
    first = {p: p.read_bytes() for p in sorted((out / "cases").rglob("*")) if p.is_file()}
    assert main(["apply-review", str(out), str(review)]) == 0
    assert "case-03: applied before" in capsys.readouterr().out
    assert {p: p.read_bytes() for p in sorted((out / "cases").rglob("*")) if p.is_file()} == first
    record = read_record(out / "cases" / "case-03")
    assert record.is_approved
    # Approved cases, and no others, are a data set for a training.
    (case,) = find_cases(out)
    assert (case.name, case.image, case.modality) == ("case-03", Path(record.image), "ct")
    log = REVIEW.read(out / "cases" / "case-03" / record.files["review"].name)
    assert [entry.action for entry in log.log] == ["Use T10 to L1", "Approve (4)"]
    assert set(log.fixed_levels.values()) == set(OTHER)


def outcome(out: Path, review: Path) -> tuple[str, bool]:
    """Apply a review with one decision; return its text, and whether it was refused."""
    (done,) = apply_review(out, TRIAGE.read(review), lambda outcome: None)
    return done.text, done.is_refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"result_sha256": "1" * 64}, "another result"),
        ({"case": "case-99"}, "no such case"),
        ({"levels": [{"id": 1, "before": "L5", "after": "L4"}]}, "not L5 any more"),
        ({"levels": shifted(("L1", "T12", "T11", "T10"))}, "refused"),
    ],
)
def test_decisions_that_do_not_fit_are_refused(
    out: Path, tmp_path: Path, change: dict, message: str
):
    review = decide(out, tmp_path / "r.json", "case-03", **change)
    before = {p: p.read_bytes() for p in (out / "cases").rglob("*") if p.is_file()}
    text, is_refused = outcome(out, review)
    assert is_refused
    assert message in text
    assert {p: p.read_bytes() for p in (out / "cases").rglob("*") if p.is_file()} == before


def test_an_approved_case_keeps_its_names_until_it_is_open_again(out: Path, tmp_path: Path):
    path = tmp_path / "r.json"
    assert outcome(out, decide(out, path, "case-03")) == ("approved", False)
    text, is_refused = outcome(out, decide(out, path, "case-03", levels=shifted()))
    assert is_refused
    assert "T11 is approved and cannot be changed." in text
    assert outcome(out, decide(out, path, "case-03", status="")) == ("open", False)
    assert not outcome(out, decide(out, path, "case-03", levels=shifted()))[1]
    assert names_of(out, "case-03") == OTHER


def test_a_renamed_case_needs_its_image(out: Path, tmp_path: Path):
    path = out / "cases" / "case-03" / "case.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values | {"image": "/gone.nii.gz"}), encoding="utf-8")
    text, is_refused = outcome(out, decide(out, tmp_path / "r.json", "case-03", levels=shifted()))
    assert is_refused
    assert "is not where the cohort has read it" in text


def test_a_viewer_of_an_unknown_form_is_not_used():
    assert classic_script("export default {}") is None
    assert classic_script('import x from "y";' + _WIDGET) is None
    assert "globalThis.Niivue=t2;" in classic_script(_WIDGET)


_WIDGET = (
    'console.log("Creating new Niivue instance");let C=1;vA=new t2(C);export{Ih as default};\n'
)
