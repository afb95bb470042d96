"""Size and speed of the triage page: ``run.py triage_page --cases 50``.

Makes a cohort of real images and label maps, without networks, and opens its page from the file
system in Chromium. Prints the bytes of the page and of its data, the time until the first case is
shown, the time from one case to the next by the key J, the time until its volumes are shown, and
the memory of the tab. Times of the page's main thread are given too: they do not depend on what
else the computer does. Needs the packages playwright and ipyniivue.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from chromium import chromium, opened
from public_cases import data_folder
from real_cohort import write_real_cohort

from spinemamba.cohort.triage.apply import whole_records
from spinemamba.cohort.triage.page import FOLDER, PAGE, write_triage

SHOWN = """() => {
  const images = [...document.querySelectorAll("#case .frame img")];
  return images.length > 0 && images.every((image) => image.complete && image.naturalWidth);
}"""

FIRST = """
globalThis.shown = new Promise((done) => {
  const look = () => ((SHOWN)() ? done(performance.now()) : requestAnimationFrame(look));
  look();
});
""".replace("SHOWN", SHOWN)
"""Settles with the time from the start of the navigation until the first case is shown."""

STEP = """(key) => new Promise((done) => {
  const start = performance.now();
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const look = () => {
    if ((SHOWN)()) done(performance.now() - start);
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})""".replace("SHOWN", SHOWN)
"""Returns the time from a key until the pictures of the next case are drawn."""

READY = "(name) => document.querySelector(`canvas[data-ready='${name}']`) !== null"
_WAIT_MS = 120_000


def sizes(out: Path) -> dict[str, float]:
    """Return the megabytes of a page by what they are."""
    paths = [path for path in (out / FOLDER).rglob("*") if path.is_file()]
    shared = [path for path in paths if path.parent == out / FOLDER]
    groups = {
        "page_mb": [out / PAGE, *shared],
        "pictures_mb": [path for path in paths if path.suffix == ".jpg"],
        "volumes_mb": [path for path in paths if path.name == "volumes.js"],
    }
    return {
        name: round(sum(path.stat().st_size for path in group) / 1e6, 2)
        for name, group in groups.items()
    }


class Tab:
    """A tab with the page, and what Chromium measures of it."""

    def __init__(self, page: Any):
        self.page = page
        self._session = page.context.new_cdp_session(page)
        self._session.send("Performance.enable")

    def work_ms(self) -> float:
        """Return how long the main thread has worked so far."""
        return 1e3 * self._metrics()["TaskDuration"]

    def heap_mb(self) -> float:
        """Return the memory of JavaScript after a collection."""
        self._session.send("HeapProfiler.collectGarbage")
        return self._metrics()["JSHeapUsedSize"] / 1e6

    def memory_mb(self) -> float:
        """Return the resident memory of the processes that render pages."""
        session = self.page.context.browser.new_browser_cdp_session()
        found = session.send("SystemInfo.getProcessInfo")["processInfo"]
        session.detach()
        return sum(_resident_mb(one["id"]) for one in found if one["type"] == "renderer")

    def _metrics(self) -> dict[str, float]:
        found = self._session.send("Performance.getMetrics")["metrics"]
        return {one["name"]: one["value"] for one in found}


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1e3
    return 0.0


def opening(browser: Any, address: str, rounds: int) -> dict[str, Any]:
    """Return the times until the first case is shown, each in a new browser profile."""
    wall_ms, work_ms = [], []
    for _ in range(rounds):
        with opened(browser, address, FIRST) as page:
            wall_ms.append(page.evaluate("shown"))
            work_ms.append(Tab(page).work_ms())
    return {"open_ms": _spread(wall_ms), "open_work_ms": _spread(work_ms)}


def paging(browser: Any, address: str, count: int, volumes: int) -> dict[str, Any]:
    """Return the times from case to case, without and with volumes, and the memory of the tab."""
    with opened(browser, address, FIRST) as page:
        page.evaluate("shown")
        tab = Tab(page)
        steps_ms, work_ms, volumes_ms, memory_mb = [], [], [], [tab.memory_mb()]
        for _ in range(count - 1):
            before_ms = tab.work_ms()
            steps_ms.append(page.evaluate(STEP, "j"))
            work_ms.append(tab.work_ms() - before_ms)
        for _ in range(volumes):
            page.keyboard.press("k")
            name = page.locator("#case h2").inner_text()
            before_ms = page.evaluate("performance.now()")
            page.wait_for_function(READY, arg=name, timeout=_WAIT_MS)
            volumes_ms.append(page.evaluate("performance.now()") - before_ms)
            memory_mb.append(tab.memory_mb())
        return {
            "step_ms": _spread(steps_ms),
            "step_work_ms": _spread(work_ms),
            "volumes_ms": _spread(volumes_ms),
            "memory_mb": [round(mb) for mb in memory_mb],
            "heap_mb": round(tab.heap_mb(), 1),
        }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(float(np.median(values)), 1),
        "p95": round(float(np.percentile(values, 95)), 1),
    }


def main(words: list[str]) -> int:
    """Make the cohort and its page, and print the figures as JSON."""
    parser = argparse.ArgumentParser("triage_page", description=__doc__)
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5, help="how often the page is opened")
    parser.add_argument("--volumes", type=int, default=20, help="cases whose slices are shown")
    parser.add_argument("--out", type=Path, help="output folder of a cohort that exists already")
    args = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as name:
        out = args.out or write_real_cohort(Path(name) / "cohort", data_folder(), args.cases)
        records = whole_records(out)
        path, reason = write_triage(out, records)
        if reason:
            raise SystemExit(reason)
        address = path.as_uri()
        figures = {"cases": len(records), **sizes(out)}
        with chromium() as browser:
            figures |= opening(browser, address, args.rounds)
            sys.stdout.write(json.dumps(figures) + "\n")
            sys.stdout.flush()
            figures |= paging(browser, address, len(records), args.volumes)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return 0
