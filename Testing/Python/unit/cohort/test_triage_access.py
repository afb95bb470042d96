"""The triage page with a keyboard alone, and what Chromium tells a screen reader about it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from chromium import opened
from synthetic_cohort import NAMES, OTHER
from triage_reviews import decision, shifted, write_review

CONTROLS = (
    *("button", "checkbox", "combobox", "dialog", "image", "img", "listbox", "option"),
    *("progressbar", "searchbox", "textbox", "group", "navigation", "region", "table"),
)
"""Roles that need a name."""

CONTRAST = 4.5

FAINT = """(least) => {
  const parts = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const over = ([r, g, b, a = 1], under) => [r, g, b].map((v, k) => a * v + (1 - a) * under[k]);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map(
      (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const back = (element) => {
    if (!element) return [255, 255, 255];
    const color = parts(getComputedStyle(element).backgroundColor);
    const onPicture = element.matches(".frame") ? [255, 255, 255] : null;
    return over(color, onPicture || back(element.parentElement));
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const check = (element, color, text) => {
    const under = back(element);
    const [a, b] = [light(over(parts(color), under)), light(under)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < least) found.push(`${contrast.toFixed(2)}: ${text}`);
  };
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility() || element.matches("script, style, option")) continue;
    check(element, getComputedStyle(element).color, text);
  }
  for (const element of document.querySelectorAll("[placeholder]")) {
    check(element, getComputedStyle(element, "::placeholder").color, element.placeholder);
  }
  return found;
}"""
"""Visible texts with less contrast to what lies below; white is assumed below a picture's names."""

FOCUSED = """() => {
  const element = document.activeElement;
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  return {
    what: element.id || element.dataset.control || element.tagName,
    part: element.closest("header, nav, section, footer, dialog")?.tagName || "",
    // The focus scrolls its section.
    top: box.top + document.querySelector("#case").scrollTop * Boolean(element.closest("section")),
    left: box.left, outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
  };
}"""


def nameless(page: Any) -> list[str]:
    """Return the controls without a name in the accessibility tree of Chromium."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    return [
        f"{node['role']['value']}: {node.get('description', {}).get('value', '')}"
        for node in nodes
        if not node["ignored"]
        and node["role"]["value"] in CONTROLS
        and not node.get("name", {}).get("value")
    ]


def said(page: Any) -> str:
    """Return the text of the live region."""
    element = page.locator("#message")
    assert element.get_attribute("role") == "status"
    return element.inner_text()


def open_levels(page: Any, other: Path) -> None:
    """Show the menu of levels."""
    page.locator("tbody .level").first.click()


def open_keys(page: Any, other: Path) -> None:
    """Show the list of keys."""
    page.keyboard.press("?")


def open_file(page: Any, other: Path) -> None:
    """Show the choice of a file."""
    page.locator("#link").click()


def write_note(page: Any, other: Path) -> None:
    """Type a note."""
    page.keyboard.press("n")
    page.keyboard.type("Count the ribs.")


def decide(page: Any, other: Path) -> None:
    """Approve a case with other names, and flag the next one."""
    for key in ("1", "a", "j", "f", "k"):
        page.keyboard.press(key)


def filter_all_out(page: Any, other: Path) -> None:
    """Choose a filter that no case fits."""
    page.get_by_label("Show").select_option("failed")


def compare(page: Any, other: Path) -> None:
    """Compare with a reader who disagrees."""
    page.keyboard.press("a")
    page.locator("#compare").set_input_files(other)
    page.locator(".differs").first.wait_for(timeout=60_000)


@pytest.mark.parametrize(
    "enter",
    [None, decide, open_levels, open_keys, open_file, write_note, filter_all_out, compare],
    ids=lambda enter: enter.__name__ if enter else "case",
)
def test_every_control_has_a_name_and_every_text_its_contrast(
    page: Any, finished: Path, tmp_path: Path, enter: Callable[[Any, Path], None] | None
):
    levels = {"levels": shifted(), "note": "Look."}
    other = write_review(tmp_path / "o.json", "Ben", [decision(finished, "case-11", **levels)])
    if enter is not None:
        enter(page, other)
    assert nameless(page) == []
    assert page.evaluate(FAINT, CONTRAST) == []


def test_the_test_of_contrast_and_names_sees_a_fault(page: Any):
    page.evaluate(
        """() => {
          document.querySelector("#progress").style.color = "#555";
          document.querySelector("#search").removeAttribute("aria-label");
          document.querySelector("#search").removeAttribute("placeholder");
        }"""
    )
    assert [text.split(": ", 1)[0] for text in nameless(page)] == ["searchbox"]
    (fault,) = page.evaluate(FAINT, CONTRAST)
    assert fault.endswith("0 of 12 decided: 0 approved, 0 flagged")


def test_the_page_has_a_language_a_dark_scheme_and_no_motion(page: Any):
    assert page.evaluate("document.documentElement.lang") == "en"
    scheme = "getComputedStyle(document.documentElement).colorScheme"
    assert page.evaluate(scheme) == "dark"
    moving = """() => [...document.querySelectorAll("*")].filter((element) => {
      const style = getComputedStyle(element);
      return style.animationName !== "none" || parseFloat(style.transitionDuration) > 0;
    }).length"""
    assert page.evaluate(moving) == 0


def test_tab_visits_all_controls_in_the_order_of_the_page(page: Any):
    page.locator("#reader").focus()
    visited = [page.evaluate(FOCUSED)]
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found["what"] in ("BODY", visited[0]["what"]):
            break
        visited.append(found)
    assert min(found["outline"] for found in visited) >= 2
    parts = list(dict.fromkeys(found["part"] for found in visited))
    assert parts == ["HEADER", "NAV", "SECTION"]
    names = [found["what"] for found in visited]
    header = ["reader", "save", "link", "open-button", "compare-button", "undo", "help"]
    assert names[:10] == [*header, "filter", "search", "cases"]
    case = ["approve", "flag", "up", "down", "note", "naming-0", "naming-1"]
    assert names[10:17] == case
    assert [name for name in names if name.startswith("level-")] == [f"level-{k}" for k in range(4)]
    for before, after in pairwise(visited):
        is_later = after["top"] >= before["top"] or after["left"] > before["left"]
        assert is_later or after["part"] != before["part"], (before, after)


def test_decisions_are_announced(page: Any):
    press = page.keyboard.press
    press("a")
    assert said(page) == ("case-11 is approved, T11 to L2. 1 of 12 decided: 1 approved, 0 flagged.")
    press("a")
    assert said(page).startswith("case-11 is open, T11 to L2.")
    press("f")
    assert said(page).startswith("case-11 is flagged")
    press("ArrowUp")
    assert said(page).startswith("case-11 is flagged, T10 to L1.")
    press("u")
    assert said(page).startswith("Undone: case-11 is flagged, T11 to L2.")
    press("5")
    assert said(page) == "There is no naming 5."
    press("j")
    assert said(page) == "case-10, 2 of 12: T11 to L2, doubt 42 %, 0 flags, open"
    press("k")
    press("k")
    assert said(page) == "This is the first case."


def test_the_menu_of_levels_needs_no_mouse_and_gives_the_focus_back(page: Any):
    press, focused = page.keyboard.press, "document.activeElement.dataset.control"
    page.locator("[data-control='level-3']").focus()
    press("Enter")
    dialog = page.locator("#levels")
    assert page.evaluate("document.activeElement.textContent") == "L2"
    press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate(focused) == "level-3"
    press("Enter")
    press("ArrowLeft")
    press("Enter")
    assert page.locator("tbody .level").all_inner_texts() == list(OTHER)
    assert page.evaluate(focused) == "level-3"
    press("u")
    assert page.locator("tbody .level").all_inner_texts() == list(NAMES)
    assert page.evaluate(focused) == "level-3"


def test_the_focus_stays_on_its_control_in_the_next_case(page: Any):
    page.locator("[data-control='flag']").focus()
    page.keyboard.press("j")
    assert page.locator("#case h2").inner_text() == "case-10"
    assert page.evaluate("document.activeElement.dataset.control") == "flag"
    page.keyboard.press("Enter")
    assert said(page).startswith("case-10 is flagged")


def test_single_letters_can_be_switched_off(page: Any):
    press = page.keyboard.press
    press("?")
    page.get_by_label("Single letters and digits are keys").uncheck()
    press("Escape")
    press("a")
    press("j")
    assert page.locator("#case h2").inner_text() == "case-11"
    assert "0 of 12 decided" in page.locator("#progress").inner_text()
    page.reload()
    press("a")
    assert "0 of 12 decided" in page.locator("#progress").inner_text()
    press("ArrowUp")
    press("Control+z")
    assert said(page).startswith("Undone: case-11 is open, T11 to L2.")


def test_keys_of_the_viewer_move_the_cross_and_no_name(page: Any):
    pytest.importorskip("ipyniivue")
    canvas = page.locator("canvas[data-ready='case-11']")
    canvas.wait_for(timeout=60_000)
    canvas.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.locator("tbody .level").all_inner_texts() == list(NAMES)
    page.keyboard.press("j")
    assert page.locator("#case h2").inner_text() == "case-10"


@pytest.mark.parametrize("width", [700, 1280, 2560])
def test_nothing_is_cut_off_at_any_width(browser: Any, finished: Path, width: int):
    address = (finished / "triage.html").as_uri()
    with opened(browser, address, viewport={"width": width, "height": 800}) as page:
        size = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        assert page.evaluate(size) == [width, 800]
        hidden = "(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)"
        assert page.evaluate(f"{hidden}(document.querySelector('#case'))") == 0
