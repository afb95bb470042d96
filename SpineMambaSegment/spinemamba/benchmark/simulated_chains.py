"""Simulated chains of vertebrae with known levels, a benchmark for the level solver.

There are no images, only the input of the solver: centres, volumes and level probabilities. The
chains contain variants (11 or 13 thoracic, 4 or 6 lumbar vertebrae), block vertebrae, and errors of
networks: missed vertebrae, false instances, and level probabilities that are blurred, biased along
the chain, or shifted by one level. The noise "realistic" has the strength that was measured for the
starter model on phantoms outside its training data; "weak" and "strong" are half and double.
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
"""Additional levels of a spine, and missing levels."""

FAULTS = (*["none"] * 8, "fused", "missed", "spurious", "above", "below")
"""Errors of the instances; five of thirteen chains have one.

"spurious" is a false instance between two vertebrae, "above" one beyond the upper end (skull, rib
or shoulder), "below" one at the sacrum or beyond the lower end (pelvis or rib).
"""

_SHOWN_AS = {"T13": "T12", "L6": "L5"}

_PLAIN = (NETWORK_LEVELS.index("C3"), NETWORK_LEVELS.index("L5"))
"""First and last level without a distinct shape."""

_DISTRACTOR_ML = {"above": (3.0, 15.0), "below": (1.5, 20.0)}
"""Range of volumes of a false instance beyond an end of the chain."""

_DISTRACTOR_STEP = (0.6, 1.3)
"""Range of its distance to the last vertebra, relative to the usual distance of neighbours."""

_CROP_LEVELS = (3, 8)
_CENTRE_NOISE_MM = 1.5
_SIZE_SPREAD = 0.08
_DISTINCT_WIDTH = 0.5
"""Standard deviation of the level probabilities of a level with a distinct shape."""


@dataclass(frozen=True)
class Noise:
    """Errors of the level probabilities, in levels.

    Attributes:
        width: Standard deviation of the level probabilities of one vertebra.
        bias: Standard deviation of a bias that changes slowly along the chain.
        jitter: Standard deviation of an independent error of each vertebra.
        shifted: Probability of a shift of all level probabilities by one level, per direction.
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
class SimulatedChain:
    """One simulated chain.

    Attributes:
        variant: One of `VARIANTS`.
        fault: One of `FAULTS`.
        whole: Whether the complete spine is in view.
        truth: Correct names of each instance; None means not a vertebra.
        items: Input of the solver, top to bottom.
    """

    variant: str
    fault: str
    whole: bool
    truth: tuple[tuple[str | None, ...], ...]
    items: tuple[Instance, ...]

    @property
    def anchored(self) -> bool:
        """Whether a level with a distinct shape is in view."""
        return any(name in DISTINCT for names in self.truth for name in names)


def simulate_chains(noise: Noise, seed: int = 0, count: int = 200) -> list[SimulatedChain]:
    """Return chains, half of them complete, with all combinations of variants and faults."""
    rng = np.random.default_rng(seed)
    rare = list(VARIANTS)[1:]
    cases = []
    for k in range(count):
        # One in five spines has a variant, more than in reality.
        variant = rare[k // 5 % len(rare)] if k % 5 == 4 else "usual"
        cases.append(_case(variant, FAULTS[k // 2 % len(FAULTS)], k % 2 == 0, noise, rng))
    return cases


def real_chains(path: Path, noise: Noise, seed: int = 0) -> list[SimulatedChain]:
    """Return chains at the positions of real vertebrae, with simulated level probabilities.

    Args:
        path: CSV with the columns case, label, x_lr_mm, y_posterior_mm and z_superior_mm: VerSe
            label values and annotated centres.
        noise: Errors of level probabilities and positions.
        seed: Seed of the noise.

    Raises:
        UserError: If the file is not a table with these columns (INPUT_BAD).
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
        items = _chain(list(names), np.array(centres), rng.normal(1.0, _SIZE_SPREAD), noise, rng)
        truth = tuple((name,) for name in names)
        cases.append(SimulatedChain("real", "none", False, truth, _numbered(items)))
    return cases


def _case(
    variant: str, fault: str, whole: bool, noise: Noise, rng: np.random.Generator
) -> SimulatedChain:
    more, less = VARIANTS[variant]
    names = [n for n in NAMES if (n not in RARE or n in more) and n not in less]
    if not whole:
        count = int(rng.integers(_CROP_LEVELS[0], _CROP_LEVELS[1] + 1))
        # Half of the crops start or end with the end of the spine.
        ends = (0, len(names) - count)
        inner = int(rng.integers(2, len(names) - count))
        first = int(rng.choice(ends)) if rng.uniform() < 0.5 else inner
        names = names[first : first + count]
    size = rng.normal(1.0, _SIZE_SPREAD)
    items = _chain(names, _line(names, size, rng), size, noise, rng)
    truth: list[tuple[str | None, ...]] = [(name,) for name in names]
    inner = int(rng.integers(1, len(names) - 1)) if len(names) > 2 else 0
    if fault == "missed":
        del items[inner], truth[inner]
    if fault == "fused" and names[inner + 1] != "Sacrum":
        upper, lower = items[inner], items.pop(inner + 1)
        volume_ml = 0.95 * (upper.volume_ml + lower.volume_ml)
        items[inner] = _between(
            upper, lower, np.add(upper.level_probabilities, lower.level_probabilities), volume_ml
        )
        truth[inner : inner + 2] = [(names[inner], names[inner + 1])]
    if fault == "spurious":
        probabilities = rng.dirichlet(np.full(len(NETWORK_LEVELS), 0.5))
        items.insert(
            inner, _between(items[inner - 1], items[inner], probabilities, rng.uniform(1.5, 8))
        )
        truth.insert(inner, (None,))
    if fault in _DISTRACTOR_ML:
        index = 0 if fault == "above" else len(items) - items[-1].is_sacrum
        neighbour = items[0] if fault == "above" else items[index - 1]
        items.insert(index, _distractor(fault, neighbour, noise.width, rng))
        truth.insert(index, (None,))
    return SimulatedChain(variant, fault, whole, tuple(truth), _numbered(items))


def _numbered(items: list[Instance]) -> tuple[Instance, ...]:
    return tuple(replace(item, id=k) for k, item in enumerate(items, start=1))


def _line(names: list[str], size: float, rng: np.random.Generator) -> np.ndarray:
    """Return simulated centres from head to sacrum in LPS millimetres, (n, 3)."""
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
    """Return instances at centres (n, 3), with noise of centres, volumes, level probabilities."""
    shift = rng.choice([-1, 0, 1], p=[noise.shifted, 1 - 2 * noise.shifted, noise.shifted])
    bias = _slow(len(names), rng) * noise.bias
    items = []
    for k, name in enumerate(names):
        level, width = NETWORK_LEVELS.index(_SHOWN_AS.get(name, name)), _DISTINCT_WIDTH
        if name not in DISTINCT:
            level = level + shift + bias[k] + rng.normal() * noise.jitter
            # Levels without a distinct shape are never confused with those that have one.
            level = np.clip(level, *_PLAIN)
            width = noise.width
        centre = rng.normal(centres[k], _CENTRE_NOISE_MM)
        volume_ml = size**3 * usual_volume_ml(name) * np.exp(0.15 * rng.normal())
        sacrum = name == "Sacrum"
        items.append(Instance(0, tuple(centre), volume_ml, _gaussian(level, width), sacrum, ()))
    return items


def _slow(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return an autoregressive series along the chain with unit variance."""
    out = [rng.normal()]
    for _ in range(count - 1):
        out.append(0.9 * out[-1] + np.sqrt(1 - 0.9**2) * rng.normal())
    return np.array(out)


def _distractor(
    fault: str, neighbour: Instance, width: float, rng: np.random.Generator
) -> Instance:
    """Return a false instance beyond an end of a chain, with the next level or that of the end.

    Networks have no class for skull and pelvis, and give them the nearest levels.

    Args:
        fault: "above" or "below".
        neighbour: Vertebra at that end.
        width: Standard deviation of the level probabilities of a vertebra, in levels.
        rng: Random generator.
    """
    down = 1 if fault == "below" else -1
    level = int(np.argmax(neighbour.level_probabilities)) + down * rng.uniform(0, 1)
    blurred = width + rng.uniform(0, 1)
    probabilities = _gaussian(float(np.clip(level, 0, len(NETWORK_LEVELS) - 1)), blurred)
    step_mm = 25.0 * (neighbour.volume_ml / 30.0) ** (1 / 3) * rng.uniform(*_DISTRACTOR_STEP)
    aside_mm = rng.normal(0.0, 8.0, 2)
    centre = np.add(neighbour.centroid_lps_mm, (*aside_mm, -down * step_mm))
    volume_ml = rng.uniform(*_DISTRACTOR_ML[fault])
    return Instance(0, tuple(map(float, centre)), volume_ml, probabilities, False, ())


def _gaussian(level: float, width: float) -> tuple[float, ...]:
    """Return Gaussian level probabilities; ``level`` is an index into `NETWORK_LEVELS`."""
    probabilities = np.exp(-0.5 * ((np.arange(len(NETWORK_LEVELS)) - level) / width) ** 2)
    return tuple(probabilities / probabilities.sum())


def _between(a: Instance, b: Instance, probabilities: np.ndarray, volume_ml: float) -> Instance:
    """Return an instance halfway between two vertebrae; ``probabilities`` is normalised."""
    centre = np.add(a.centroid_lps_mm, b.centroid_lps_mm) / 2
    return Instance(
        0, tuple(centre), volume_ml, tuple(probabilities / probabilities.sum()), False, ()
    )
