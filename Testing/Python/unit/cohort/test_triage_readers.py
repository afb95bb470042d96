"""Two readers of a cohort: their reviews are opened, compared, settled and applied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chromium import opened
from synthetic_cohort import NAMES, OTHER
from triage_reviews import decision, shifted, write_review

from spinemamba.cli.main import main
from spinemamba.protocol.cohort import read_record
from spinemamba.protocol.result import read_result

LATER = "2026-01-02T00:00:00Z"


def message(page: Any, part: str) -> str:
    """Wait for a message that contains a text; return the message."""
    page.locator("#message").filter(has_text=part).wait_for(timeout=60_000)
    return page.locator("#message").inner_text()


def listed(page: Any) -> list[str]:
    """Return the cases in the list."""
    return page.locator("#cases li").evaluate_all("all => all.map((one) => one.dataset.case)")


def reviews_of_two(out: Path, folder: Path) -> tuple[Path, Path]:
    """Write the reviews of Ada and Ben, who disagree on case-11 and case-09."""
    ada = [decision(out, name) for name in ("case-11", "case-10", "case-09")]
    ben = [
        decision(out, "case-11", levels=shifted(), note="Twelve ribs.", time=LATER),
        decision(out, "case-10", time=LATER),
        decision(out, "case-09", status="flagged", time=LATER),
        decision(out, "case-08", time=LATER),
    ]
    return (
        write_review(folder / "ada.json", "Ada", ada),
        write_review(folder / "ben.json", "Ben", ben),
    )


def test_a_disagreement_is_listed_settled_and_applied(browser: Any, out: Path, tmp_path: Path):
    ada, ben = reviews_of_two(out, tmp_path)
    with opened(browser, (out / "triage.html").as_uri()) as page:
        page.locator("#open").set_input_files(ada)
        assert message(page, "ada.json") == "Read 3 decisions from ada.json."
        page.locator("#compare").set_input_files(ben)
        message(page, "Read 4 decisions from ben.json.")
        page.get_by_label("Show").select_option("differ")
        assert listed(page) == ["case-11", "case-09", "case-08"]
        shown = page.locator(".differs").all_text_contents()
        assert shown == ["Ben: T10 to L1", "Ben: flagged", "only Ben: approved"]
        assert "Note: Twelve ribs." in page.get_by_role("group", name="Other reader").inner_text()
        page.locator("#cases").focus()
        # Ben is right about the levels; Ada stays with her approval of the other case.
        page.keyboard.press("t")
        page.keyboard.press("j")
        page.keyboard.press("m")
        assert "disagree on 1" in page.locator("#progress").inner_text()
        page.keyboard.press("u")
        assert "disagree on 2" in page.locator("#progress").inner_text()
        page.keyboard.press("m")
        page.reload()
        assert "disagree on 1" in page.locator("#progress").inner_text()
        with page.expect_download() as waiting:
            page.keyboard.press("s")
        waiting.value.save_as(tmp_path / "both.json")
    assert main(["apply-review", str(out), str(tmp_path / "both.json")]) == 0
    record = read_record(out / "cases" / "case-11")
    assert (record.review.reviewer, record.review.note) == ("Ada", "Twelve ribs.")
    result = read_result(out / "cases" / "case-11" / "case-11_result.json")
    assert tuple(item.name for item in result.instances) == OTHER
    assert read_record(out / "cases" / "case-09").review.status == "approved"


def test_the_decisions_of_another_reader_are_not_taken_for_ones_own(
    page: Any, finished: Path, tmp_path: Path
):
    ada, ben = reviews_of_two(finished, tmp_path)
    page.get_by_label("Reader", exact=True).fill("Ada")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.locator("#open").set_input_files(ben)
    assert "It has the decisions of Ben, and you read as Ada." in message(page, "ben.json")
    page.locator("#compare").set_input_files(ada)
    assert "Open it as a review." in message(page, "ada.json cannot be opened")
    assert "1 of 12 decided" in page.locator("#progress").inner_text()


def test_the_later_decision_of_one_reader_counts(page: Any, finished: Path, tmp_path: Path):
    early = write_review(tmp_path / "early.json", "Ada", [decision(finished, "case-11")])
    later = decision(finished, "case-11", status="flagged", time=LATER)
    late = write_review(tmp_path / "late.json", "Ada", [later])
    first = page.get_by_role("option", name="case-11")
    page.locator("#open").set_input_files(late)
    message(page, "Read one decision from late.json.")
    page.locator("#open").set_input_files(early)
    message(page, "Read 0 decisions from early.json.")
    assert first.get_attribute("data-status") == "flagged"
    page.keyboard.press("u")
    assert first.get_attribute("data-status") == ""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "The file is damaged: it is not JSON."),
        ('{"schema": 1, "reviewer": "Ada", "decisions": [{"ca', "it is not JSON."),
        ("[]", "It is not the review of a cohort."),
        ('{"levels": 3}', "It is not the review of a cohort."),
        ('{"schema": 2, "result": null, "fixed_levels": {}, "log": []}', "Open it in Slicer."),
        ('{"schema": 9, "reviewer": "", "decisions": []}', "format 9; this page reads format 1."),
        ('{"schema": 1, "reviewer": "", "decisions": [{}]}', "decision 1 is incomplete"),
        ({"status": "maybe"}, "decision 1 has the unknown state maybe"),
        ({"levels": [{"id": 1, "before": "T11", "after": "T14"}]}, "has an unknown level"),
        ({"levels": 5}, "has no list of levels"),
        ({"levels": shifted((*OTHER[:3], "T12"))}, "Two vertebrae would be T12."),
        ({"twice": True}, "decision 2 is the second one of case-11"),
    ],
)
def test_a_file_that_is_no_review_changes_nothing(
    page: Any, finished: Path, tmp_path: Path, text: str | dict, wanted: str
):
    path = tmp_path / "review.json"
    if isinstance(text, dict):
        count = 2 if text.pop("twice", False) else 1
        write_review(path, "Ada", [decision(finished, "case-11", **text)] * count)
    else:
        path.write_text(text, encoding="utf-8")
    for name in ("open", "compare"):
        page.locator(f"#{name}").set_input_files(path)
        assert message(page, wanted).startswith("review.json cannot be opened. ")
        page.evaluate("document.getElementById('message').textContent = ''")
    assert "0 of 12 decided" in page.locator("#progress").inner_text()
    assert page.get_by_label("Reader", exact=True).input_value() == ""


def test_decisions_about_changed_results_are_left_out_and_named(
    page: Any, finished: Path, tmp_path: Path
):
    old = {"result_sha256": "1" * 64}
    decisions = [decision(finished, f"case-0{k}", **old) for k in range(7)]
    decisions[0] = decision(finished, "case-11") | {"case": "case-99"}
    path = write_review(tmp_path / "r.json", "Ada", [*decisions, decision(finished, "case-10")])
    page.locator("#open").set_input_files(path)
    text = message(page, "Read one decision from r.json.")
    assert "7 decisions are about results that have changed since" in text
    assert "case-99, case-01, case-02, case-03, case-04, 2 more." in text


def test_a_kept_decision_about_a_changed_result_stays_in_sight(browser: Any, out: Path):
    listing = out / "triage" / "cases.js"
    with opened(browser, (out / "triage.html").as_uri()) as page:
        for key in ("ArrowUp", "a", "j", "a"):
            page.keyboard.press(key)
        text = listing.read_text(encoding="utf-8")
        cases = json.loads(text.removeprefix("globalThis.TRIAGE=").rstrip(";\n"))["cases"]
        changed = text.replace(cases[0]["resultSha256"], "2" * 64)
        listing.write_text(changed, encoding="utf-8")
        page.goto((out / "triage.html").as_uri())
        assert "One decision is about results that have changed" in message(page, "case-11")
        for _ in range(2):
            facts = page.locator(".facts").inner_text()
            assert "You decided on an earlier result: approved, T11 is T10" in facts
            assert page.locator("tbody .level").all_inner_texts() == list(NAMES)
            # Another decision must not push it out of the browser's memory.
            page.keyboard.press("j")
            page.keyboard.press("j")
            page.keyboard.press("f")
            page.goto((out / "triage.html").as_uri())
        page.keyboard.press("f")
        assert "You decided on" not in page.locator(".facts").inner_text()


def test_what_the_browser_kept_and_cannot_read_is_put_aside(browser: Any, finished: Path):
    address = (finished / "triage.html").as_uri()
    with opened(browser, address) as page:
        page.evaluate("localStorage.setItem(Store.key, '{\"reader\": 1')")
        page.reload()
        message(page, "The decisions that the browser has kept cannot be read")
        page.keyboard.press("a")
        assert page.evaluate("localStorage.getItem(`${Store.key}:unread`)") == '{"reader": 1'


def test_two_tabs_do_not_lose_the_decisions_of_each_other(browser: Any, finished: Path):
    address = (finished / "triage.html").as_uri()
    with opened(browser, address) as page:
        second = page.context.new_page()
        second.goto(address)
        page.keyboard.press("a")
        second.locator("#progress").filter(has_text="1 of 12").wait_for(timeout=60_000)
        second.keyboard.press("j")
        second.keyboard.press("f")
        page.locator("#progress").filter(has_text="1 approved, 1 flagged").wait_for(timeout=60_000)


def test_applying_a_second_reader_names_the_first_one(out: Path, tmp_path: Path, capsys: Any):
    paths = reviews_of_two(out, tmp_path)
    assert main(["apply-review", str(out), str(paths[0])]) == 0
    ben = write_review(tmp_path / "b.json", "Ben", [decision(out, "case-09", status="flagged")])
    capsys.readouterr()
    assert main(["apply-review", str(out), str(ben)]) == 0
    assert "case-09: flagged, instead of approved by Ada" in capsys.readouterr().out
