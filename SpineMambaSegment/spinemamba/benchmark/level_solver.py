"""How the level solver does on chains with known names, and whether its probabilities are true."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from spinemamba.benchmark.simulated_chains import StressCase
from spinemamba.levels.solve import assign_levels

SURE = 0.9
BINS = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True)
class Answer:
    """What the solver said of a chain.

    Attributes:
        case: The chain.
        right: Whether all its names are right.
        posterior: Probability that the solver gave to its answer.
        ambiguous: Whether the solver called its answer ambiguous.
        seconds: How long it took.
    """

    case: StressCase
    right: bool
    posterior: float
    ambiguous: bool
    seconds: float


@dataclass(frozen=True)
class Rates:
    """Shares over many chains; NaN where there is none of the kind.

    Attributes:
        whole: Of whole spines, all names right.
        anchored: The same of crops that show C1, C2 or the sacrum.
        free: The same of crops that show none of these.
        flagged: Of the wrong answers without an anchor, those called ambiguous.
        sure: Of the answers with a probability of at least 0.9, those that are right.
    """

    whole: float
    anchored: float
    free: float
    flagged: float
    sure: float


def solve(cases: Iterable[StressCase]) -> list[Answer]:
    """Let the solver name every chain."""
    answers = []
    for case in cases:
        started = time.perf_counter()
        solution = assign_levels(case.items)
        seconds = time.perf_counter() - started
        pairs = zip(solution.best[0].names, case.truth, strict=True)
        right = all(name in names for name, names in pairs)
        answers.append(Answer(case, right, solution.best[0].posterior, solution.ambiguous, seconds))
    return answers


def rates(answers: list[Answer]) -> Rates:
    """Return the shares that say how good the solver is."""

    def share(wanted: Callable[[Answer], bool], of: Callable[[Answer], bool]) -> float:
        chosen = [of(a) for a in answers if wanted(a)]
        return float(np.mean(chosen)) if chosen else float("nan")

    def is_right(answer: Answer) -> bool:
        return answer.right

    return Rates(
        whole=share(lambda a: a.case.whole, is_right),
        anchored=share(lambda a: not a.case.whole and a.case.anchored, is_right),
        free=share(lambda a: not a.case.anchored, is_right),
        flagged=share(lambda a: not a.right and not a.case.anchored, lambda a: a.ambiguous),
        sure=share(lambda a: a.posterior >= SURE, is_right),
    )


def write_plot(answers: dict[str, list[Answer]], path: Path) -> None:
    """Draw how often answers of each announced probability are right, one line per noise.

    Args:
        answers: By the name of the noise.
        path: PNG or SVG to write.
    """
    figure = Figure(figsize=(5.2, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#9aa4af", linewidth=1, linestyle="--")
    for name, found in answers.items():
        announced = np.array([a.posterior for a in found])
        right = np.array([a.right for a in found])
        place = np.digitize(announced, BINS[1:-1])
        kept = [k for k in range(len(BINS) - 1) if (place == k).sum()]
        means = [(announced[place == k].mean(), right[place == k].mean()) for k in kept]
        sizes = [12 + 2.0 * float((place == k).sum()) for k in kept]
        x, y = np.array(means).T
        (line,) = axes.plot(x, y, linewidth=1.2, label=f"{name} ({len(found)} chains)")
        axes.scatter(x, y, s=sizes, color=line.get_color(), alpha=0.7)
    axes.set_xlabel("announced probability of the names")
    axes.set_ylabel("share of chains with all names right")
    axes.set_title("Dots grow with the number of chains", fontsize=9, color="#57606a")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.02, 1.05)
    axes.grid(color="#e6e9ed")
    axes.legend(loc="upper left", frameon=False)
    figure.savefig(path, dpi=130)
