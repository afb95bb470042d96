"""``spinemamba simulate-levels``: accuracy of the level solver on simulated spines."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from spinemamba.cli.arguments import add_former_option, add_overwrite, seed, whole_number
from spinemamba.cli.console import print_line, table
from spinemamba.common.atomic_files import check_place, whole_or_nothing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--seed", type=seed, default=0, help="random seed (%(default)s)")
    parser.add_argument(
        "--count",
        type=whole_number(1, 10**9),
        default=200,
        help="spines per noise level (%(default)s)",
    )
    parser.add_argument(
        "--centroids",
        type=Path,
        metavar="CSV",
        help="also test real spines, from this table of annotated vertebral centroids",
    )
    add_former_option(parser, "--centres", "--centroids", type=Path)
    parser.add_argument("--json", type=Path, help="also write the shares into this file")
    parser.add_argument("--plot", type=Path, help="also draw a calibration plot")
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Solve the chains of every noise level and print the shares that are right."""
    from spinemamba.benchmark.level_solver import rates, solve, write_plot
    from spinemamba.benchmark.simulated_chains import NOISES, real_chains, simulate_chains

    for path in filter(None, (args.json, args.plot)):
        check_place(path, overwrite=args.overwrite)
    sets = {name: simulate_chains(noise, args.seed, args.count) for name, noise in NOISES.items()}
    if args.centroids:
        for name, noise in NOISES.items():
            sets[f"{name}, real chains"] = real_chains(args.centroids, noise, args.seed)
    answers, rows, shares = {}, [], {}
    for name, cases in sets.items():
        answers[name] = solved = solve(cases)
        shares[name] = asdict(rates(solved))
        slowest = max(a.seconds for a in solved)
        rows.append([name, *(_percent(v) for v in shares[name].values()), f"{1000 * slowest:.0f}"])
    print_line(
        table(
            (
                "noise",
                "whole spines right",
                "crops with an anchor",
                "without",
                "of these, wrong ones in doubt",
                "right if p >= 0.9",
                "slowest ms",
            ),
            rows,
        )
    )
    if args.json:
        with whole_or_nothing(args.json) as partial:
            values = {"seed": args.seed, "count": args.count, "shares": shares}
            partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    if args.plot:
        with whole_or_nothing(args.plot) as partial:
            write_plot(answers, partial)
    return 0


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.0f}%"
