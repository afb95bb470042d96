"""``spinemamba stress``: how often the level solver names made-up spines right."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from spinemamba.cli.console import say, table
from spinemamba.cli.names import add_overwrite
from spinemamba.cli.numbers import seed, whole
from spinemamba.common.atomic_files import check_place, whole_or_nothing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--seed", type=seed, default=0, help="another seed, other spines")
    parser.add_argument(
        "--count", type=whole(1, 10**9), default=200, help="spines per noise (%(default)s)"
    )
    parser.add_argument(
        "--centres",
        type=Path,
        metavar="CSV",
        help="also real chains from this table of annotated centres",
    )
    parser.add_argument("--json", type=Path, help="also write the shares into this file")
    parser.add_argument("--plot", type=Path, help="also draw how true the probabilities are")
    add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Solve the chains of every noise and print the shares."""
    from spinemamba.benchmark.level_solver import rates, solve, write_plot
    from spinemamba.benchmark.simulated_chains import NOISES, real_chains, simulate_chains

    for path in filter(None, (args.json, args.plot)):
        check_place(path, overwrite=args.overwrite)
    sets = {name: simulate_chains(noise, args.seed, args.count) for name, noise in NOISES.items()}
    if args.centres:
        for name, noise in NOISES.items():
            sets[f"{name}, real chains"] = real_chains(args.centres, noise, args.seed)
    answers, rows, shares = {}, [], {}
    for name, cases in sets.items():
        answers[name] = found = solve(cases)
        shares[name] = asdict(rates(found))
        slowest = max(a.seconds for a in found)
        rows.append([name, *(_percent(v) for v in shares[name].values()), f"{1000 * slowest:.0f}"])
    say(
        table(
            (
                "noise",
                "whole spines right",
                "crops with an anchor",
                "without",
                "wrong ones of these called ambiguous",
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
