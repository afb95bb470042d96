"""Made-up chains of vertebrae with known names: a hard test for the level solver.

No images: only what the solver sees, which is centres, volumes of evidence and the rare things that
happen in patients (11 or 13 thoracic, 4 or 6 lumbar vertebrae, block vertebrae) and in networks
(a vertebra that was missed, an instance that is none, evidence that is blurred, biased along the
chain, or off by one level throughout). The strengths of the noise are those that the starter
model showed on phantoms that it had not learned from ("realistic"), half and double.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.instances import Instance
from spinemamba.labels import NETWORK_LEVELS
from spinemamba.level_evidence import DISTINCT
from spinemamba.level_priors import STEP_MM
from spinemamba.level_steps import NAMES, RARE

VARIANTS = {
    "usual": ((), ()),
    "T11 only": ((), ("T12",)),
    "T13": (("T13",), ()),
    "L4 only": ((), ("L5",)),
    "L6": (("L6",), ()),
}
"""Levels that a spine has besides the usual ones, and usual ones that it lacks."""

FAULTS = ("none", "none", "none", "fused", "missed", "spurious")
SHOWN_AS = {"T13": "T12", "L6": "L5"}

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
    cases = []
    for k in range(count):
        # Two in three spines are usual, as far as counts go; the others share the rest.
        variant = list(VARIANTS)[1 + k // 2 % (len(VARIANTS) - 1)] if k % 6 >= 4 else "usual"
        cases.append(_case(variant, FAULTS[k // 6 % len(FAULTS)], k % 2 == 0, noise, rng))
    return cases


def _case(
    variant: str, fault: str, whole: bool, noise: Noise, rng: np.random.Generator
) -> StressCase:
    more, less = VARIANTS[variant]
    names = [n for n in NAMES if (n not in RARE or n in more) and n not in less]
    if not whole:
        count = int(rng.integers(CROP_LEVELS[0], CROP_LEVELS[1] + 1))
        first = int(rng.integers(0, len(names) - count + 1))
        names = names[first : first + count]
    items = _chain(names, noise, rng)
    truth: list[tuple[str | None, ...]] = [(name,) for name in names]
    inner = int(rng.integers(1, len(names) - 1)) if len(names) > 2 else 0
    if fault == "missed":
        del items[inner], truth[inner]
    if fault == "fused" and names[inner + 1] != "Sacrum":
        upper, lower = items[inner], items.pop(inner + 1)
        items[inner] = _between(upper, lower, np.add(upper.evidence, lower.evidence) / 2)
        truth[inner : inner + 2] = [(names[inner], names[inner + 1])]
    if fault == "spurious":
        nothing = rng.dirichlet(np.full(len(NETWORK_LEVELS), 0.5))
        items.insert(inner, _between(items[inner - 1], items[inner], nothing))
        truth.insert(inner, (None,))
    numbered = (
        Instance(k, i.centroid_lps_mm, i.volume_ml, i.evidence, i.is_sacrum, i.cut_sides)
        for k, i in enumerate(items, start=1)
    )
    return StressCase(variant, fault, whole, tuple(truth), tuple(numbered))


def _chain(names: list[str], noise: Noise, rng: np.random.Generator) -> list[Instance]:
    size = rng.normal(1.0, SIZE_SPREAD)
    shift = rng.choice([-1, 0, 1], p=[noise.shifted, 1 - 2 * noise.shifted, noise.shifted])
    bias = _slow(len(names), rng) * noise.bias
    height_mm, items = 0.0, []
    for k, name in enumerate(names):
        if k:
            mean_mm, spread_mm = STEP_MM.get((names[k - 1], name), (33.0, 3.0))
            height_mm -= size * rng.normal(mean_mm, spread_mm)
        place, width = NETWORK_LEVELS.index(SHOWN_AS.get(name, name)), DISTINCT_WIDTH
        if name not in DISTINCT:
            place = place + shift + bias[k] + rng.normal() * noise.jitter
            width = noise.width
        centre = rng.normal((0.0, 0.0, height_mm), CENTRE_NOISE_MM)
        evidence = np.exp(-0.5 * ((np.arange(len(NETWORK_LEVELS)) - place) / width) ** 2)
        evidence = tuple(evidence / evidence.sum())
        items.append(Instance(0, tuple(centre), 30.0, evidence, name == "Sacrum", ()))
    return items


def _slow(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random walk along the chain that stays of unit variance."""
    out = [rng.normal()]
    for _ in range(count - 1):
        out.append(0.9 * out[-1] + np.sqrt(1 - 0.9**2) * rng.normal())
    return np.array(out)


def _between(a: Instance, b: Instance, evidence: np.ndarray) -> Instance:
    centre = np.add(a.centroid_lps_mm, b.centroid_lps_mm) / 2
    return Instance(0, tuple(centre), 30.0, tuple(evidence / evidence.sum()), False, ())
