"""Print the errors of measurements on analytic spines on random oblique grids.

``python Testing/Benchmarks/run.py measurement_error [DRAWS] [SPACING ...]`` draws spines of known
geometry (curves of 5 to 60 degrees in both planes, wedges, slips to 10 mm) and prints the errors of
heights, slips and Cobb angles, once for each kind of spacing: ``clinical`` (slices of 1 to 3 mm,
pixels of 0.6 to 1.2 mm), ``mixed`` (0.6 to 3 mm in each direction) and ``coarse`` (3 mm in all).

It also prints lower bounds. Spines of different geometry give identical label maps; half of the
range of a number over these spines is an error that no method can avoid for all of them. ``open``
is the share of numbers for which this bound exceeds the tolerance ("bar"), ``settled`` the share
for which the whole range is within the tolerance, and ``missed`` the number of settled ones with a
larger error.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from measurement_errors import BARS, errors_of


def main(words: list[str]) -> int:
    """Draw spines, measure them and print the table."""
    parser = argparse.ArgumentParser("measurement_error", description=__doc__)
    parser.add_argument("draws", nargs="?", type=int, default=60, help="spines (%(default)s)")
    parser.add_argument("spacing", nargs="*", help="kinds of spacing (all)")
    args = parser.parse_args(words)
    line = "{:9} {:10} {:>5} {:>7} {:>6} {:>6} {:>7} {:>6} {:>8} {:>7}\n"
    heads = ("spacing", "number", "n", "median", "p95", "max", "over", "open", "settled", "missed")
    sys.stdout.write(line.format(*heads))
    for kind in args.spacing or ("clinical", "mixed", "coarse"):
        errors = [error for seed in range(args.draws) for error in errors_of(seed, kind)]
        for what, bar in BARS.items():
            off = np.array([abs(error.off) for error in errors if error.what == what])
            limit = np.array([error.limit() for error in errors if error.what == what])
            settled = 2 * limit <= bar
            shares = ((off > bar).mean(), (limit > bar).mean(), settled.mean())
            sizes = (np.median(off), np.percentile(off, 95), off.max())
            cells = [f"{size:.2f}" for size in sizes] + [f"{100 * s:.0f} %" for s in shares]
            missed = int((settled & (off > bar)).sum())
            sys.stdout.write(line.format(kind, what, len(off), *cells, missed))
    return 0
