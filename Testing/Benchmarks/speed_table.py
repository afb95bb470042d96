"""Write the results of ``spinemamba bench --json`` into the page of benchmarks.

``python Testing/Benchmarks/run.py speed_table bench.json`` stores the numbers as
Resources/speed.json and rewrites the sections *speed* and *sizes*; without an argument it uses the
stored numbers.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import Any

import generate

from spinemamba.cli.bench import FUSION_SIDE
from spinemamba.network.config import SIZES
from spinemamba.network.size import network_size

_TABLE_TOKENS = 32768
"""Length of the scans in the table; the stored file has other lengths as well."""

PAGE = generate.DOCS / "benchmarks.md"
STORED = generate.REPOSITORY / "Resources" / "speed.json"

Report = dict[str, Any]


def main(words: list[str]) -> int:
    """Store new numbers, if any, and write the tables."""
    parser = argparse.ArgumentParser("speed_table", description=__doc__)
    parser.add_argument("report", nargs="?", type=Path, help="output of 'spinemamba bench --json'")
    if path := parser.parse_args(words).report:
        report = json.loads(path.read_text(encoding="utf-8"))
        STORED.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    text = generate.with_section(text, "sizes", sizes())
    text = generate.with_section(text, "speed", section())
    PAGE.write_text(text, encoding="utf-8", newline="\n")
    return 0


def sizes() -> str:
    """Return the table of the named network sizes."""
    heads = ("network", "patch", "parameters", "multiply-adds", "of these in scans")
    rows = []
    for name, config in SIZES.items():
        size = network_size(config)
        cells = (f"{size.parameters / 1e6:.2f} M", f"{size.macs / 1e9:.1f} G")
        patch = "x".join(map(str, config.patch_vox))
        rows.append((name, patch, *cells, f"{size.scan_macs / 1e9:.2f} G"))
    return generate.table(heads, rows)


def section() -> str:
    """Return the tables of measured times."""
    report = json.loads(STORED.read_text(encoding="utf-8"))
    parts = [computer(report["machine"])]
    tables = (back_ends, tied_rates_and_threads, scan_orders, network_shares)
    parts += [table(report) for table in tables]
    if "case" in report:
        parts.append(whole_case(report["case"]))
    return "\n\n".join(map(wrapped, parts)) + "\n"


def wrapped(part: str) -> str:
    """Return Markdown with prose wrapped at 120 characters; tables are unchanged."""
    paragraphs = part.split("\n\n")
    return "\n\n".join(p if p.startswith("|") else textwrap.fill(p, 120) for p in paragraphs)


def computer(facts: dict[str, Any]) -> str:
    """Return a description of the computer and of the times."""
    return (
        f"{facts['processor']}, {facts['cores']} cores, {facts['cpu_capability']}, "
        f"{facts['system']}, torch {facts['torch']}; load {facts['load']} at the start. Times are "
        "CPU milliseconds of one thread, which other programs affect little. Columns *loop* say "
        "how many times as long the reference loop takes."
    )


def back_ends(report: Report) -> str:
    """Return the table of back ends, for `_TABLE_TOKENS` if several lengths were measured."""
    errors = {row["backend"]: row for row in report["errors"]}
    heads = ("L", "d", "n", "back end", "forward", "loop", "backward", "loop")
    heads += ("error", "gradient error", "largest tensor / L d n")
    rows = []
    shown = [row for row in report["scans"] if row["size"]["tokens"] == _TABLE_TOKENS]
    for row in shown or report["scans"]:
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
    return generate.table(heads, rows).rstrip()


def scan_orders(report: Report) -> str:
    """Return the table of three scan orders: in one call, and on copies."""
    heads = ("three orders", "one call", "copies of permuted views", "copies by token index")
    rows = []
    for row in report["fusion"]:
        ratios = (row[name] / row["fused_s"] for name in ("permuted_s", "indexed_s"))
        cells = (f"{ratio:.1f} x" for ratio in ratios)
        rows.append((row["orders"], f"{1e3 * row['fused_s']:.0f} ms", *cells))
    text = (
        f"Three scan orders of a grid of {FUSION_SIDE}^3 tokens, d 128, n 16: in place in one "
        "call, and the same kernel on copies (times relative to the call):"
    )
    return text + "\n\n" + generate.table(heads, rows).rstrip()


def tied_rates_and_threads(report: Report) -> str:
    """Return the gain by tied decay rates and by a second thread."""
    two, tied = report["two_threads"], report["tied"]
    return (
        f"Tied decay rates: {tied['ratio']:.1f} times as fast. Two threads instead of one: "
        f"{two['ratio']:.2f} times as fast in wall-clock time, with {two['work_ratio']:.2f} times "
        "the CPU time. Errors are root mean squares against double precision, with step sizes up "
        "to 16."
    )


def network_shares(report: Report) -> str:
    """Return the shares of a network's time."""
    heads = ("network", "patch", "s per patch", "convolutions", "scans", "rest of RVM", "rest")
    rows = []
    for row in report["networks"]:
        parts = (row[name] / row["total_s"] for name in ("conv_s", "scan_s", "rest_of_rvm_s"))
        shares = [f"{100 * part:.0f} %" for part in (*parts, row["rest_s"] / row["total_s"])]
        patch = "x".join(map(str, row["patch_vox"]))
        rows.append((row["name"], patch, f"{row['total_s']:.2f}", *shares))
    return generate.table(heads, rows).rstrip()


def whole_case(row: dict[str, Any]) -> str:
    """Return time and memory of a whole case, and the time with the reference loop."""
    memory = "" if row["gigabytes"] is None else f" and at most {row['gigabytes']:.1f} GB"
    slow = row["slow"]
    if slow["wall_s"] is None:
        run = "one was measured and the others are projected"
        took, times = f"{slow['cpu_s']:.0f} s of CPU time", f"{row['ratio']:.0f}"
    else:
        run = "all were run"
        took = f"{slow['wall_s']:.0f} s ({slow['cpu_s']:.0f} s of CPU time)"
        times = f"{row['wall_ratio']:.0f} ({row['ratio']:.0f})"
    return (
        f"A whole CT of the chest (`lidc0001`) takes {row['wall_s']:.0f} s of wall-clock time, "
        f"{row['cpu_s']:.0f} s of CPU time{memory}. The fine network over the whole image with the "
        f"loop as its scan ({slow['windows']} windows, of which {run}) takes {took}, {times} times "
        "as long."
    )
