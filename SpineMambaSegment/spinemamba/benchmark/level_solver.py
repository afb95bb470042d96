"""Accuracy and calibration of the level solver on chains with known levels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from spinemamba.benchmark.simulated_chains import SimulatedChain
from spinemamba.levels.solve import assign_levels

_SURE = 0.9
_BINS = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True)
class SolverResult:
    """Result of the solver for a chain.

    Attributes:
        case: Simulated chain.
        right: Whether all names are correct.
        posterior: Posterior probability of the labeling.
        ambiguous: Whether the solver reported the labeling as in doubt.
        seconds: Run time.
    """

    case: SimulatedChain
    right: bool
    posterior: float
    ambiguous: bool
    seconds: float


@dataclass(frozen=True)
class Rates:
    """Shares over many chains; NaN if no chain is of the kind.

    Attributes:
        whole: Share of complete spines with all names correct.
        anchored: The same for crops with C1, C2 or the sacrum.
        free: The same for crops without these.
        flagged: Share of wrong labelings without an anchor that are reported as in doubt.
        sure: Share of labelings with a posterior of at least 0.9 that are correct.
    """

    whole: float
    anchored: float
    free: float
    flagged: float
    sure: float


def solve(cases: Iterable[SimulatedChain]) -> list[SolverResult]:
    """Run the level solver on every chain."""
    results = []
    for case in cases:
        started = time.perf_counter()
        solution = assign_levels(case.items)
        seconds = time.perf_counter() - started
        pairs = zip(solution.best[0].names, case.truth, strict=True)
        right = all(name in names for name, names in pairs)
        results.append(
            SolverResult(case, right, solution.best[0].posterior, solution.ambiguous, seconds)
        )
    return results


def rates(answers: list[SolverResult]) -> Rates:
    """Return accuracy and calibration over many chains."""

    def share(group: Callable[[SolverResult], bool], hit: Callable[[SolverResult], bool]) -> float:
        hits = [hit(a) for a in answers if group(a)]
        return float(np.mean(hits)) if hits else float("nan")

    def is_right(answer: SolverResult) -> bool:
        return answer.right

    return Rates(
        whole=share(lambda a: a.case.whole, is_right),
        anchored=share(lambda a: not a.case.whole and a.case.anchored, is_right),
        free=share(lambda a: not a.case.anchored, is_right),
        flagged=share(lambda a: not a.right and not a.case.anchored, lambda a: a.ambiguous),
        sure=share(lambda a: a.posterior >= _SURE, is_right),
    )


def write_plot(answers: dict[str, list[SolverResult]], path: Path) -> None:
    """Plot the share of correct labelings against their posterior, one line per noise.

    Args:
        answers: Results by name of the noise.
        path: PNG or SVG file to write.
    """
    figure = Figure(figsize=(5.2, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#9aa4af", linewidth=1, linestyle="--")
    for name, results in answers.items():
        posterior = np.array([a.posterior for a in results])
        right = np.array([a.right for a in results])
        index = np.digitize(posterior, _BINS[1:-1])
        bins = [k for k in range(len(_BINS) - 1) if (index == k).sum()]
        means = [(posterior[index == k].mean(), right[index == k].mean()) for k in bins]
        sizes = [12 + 2.0 * float((index == k).sum()) for k in bins]
        x, y = np.array(means).T
        (line,) = axes.plot(x, y, linewidth=1.2, label=f"{name} ({len(results)} chains)")
        axes.scatter(x, y, s=sizes, color=line.get_color(), alpha=0.7)
    axes.set_xlabel("posterior of the labeling")
    axes.set_ylabel("share of chains with all names correct")
    axes.set_title("Size of dots: number of chains", fontsize=9, color="#57606a")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.02, 1.05)
    axes.grid(color="#e6e9ed")
    axes.legend(loc="upper left", frameon=False)
    figure.savefig(path, dpi=130)
