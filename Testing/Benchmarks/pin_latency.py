"""Measure the time of the level solver after a level is pinned.

``python Testing/Benchmarks/run.py pin_latency`` solves simulated complete spines of 25 to 27
vertebrae with and without a pin, and prints processor milliseconds, which other programs hardly
affect. The limit is 100 ms. The search over likely states is compared with the search over all
states, in time and result.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np

from spinemamba.benchmark.simulated_chains import (
    NOISES,
    SimulatedChain,
    simulate_chains,
)
from spinemamba.levels.model import LevelOptions, SpineModel
from spinemamba.levels.solve import assign_levels

LIMIT_MS = 100.0
LEAST_COUNT = 25
BEST = 5


def main(words: list[str]) -> int:
    """Measure; return 1 if a chain exceeds the limit."""
    argparse.ArgumentParser("pin_latency", description=__doc__).parse_args(words)
    cases = [c for c in simulate_chains(NOISES["realistic"]) if len(c.items) >= LEAST_COUNT]
    assign_levels(cases[0].items)
    free = [_ms(lambda c=case: assign_levels(c.items)) for case in cases]
    pinned = [_ms(lambda c=case: assign_levels(c.items, _pin(c))) for case in cases]
    _say("without a pin", free)
    _say("with a pin", pinned)
    pruned, full = LevelOptions(), LevelOptions(least_state_posterior=0.0)
    chains = [[SpineModel(case.items, {}, o) for o in (pruned, full)] for case in cases]
    likely = [_ms(lambda c=chain: c.ranked(BEST)) for chain, _ in chains]
    every = [_ms(lambda c=chain: c.ranked(BEST)) for _, chain in chains]
    _say(f"search over states likelier than {pruned.least_state_posterior:g}", likely)
    _say("search over all states", every)
    same = sum(chain.ranked(1) == whole.ranked(1) for chain, whole in chains)
    sys.stdout.write(f"same best names: {same} of {len(chains)}\n")
    return int(max(*free, *pinned) > LIMIT_MS)


def _pin(case: SimulatedChain) -> dict[int, str]:
    """Return a pin of the middle vertebra to its true level."""
    named = [k for k, names in enumerate(case.truth, start=1) if names != (None,)]
    number = named[len(named) // 2]
    return {number: str(case.truth[number - 1][0])}


def _ms(work: Callable[[], object]) -> float:
    """Return the processor milliseconds of a function."""
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def _say(what: str, times_ms: list[float]) -> None:
    median, most = np.median(times_ms), np.max(times_ms)
    sys.stdout.write(f"{what}: {len(times_ms)} chains, median {median:.1f}, most {most:.1f} ms\n")
