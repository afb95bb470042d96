"""Write what `spinemamba bench --json` measured into README.md.

``python Testing/Benchmarks/speed_table.py bench.json`` keeps the numbers as Resources/speed.json
and rewrites the section *Speed*; without an argument it writes the section anew from the numbers
that are kept.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import generate

from spinemamba.cli.bench import FUSION_SIDE

SHOWN_TOKENS = 32768
"""Length of the scans in the README's table; the file that is kept has the others, too."""

KEPT = generate.REPOSITORY / "Resources" / "speed.json"

Report = dict[str, Any]


def main(arguments: list[str]) -> None:
    """Keep the numbers, if there are new ones, and write the section."""
    if arguments:
        report = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        KEPT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    text = generate.README.read_text(encoding="utf-8")
    text = generate.with_section(text, "speed", section())
    generate.README.write_text(text, encoding="utf-8", newline="\n")


def section() -> str:
    """Return the section's measured part."""
    report = json.loads(KEPT.read_text(encoding="utf-8"))
    parts = [machine(report["machine"])]
    parts += [part(report) for part in (scans, others, orders, networks)]
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
    """Return the table of back ends, of `SHOWN_TOKENS` where several lengths were measured."""
    errors = {row["backend"]: row for row in report["errors"]}
    heads = ("L", "d", "n", "back end", "forward", "loop takes", "backward", "loop takes")
    heads += ("error", "of gradients", "largest tensor / L d n")
    rows = []
    shown = [row for row in report["scans"] if row["size"]["tokens"] == SHOWN_TOKENS]
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
    return table(heads, rows)


def orders(report: Report) -> str:
    """Return the table of three orders in one call and with copies."""
    heads = ("three orders", "one call", "copies by permuted and flipped views take")
    heads += ("copies by token numbers take",)
    rows = []
    for row in report["fusion"]:
        ratios = (row[name] / row["fused_s"] for name in ("permuted_s", "indexed_s"))
        cells = (f"{ratio:.1f} x" for ratio in ratios)
        rows.append((row["orders"], f"{1e3 * row['fused_s']:.0f} ms", *cells))
    return (
        f"Three scan orders of a grid of {FUSION_SIDE}^3 tokens, d 128, n 16, walked in place in "
        "one call, and with the same kernel on copies:\n\n" + table(heads, rows)
    )


def others(report: Report) -> str:
    """Return what tied rates and two threads are worth."""
    two, tied = report["two_threads"], report["tied"]
    return (
        f"Tied decay rates: {tied['ratio']:.1f} times as fast. Two threads instead of one: "
        f"{two['ratio']:.2f} times as fast by the clock on the wall, which means little on a busy "
        f"computer, for {two['work_ratio']:.2f} times the work. Errors are root mean squares "
        "against double precision, with steps up to 16."
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
