"""``spinemamba bench``: how fast and how exact the scans and the networks are here."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from spinemamba.cli.console import say, table

TOKENS, CHANNELS, STATES = (4096, 32768), (64, 128, 256), (8, 16)
QUICK = ((4096, 64, 8), (32768, 128, 16))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--quick", action="store_true", help="two sizes only, about a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there, too")


def run(args: argparse.Namespace) -> int:
    """Print the tables."""
    from spinemamba.memory import keep_freed_memory

    keep_freed_memory()
    from spinemamba.bench.machine import machine

    report: dict[str, Any] = {"machine": machine(), "quick": args.quick}
    say(", ".join(f"{name} {value}" for name, value in report["machine"].items()))
    for part in (_backends, _scans, _errors, _fusion, _networks):
        report |= part(args.quick)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        say(f"Wrote {args.json}")
    return 0


def _backends(quick: bool) -> dict[str, Any]:
    from spinemamba.scan import available_backends, describe_backend

    say(f"\nScan in use on the CPU: {describe_backend('cpu')}")
    states = available_backends("cpu")
    say(table(("back end", "state"), [[name, state] for name, state in states.items()]))
    return {"backend": describe_backend("cpu"), "backends": states}


def _sizes(quick: bool) -> Iterator[tuple[int, int, int]]:
    return iter(QUICK) if quick else product(TOKENS, CHANNELS, STATES)


def _scans(quick: bool) -> dict[str, Any]:
    from spinemamba.bench.scans import Size, measure_scans

    say("\nOne thread, milliseconds, and times faster than the loop")
    rows = list(measure_scans([Size(*size) for size in _sizes(quick)], 3 if quick else 5))
    heads = ("L", "d", "n", "back end", "forward", "ratio", "backward", "ratio")
    cells = [
        [
            str(row.size.tokens),
            str(row.size.channels),
            str(row.size.states),
            row.backend,
            f"{1e3 * row.forward_s:.2f}",
            f"{row.forward_ratio:.1f}",
            f"{1e3 * row.backward_s:.2f}",
            f"{row.backward_ratio:.1f}",
        ]
        for row in rows
    ]
    say(table(heads, cells))
    return {"scans": [asdict(row) for row in rows]}


def _errors(quick: bool) -> dict[str, Any]:
    from spinemamba.bench.scans import LARGEST_STEP, Size, measure_errors

    say(f"\nRoot mean square error against double precision, steps up to {LARGEST_STEP:.0f}")
    rows = measure_errors(Size(512 if quick else 2048, 64, 16))
    cells = [[row.backend, f"{row.value:.1e}", f"{row.gradient:.1e}"] for row in rows]
    say(table(("back end", "values", "gradients"), cells))
    return {"errors": [asdict(row) for row in rows]}


def _fusion(quick: bool) -> dict[str, Any]:
    from spinemamba.bench.scans import Size, measure_fusion, measure_threads

    repeats = 3 if quick else 7
    fusion = measure_fusion(32, 128, repeats)
    if fusion:
        say(
            f"\nThree orders of 32^3 tokens, d = 128, n = 16, one thread: "
            f"{1e3 * fusion['fused_s']:.1f} ms in one call, {1e3 * fusion['copies_s']:.1f} ms "
            f"with permuted copies ({fusion['ratio']:.1f} times)"
        )
    two = measure_threads(Size(32768, 128, 16), repeats)
    if two:
        say(f"Two threads instead of one: {two['ratio']:.2f} times as fast")
    return {"fusion": fusion, "two_threads": two}


def _networks(quick: bool) -> dict[str, Any]:
    from spinemamba.bench.networks import measure_networks

    say("\nSeconds per patch of the starter model, all threads")
    rows = list(measure_networks("starter", 2 if quick else 5))
    heads = ("network", "patch", "total", "conv", "scan", "rest of RVM", "rest")
    cells = [
        [
            row.name,
            "x".join(map(str, row.patch_vox)),
            *(
                f"{value:.3f}"
                for value in (row.total_s, row.conv_s, row.scan_s, row.rest_of_rvm_s, row.rest_s)
            ),
        ]
        for row in rows
    ]
    say(table(heads, cells))
    return {"networks": [asdict(row) for row in rows]}
