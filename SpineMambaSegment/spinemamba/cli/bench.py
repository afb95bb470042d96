"""``spinemamba bench``: speed and accuracy of scans and networks on this computer."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from spinemamba.cli.arguments import add_former_option, add_overwrite
from spinemamba.cli.console import print_line, table

_TOKENS, _CHANNELS, _STATES = (4096, 32768, 110592), (64, 128, 256), (8, 16)
QUICK = ((4096, 64, 8), (32768, 128, 16), (32768, 256, 16))
FUSION_SIDE = 48
"""Tokens along each axis of the grid for the comparison of scan orders."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--quick", action="store_true", help="fewer sizes, less than a minute")
    parser.add_argument(
        "--size",
        type=_size,
        action="append",
        metavar="L,d,n",
        help="tokens, channels and states to measure instead; may be repeated",
    )
    parser.add_argument("--case", type=Path, metavar="IMAGE", help="also segment a whole image")
    parser.add_argument(
        "--sliding-window",
        action="store_true",
        help="with --case: also run a sliding window over the whole image with the reference "
        "scan; takes minutes",
    )
    add_former_option(parser, "--slide", "--sliding-window", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers here")
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Measure and print the tables."""
    from spinemamba.common.process_tuning import keep_freed_memory

    keep_freed_memory()
    from spinemamba.benchmark.machine import machine
    from spinemamba.common.atomic_files import check_place

    if args.json:
        check_place(args.json, overwrite=args.overwrite)

    report: dict[str, Any] = {"machine": machine(), "quick": args.quick}
    print_line(", ".join(f"{name} {value}" for name, value in report["machine"].items()))
    sizes = args.size or list(_sizes(args.quick))
    parts = [_backends, _errors, _networks, _fusion, lambda quick: _scans(sizes)]
    if args.case:
        # First, because peak memory is that of the process, including earlier measurements.
        parts.insert(1, lambda quick: _case(args.case, args.sliding_window))
    for part in parts:
        report |= part(args.quick)
        if args.json:  # after every part, so that an interruption loses little
            _write(report, args.json)
    if args.json:
        print_line(f"Wrote {args.json}")
    return 0


def _write(report: dict[str, Any], path: Path) -> None:
    from spinemamba.common.atomic_files import whole_or_nothing

    with whole_or_nothing(path) as partial:
        partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _backends(quick: bool) -> dict[str, Any]:
    from spinemamba.selective_scan.dispatch import available_backends, describe_backend

    print_line(f"\nScan in use on the CPU: {describe_backend('cpu')}")
    states = available_backends("cpu")
    print_line(table(("back end", "state"), [[name, state] for name, state in states.items()]))
    return {"backend": describe_backend("cpu"), "backends": states}


def _sizes(quick: bool) -> Iterator[tuple[int, int, int]]:
    return iter(QUICK) if quick else product(_TOKENS, _CHANNELS, _STATES)


def _size(text: str) -> tuple[int, int, int]:
    tokens, channels, states = map(int, text.split(","))
    return tokens, channels, states


def _scans(sizes: list[tuple[int, int, int]]) -> dict[str, Any]:
    from spinemamba.benchmark.scans import Size, measure_scans

    print_line("\nOne thread, milliseconds, speed-up over the reference, largest tensor / (L d n)")
    rows = list(measure_scans([Size(*size) for size in sizes], 3))
    heads = ("L", "d", "n", "back end", "forward", "ratio", "backward", "ratio", "largest")
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
            f"{row.largest_share:.3f}",
        ]
        for row in rows
    ]
    print_line(table(heads, cells))
    return {"scans": [asdict(row) for row in rows]}


def _errors(quick: bool) -> dict[str, Any]:
    from spinemamba.benchmark.scans import LARGEST_STEP, Size, measure_errors

    print_line(f"\nRoot mean square error against double precision, steps up to {LARGEST_STEP:.0f}")
    rows = measure_errors(Size(512 if quick else 2048, 64, 16))
    cells = [[row.backend, f"{row.value:.1e}", f"{row.gradient:.1e}"] for row in rows]
    print_line(table(("back end", "values", "gradients"), cells))
    return {"errors": [asdict(row) for row in rows]}


def _fusion(quick: bool) -> dict[str, Any]:
    from spinemamba.benchmark.scan_orders import measure_fusion, measure_threads, measure_tied
    from spinemamba.benchmark.scans import Size

    repeats = 3 if quick else 7
    rows = measure_fusion(FUSION_SIDE, 128, repeats)
    if rows:
        print_line(f"\nThree orders of {FUSION_SIDE}^3 tokens, d = 128, n = 16, one thread")
        heads = ("orders", "one call ms", "permuted copies", "indexed copies")
        cells = [
            [row.orders, f"{1e3 * row.fused_s:.1f}", *(f"{ratio:.1f}x" for ratio in row.ratios)]
            for row in rows
        ]
        print_line(table(heads, cells))
    tied = measure_tied(Size(32768, 128, 16), repeats)
    if tied:
        print_line(f"Tied decay rates: {tied['ratio']:.1f} times as fast as independent ones")
    two = measure_threads(Size(32768, 128, 16), repeats)
    if two:
        print_line(
            f"Two threads instead of one: {two['ratio']:.2f} times as fast (wall clock), "
            f"{two['work_ratio']:.2f} times the CPU time"
        )
    return {"fusion": [asdict(row) for row in rows], "tied": tied, "two_threads": two}


def _networks(quick: bool) -> dict[str, Any]:
    from spinemamba.benchmark.networks import configurations, measure_networks

    print_line("\nSeconds per patch, one thread")
    rows = list(measure_networks(configurations(quick), 2))
    heads = ("network", "patch", "total", "conv", "scan", "rest of RVM", "rest", "RVM")
    cells = []
    for row in rows:
        parts = (row.total_s, row.conv_s, row.scan_s, row.rest_of_rvm_s, row.rest_s)
        patch, share = "x".join(map(str, row.patch_vox)), f"{100 * row.rvm_share:.0f}%"
        cells.append([row.name, patch, *(f"{value:.3f}" for value in parts), share])
    print_line(table(heads, cells))
    return {"networks": [asdict(row) | {"rvm_share": row.rvm_share} for row in rows]}


def _case(path: Path, slide: bool) -> dict[str, Any]:
    from spinemamba.benchmark.whole_case import measure_case

    row = measure_case(path, slide)
    memory = "" if row.gigabytes is None else f", {row.gigabytes:.1f} GB"
    slow = row.slow
    wall = "" if slow.wall_s is None else f"{slow.wall_s:.0f} s, {row.wall_ratio:.0f} times; "
    print_line(
        f"\nA whole case: {row.wall_s:.0f} s ({row.cpu_s:.0f} s of CPU time){memory}.\n"
        f"Sliding window of the fine network over the whole image with the reference scan, "
        f"{slow.windows_run} of {slow.windows} windows measured: {wall}{slow.cpu_s:.0f} s of CPU "
        f"time, {row.ratio:.0f} times"
    )
    return {"case": asdict(row)}
