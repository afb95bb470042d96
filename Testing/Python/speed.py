"""Write what `spinemamba bench --json` measured into README.md.

``python Testing/Python/speed.py bench.json`` keeps the numbers as Resources/speed.json and rewrites
the section *Speed*; without an argument it writes the section anew from the numbers that are kept.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import derived

KEPT = derived.REPOSITORY / "Resources" / "speed.json"

Report = dict[str, Any]


def main(arguments: list[str]) -> None:
    """Keep the numbers, if there are new ones, and write the section."""
    if arguments:
        report = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        KEPT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    text = derived.README.read_text(encoding="utf-8")
    text = derived.with_section(text, "speed", section())
    derived.README.write_text(text, encoding="utf-8", newline="\n")


def section() -> str:
    """Return the section's measured part."""
    report = json.loads(KEPT.read_text(encoding="utf-8"))
    parts = [machine(report["machine"]), scans(report), others(report), networks(report)]
    if "case" in report:
        parts.append(case(report["case"]))
    return "\n\n".join(parts) + "\n"


def machine(facts: dict[str, Any]) -> str:
    """Return what it was measured on."""
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['cpu_capability']}, "
        f"{facts['system']}, torch {facts['torch']}; load {facts['load']} at the start. Times are "
        "processor milliseconds of one thread, so that other programs change them little; ratios "
        "are those of this one run."
    )


def scans(report: Report) -> str:
    """Return the table of back ends."""
    errors = {row["backend"]: row for row in report["errors"]}
    heads = ("L", "d", "n", "back end", "forward", "loop takes", "backward", "loop takes")
    heads += ("error", "of gradients", "largest tensor / L d n")
    rows = []
    for row in report["scans"]:
        error = errors[row["backend"]]
        rows.append(
            (
                *(row["size"][k] for k in ("tokens", "channels", "states")),
                row["backend"],
                f"{1e3 * row['forward_s']:.1f} ms",
                f"{row['forward_ratio']:.0f} x",
                f"{1e3 * row['backward_s']:.1f} ms",
                f"{row['backward_ratio']:.0f} x",
                f"{error['value']:.0e}",
                f"{error['gradient']:.0e}",
                f"{row['largest_share']:.2f}",
            )
        )
    return table(heads, rows)


def others(report: Report) -> str:
    """Return what three orders in one call, tied rates and two threads are worth."""
    fusion, two = report["fusion"], report["two_threads"]
    tied = ""
    if "tied" in report:
        tied = f"Tied decay rates: {report['tied']['ratio']:.1f} times as fast. "
    return (
        f"Three scan orders of a grid, walked in place: {1e3 * fusion['fused_s']:.0f} ms; the same "
        f"kernel on permuted copies: {1e3 * fusion['copies_s']:.0f} ms, {fusion['ratio']:.1f} "
        f"times as long. {tied}Two threads instead of one: {two['ratio']:.2f} times as fast by the "
        "clock on the wall, which means little on a busy computer, for "
        f"{two['work_ratio']:.2f} times the work. Errors are root mean squares against double "
        "precision, with steps up to 16."
    )


def networks(report: Report) -> str:
    """Return where a network's time goes."""
    heads = ("network", "patch", "s per patch", "convolutions", "scans", "rest of RVM", "rest")
    rows = []
    for row in report["networks"]:
        parts = (row[name] / row["total_s"] for name in ("conv_s", "scan_s", "rest_of_rvm_s"))
        shares = [f"{100 * part:.0f} %" for part in (*parts, row["rest_s"] / row["total_s"])]
        patch = "x".join(map(str, row["patch_vox"]))
        rows.append((row["name"], patch, f"{row['total_s']:.2f}", *shares))
    return table(heads, rows)


def case(row: dict[str, Any]) -> str:
    """Return what a whole case takes, and what it takes the slow way."""
    memory = "" if row["gigabytes"] is None else f" and at most {row['gigabytes']:.1f} GB"
    slow = row["slow"]
    if slow["wall_s"] is None:
        run = "one was measured and the others projected"
        took, times = f"{slow['cpu_s']:.0f} s of processors", f"{row['ratio']:.0f}"
    else:
        run = "all were run"
        took = f"{slow['wall_s']:.0f} s ({slow['cpu_s']:.0f} s of processors)"
        times = f"{row['wall_ratio']:.0f} ({row['ratio']:.0f})"
    return (
        f"A whole CT of the chest (`lidc0001`): {row['wall_s']:.0f} s by the clock on the wall, "
        f"{row['cpu_s']:.0f} s of processors{memory}. The fine network slid over all of it with "
        f"the loop as its scan, {slow['windows']} windows, of which {run}: {took}, {times} times "
        "as long."
    )


def table(heads: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """Return a table as README.md has them."""
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:])
