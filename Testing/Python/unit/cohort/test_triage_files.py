"""Decisions are written into a file by the browser; every failure leaves them in the browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import opened, served
from triage_reviews import decision, write_review

PICKERS = """
globalThis.pick = async () => (
  (await navigator.storage.getDirectory()).getFileHandle("review.json", { create: true }));
globalThis.showSaveFilePicker = () => pick();
globalThis.showOpenFilePicker = async () => [await pick()];
"""
"""Files of the origin private file system have real handles and need no dialog."""

TEXT = """async () => {
  const folder = await navigator.storage.getDirectory();
  return (await (await folder.getFileHandle("review.json")).getFile()).text();
}"""

WRITE = """async (text) => {
  const stream = await (await pick()).createWritable();
  await stream.write(text);
  await stream.close();
}"""

THROWS = """([owner, method, name]) => {
  const kept = globalThis[owner].prototype[method];
  globalThis[owner].prototype[method] = async () => { throw new DOMException("internal", name); };
  globalThis.mend = () => { globalThis[owner].prototype[method] = kept; };
}"""


@pytest.fixture(scope="module")
def address(finished: Path) -> Iterator[str]:
    """Address of the page; the private file system does not exist for files."""
    with served(finished) as url:
        yield f"{url}/triage.html"


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page, with pickers that return a handle at once."""
    with opened(browser, address, PICKERS) as page:
        yield page


def link(page: Any, button: str = "New file") -> None:
    """Choose the file."""
    page.locator("#link").click()
    page.get_by_role("button", name=button, exact=True).click()


def wait(page: Any, place: str, text: str) -> str:
    """Wait for a text in an element; return all of it."""
    page.locator(place).filter(has_text=text).wait_for(timeout=60_000)
    return page.locator(place).inner_text()


def decisions(page: Any) -> dict[str, str]:
    """Return the states of all cases in the file, once all is written."""
    page.evaluate("LinkedFile.write()")
    review = json.loads(page.evaluate(TEXT) or '{"decisions": []}')
    return {one["case"]: one["status"] for one in review["decisions"]}


def kept(page: Any) -> str:
    """Return the progress after a reload."""
    page.reload()
    return page.locator("#progress").inner_text()


def test_every_decision_is_written_at_once(page: Any):
    page.keyboard.press("a")
    link(page)
    wait(page, "#link", "Up to date: review.json")
    wait(page, "#message", "Every decision is written to review.json.")
    assert decisions(page) == {"case-11": "approved"}
    page.keyboard.press("j")
    page.keyboard.press("f")
    assert decisions(page) == {"case-11": "approved", "case-10": "flagged"}
    page.keyboard.press("u")
    assert decisions(page) == {"case-11": "approved"}


@pytest.mark.parametrize(
    ("name", "place", "wanted"),
    [
        ("AbortError", "#message", "No file was chosen. The browser keeps all decisions."),
        ("SecurityError", "#file-state", "the browser was not allowed to write it."),
    ],
)
def test_without_a_choice_the_browser_keeps_the_decisions(
    page: Any, name: str, place: str, wanted: str
):
    page.keyboard.press("a")
    page.evaluate(
        """(name) => {
          globalThis.showSaveFilePicker = async () => { throw new DOMException("internal", name); };
        }""",
        name,
    )
    link(page)
    assert "internal" not in wait(page, place, wanted)
    assert page.locator("#link").inner_text() == "Keep a file up to date"
    assert "1 of 12 decided" in kept(page)


def test_a_refused_permission_is_said_and_can_be_given_later(page: Any):
    page.keyboard.press("a")
    page.evaluate(
        "() => { globalThis.kept = FileSystemHandle.prototype.requestPermission;"
        "FileSystemHandle.prototype.requestPermission = async () => 'denied'; }"
    )
    link(page)
    text = wait(page, "#file-state", "the browser was not allowed to write it.")
    assert text.endswith("The browser keeps all decisions.")
    assert page.evaluate(TEXT) == ""
    page.evaluate("() => { FileSystemHandle.prototype.requestPermission = kept; }")
    link(page, "Go on with review.json")
    wait(page, "#link", "Up to date")
    assert decisions(page) == {"case-11": "approved"}
    assert page.locator("#file-state").inner_text() == ""


@pytest.mark.parametrize(
    ("owner", "method", "name", "reason"),
    [
        ("FileSystemWritableFileStream", "write", "QuotaExceededError", "the disk is full."),
        ("FileSystemWritableFileStream", "close", "QuotaExceededError", "the disk is full."),
        ("FileSystemFileHandle", "createWritable", "NoModificationAllowedError", "another program"),
        ("FileSystemFileHandle", "createWritable", "NotAllowedError", "was not allowed"),
        ("FileSystemFileHandle", "getFile", "NotFoundError", "it was moved or deleted."),
    ],
)
def test_a_write_that_fails_leaves_the_file_whole_and_is_tried_again(
    page: Any, owner: str, method: str, name: str, reason: str
):
    page.keyboard.press("a")
    link(page)
    assert decisions(page) == {"case-11": "approved"}
    before = page.evaluate(TEXT)
    page.evaluate(THROWS, [owner, method, name])
    page.keyboard.press("j")
    page.keyboard.press("f")
    text = wait(page, "#file-state", reason)
    assert text.startswith("review.json is not up to date: ")
    assert "internal" not in text
    assert page.locator("#link").inner_text() == "Not up to date: review.json"
    assert "2 of 12 decided" in page.locator("#message").inner_text()
    page.evaluate("mend()")
    assert page.evaluate(TEXT) == before
    # The next decision brings all of them.
    page.keyboard.press("j")
    page.keyboard.press("a")
    wait(page, "#link", "Up to date")
    assert decisions(page) == {"case-11": "approved", "case-10": "flagged", "case-09": "approved"}


def test_what_another_reader_wrote_into_the_file_is_not_replaced(
    page: Any, finished: Path, tmp_path: Path
):
    page.get_by_label("Reader", exact=True).fill("Ada")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    link(page)
    assert decisions(page) == {"case-11": "approved"}
    ben = write_review(tmp_path / "b.json", "Ben", [decision(finished, "case-03")]).read_text()
    page.evaluate(WRITE, ben)
    page.keyboard.press("j")
    page.keyboard.press("f")
    text = wait(page, "#file-state", "It has the decisions of Ben, and you read as Ada.")
    assert "The browser keeps all decisions." in text
    assert page.evaluate(TEXT) == ben
    assert "2 of 12 decided" in kept(page)


@pytest.mark.parametrize("content", ["{", "notes of a meeting", '{"schema": 2, "a": []}'])
def test_a_file_that_became_something_else_is_not_replaced(page: Any, content: str):
    link(page)
    wait(page, "#link", "Up to date")
    page.evaluate(WRITE, content)
    page.keyboard.press("a")
    wait(page, "#file-state", "review.json is not up to date")
    assert page.evaluate(TEXT) == content
    assert "1 of 12 decided" in kept(page)


def test_what_the_same_reader_wrote_elsewhere_is_taken_over(
    page: Any, finished: Path, tmp_path: Path
):
    elsewhere = [
        decision(finished, "case-11", status="flagged", time="2000-01-01T00:00:00Z"),
        decision(finished, "case-03", time="2000-01-01T00:00:00Z"),
    ]
    page.keyboard.press("a")
    page.evaluate(WRITE, write_review(tmp_path / "a.json", "", elsewhere).read_text())
    link(page, "Existing review")
    wait(page, "#message", "Read one decision from review.json.")
    assert decisions(page) == {"case-11": "approved", "case-03": "approved"}


def test_the_file_is_found_again_after_a_reload(page: Any):
    page.keyboard.press("a")
    link(page)
    wait(page, "#link", "Up to date")
    page.reload()
    wait(page, "#link", "Up to date")
    page.keyboard.press("f")
    assert decisions(page) == {"case-11": "flagged"}


def test_after_a_reload_the_browser_may_ask_again(browser: Any, address: str):
    asks = """
    const asked = FileSystemHandle.prototype.requestPermission;
    FileSystemHandle.prototype.queryPermission = async () => "prompt";
    FileSystemHandle.prototype.requestPermission = function (...words) {
      globalThis.requested = true;
      return asked.apply(this, words);
    };
    """
    with opened(browser, address, PICKERS + asks) as page:
        link(page)
        wait(page, "#link", "Up to date")
        page.reload()
        wait(page, "#link", "Go on with review.json")
        assert "is not written since" in page.locator("#file-state").inner_text()
        page.keyboard.press("a")
        assert decisions(page) == {}
        assert not page.evaluate("globalThis.requested === true")
        page.locator("#link").click()
        wait(page, "#link", "Up to date")
        assert decisions(page) == {"case-11": "approved"}


def test_a_lost_handle_means_to_choose_again(page: Any):
    page.keyboard.press("a")
    link(page)
    wait(page, "#link", "Up to date")
    page.evaluate("new Promise((done) => { indexedDB.deleteDatabase('spinemamba-triage')"
                  ".onsuccess = done; })")  # fmt: skip
    assert "1 of 12 decided" in kept(page)
    assert page.locator("#link").inner_text() == "Keep a file up to date"
    link(page, "Existing review")
    wait(page, "#link", "Up to date")
    page.keyboard.press("f")
    assert decisions(page) == {"case-11": "flagged"}


def test_without_memory_of_the_browser_the_reader_is_warned(browser: Any, address: str):
    full = """Storage.prototype.setItem = () => {
      throw new DOMException("internal", "QuotaExceededError");
    };"""
    with opened(browser, address, PICKERS + full) as page:
        page.keyboard.press("a")
        wait(page, "#message", "This browser keeps nothing: save review.json")
        assert "1 of 12 decided" in page.locator("#progress").inner_text()
        link(page)
        wait(page, "#link", "Up to date")
        assert decisions(page) == {"case-11": "approved"}
