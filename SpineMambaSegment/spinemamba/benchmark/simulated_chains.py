"""Made-up chains of vertebrae with known names: a hard test for the level solver.

No images: only what the solver sees, which is centres, volumes of evidence and the rare things that
happen in patients (11 or 13 thoracic, 4 or 6 lumbar vertebrae, block vertebrae) and in networks
(a vertebra that was missed, an instance that is none, evidence that is blurred, biased along the
chain, or off by one level throughout). The strengths of the noise are those that the starter
model showed on phantoms that it had not learned from ("realistic"), half and double.
"""

from __future__ import annotations

import csv
import itertools
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spinemamba.anatomy.labels import BY_VALUE, NETWORK_LEVELS, ORDER, RARE
from spinemamba.anatomy.statistics import STEP_MM, usual_volume_ml
from spinemamba.benchmark.distractors import PIECE_ML, bell, between, piece
from spinemamba.common.errors import Code, UserError
from spinemamba.instances.find import Instance
from spinemamba.levels.emissions import DISTINCT
from spinemamba.levels.transitions import NAMES

VARIANTS = {
    "usual": ((), ()),
    "T11 only": ((), ("T12",)),
    "T13": (("T13",), ()),
    "L4 only": ((), ("L5",)),
    "L6": (("L6",), ()),
}
"""Levels that a spine has besides the usual ones, and usual ones that it lacks."""

FAULTS = (*["none"] * 8, "fused", "missed", "spurious", "above", "below")
"""What went wrong before the solver; five in thirteen chains have a fault.

"spurious" is a piece between two vertebrae; "above" one of the skull over C1, of a rib or shoulder
over other levels; "below" one of the pelvis at the sacrum, of a rib under other levels.
"""

SHOWN_AS = {"T13": "T12", "L6": "L5"}

PLAIN = (NETWORK_LEVELS.index("C3"), NETWORK_LEVELS.index("L5"))
"""First and last level without a shape of its own."""

CROP_LEVELS = (3, 8)
CENTRE_NOISE_MM = 1.5
SIZE_SPREAD = 0.08
DISTINCT_WIDTH = 0.5
"""Spread of the evidence of a level that looks like no other."""


@dataclass(frozen=True)
class Noise:
    """How far evidence is from the truth, in levels.

    Attributes:
        width: Standard deviation of the evidence of one vertebra.
        bias: Standard deviation of a bias that changes slowly along the chain.
        jitter: Standard deviation of an error of each vertebra alone.
        shifted: How often all evidence is off by one level, to either side.
    """

    width: float
    bias: float
    jitter: float
    shifted: float


NOISES = {
    "weak": Noise(0.8, 0.2, 0.1, 0.02),
    "realistic": Noise(1.0, 0.4, 0.2, 0.05),
    "strong": Noise(1.5, 0.8, 0.4, 0.1),
}


@dataclass(frozen=True)
class StressCase:
    """One chain.

    Attributes:
        variant: Which of `VARIANTS`.
        fault: Which of `FAULTS`.
        whole: Whether the whole spine is in view.
        truth: For each instance the names that are right; None stands for no vertebra.
        items: What the solver sees, top to bottom.
    """

    variant: str
    fault: str
    whole: bool
    truth: tuple[tuple[str | None, ...], ...]
    items: tuple[Instance, ...]

    @property
    def anchored(self) -> bool:
        """Whether a level of a shape of its own is in view."""
        return any(name in DISTINCT for names in self.truth for name in names)


def stress_cases(noise: Noise, seed: int = 0, count: int = 200) -> list[StressCase]:
    """Return seeded chains, half of them whole; every variant with every fault in turn."""
    rng = np.random.default_rng(seed)
    rare = list(VARIANTS)[1:]
    cases = []
    for k in range(count):
        # One in five spines has unusual counts, more than in real life.
        variant = rare[k // 5 % len(rare)] if k % 5 == 4 else "usual"
        cases.append(_case(variant, FAULTS[k // 2 % len(FAULTS)], k % 2 == 0, noise, rng))
    return cases


def real_chains(path: Path, noise: Noise, seed: int = 0) -> list[StressCase]:
    """Return chains at the places of real vertebrae, with made-up evidence.

    Args:
        path: CSV with the columns case, label, x_lr_mm, y_posterior_mm and z_superior_mm: VerSe's
            label values and annotated centres.
        noise: Of evidence and places.
        seed: Of the noise.

    Raises:
        UserError: If the file is not such a table (INPUT_BAD).
    """
    chains: defaultdict[str, list[tuple[str, list[float]]]] = defaultdict(list)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                centre = [float(row[key]) for key in ("x_lr_mm", "y_posterior_mm", "z_superior_mm")]
                chains[row["case"]].append((BY_VALUE[int(row["label"])].name, centre))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path.name} is not a table of centres: {error}.",
            "Give a CSV with the columns case, label, x_lr_mm, y_posterior_mm, z_superior_mm.",
            Code.INPUT_BAD,
        ) from error
    rng, cases = np.random.default_rng(seed), []
    for chain in chains.values():
        names, centres = zip(*sorted(chain, key=lambda entry: ORDER[entry[0]]), strict=True)
        items = _chain(list(names), np.array(centres), rng.normal(1.0, SIZE_SPREAD), noise, rng)
        truth = tuple((name,) for name in names)
        cases.append(StressCase("real", "none", False, truth, _numbered(items)))
    return cases


def _case(
    variant: str, fault: str, whole: bool, noise: Noise, rng: np.random.Generator
) -> StressCase:
    more, less = VARIANTS[variant]
    names = [n for n in NAMES if (n not in RARE or n in more) and n not in less]
    if not whole:
        count = int(rng.integers(CROP_LEVELS[0], CROP_LEVELS[1] + 1))
        # Every other crop begins or ends with a level of a shape of its own.
        ends = (0, len(names) - count)
        inner = int(rng.integers(2, len(names) - count))
        first = int(rng.choice(ends)) if rng.uniform() < 0.5 else inner
        names = names[first : first + count]
    size = rng.normal(1.0, SIZE_SPREAD)
    items = _chain(names, _line(names, size, rng), size, noise, rng)
    truth: list[tuple[str | None, ...]] = [(name,) for name in names]
    inner = int(rng.integers(1, len(names) - 1)) if len(names) > 2 else 0
    if fault == "missed":
        del items[inner], truth[inner]
    if fault == "fused" and names[inner + 1] != "Sacrum":
        upper, lower = items[inner], items.pop(inner + 1)
        volume_ml = 0.95 * (upper.volume_ml + lower.volume_ml)
        items[inner] = between(upper, lower, np.add(upper.evidence, lower.evidence), volume_ml)
        truth[inner : inner + 2] = [(names[inner], names[inner + 1])]
    if fault == "spurious":
        nothing = rng.dirichlet(np.full(len(NETWORK_LEVELS), 0.5))
        items.insert(inner, between(items[inner - 1], items[inner], nothing, rng.uniform(1.5, 8)))
        truth.insert(inner, (None,))
    if fault in PIECE_ML:
        at = 0 if fault == "above" else len(items) - items[-1].is_sacrum
        beside = items[0] if fault == "above" else items[at - 1]
        items.insert(at, piece(fault, beside, noise.width, rng))
        truth.insert(at, (None,))
    return StressCase(variant, fault, whole, tuple(truth), _numbered(items))


def _numbered(items: list[Instance]) -> tuple[Instance, ...]:
    return tuple(replace(item, id=k) for k, item in enumerate(items, start=1))


def _line(names: list[str], size: float, rng: np.random.Generator) -> np.ndarray:
    """Return made-up centres from head to tail in LPS millimetres, (n, 3)."""
    heights = [0.0]
    for pair in itertools.pairwise(names):
        heights.append(heights[-1] - size * rng.normal(*STEP_MM.get(pair, (33.0, 3.0))))
    centres = np.zeros((len(names), 3))
    centres[:, 2] = heights
    return centres


def _chain(
    names: list[str],
    centres: np.ndarray,
    size: float,
    noise: Noise,
    rng: np.random.Generator,
) -> list[Instance]:
    """Return instances at places (n, 3), with noisy places, volumes and evidence."""
    shift = rng.choice([-1, 0, 1], p=[noise.shifted, 1 - 2 * noise.shifted, noise.shifted])
    bias = _slow(len(names), rng) * noise.bias
    items = []
    for k, name in enumerate(names):
        place, width = NETWORK_LEVELS.index(SHOWN_AS.get(name, name)), DISTINCT_WIDTH
        if name not in DISTINCT:
            place = place + shift + bias[k] + rng.normal() * noise.jitter
            # What has no shape of its own is never taken for what has.
            place = np.clip(place, *PLAIN)
            width = noise.width
        centre = rng.normal(centres[k], CENTRE_NOISE_MM)
        volume_ml = size**3 * usual_volume_ml(name) * np.exp(0.15 * rng.normal())
        sacrum = name == "Sacrum"
        items.append(Instance(0, tuple(centre), volume_ml, bell(place, width), sacrum, ()))
    return items


def _slow(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random walk along the chain that stays of unit variance."""
    out = [rng.normal()]
    for _ in range(count - 1):
        out.append(0.9 * out[-1] + np.sqrt(1 - 0.9**2) * rng.normal())
    return np.array(out)
