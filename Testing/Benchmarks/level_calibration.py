"""Measure how often labelings are right, and how far their probabilities can be trusted.

``python Testing/Benchmarks/run.py level_calibration --out DIR`` draws chains of vertebrae as a
training of the level network does, with missed, merged, doubled and foreign instances, from
phantoms and, with ``--data-list`` or ``--data``, from labelled cases. The level network of a model
reads them, and the level solver names them. A labeling is right if all its names are. The
phantoms' seeds are not those of a training unless its ``--phantoms`` exceeds `FIRST_SEED`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.cli.training.data_arguments import add_data_arguments, choose_data, data_recipe
from spinemamba.inference.model import load_model
from spinemamba.instances.find import Instance
from spinemamba.levels.solve import LevelSolution, assign_levels
from spinemamba.network.level_sequence import NO_VERTEBRA, LevelSequenceNet, neighbour_gaps
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.protocol.result import Witnesses
from spinemamba.training.data.gather import gather_cases
from spinemamba.training.levels.crops import ExampleOptions, LevelExample, draw_example
from spinemamba.training.levels.spines import SPACING_MM, Spine, spine_of
from spinemamba.training.recipe import DataRecipe
from spinemamba.training.synthesis.options import MOSTLY_CT

FIRST_SEED = 5000
BINS = (0.0, 0.5, 0.75, 0.9, 0.95, 1.0)
_VERTEBRA_CHANNEL = 2
"""Channel of the crops with the mask of the vertebra."""

_LEAST_VOLUME_ML = 1.5


def main(words: list[str]) -> int:
    """Measure and print; return 1 if fewer than 90 % of the labelings above 0.9 are right."""
    parser = argparse.ArgumentParser("level_calibration", description=__doc__)
    add_data_arguments(parser)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--chains", type=int, default=200)
    parser.add_argument("--model", default=DEFAULT)
    args = parser.parse_args(words)
    network = load_model(find_model(args.model), torch.device("cpu")).levels
    if network is None:
        parser.error(f"The model {args.model} has no level network.")
    solutions = list(_solutions(network, _spines(args), args))
    right = np.array([is_right for is_right, _ in solutions])
    return table([solution for _, solution in solutions], right)


def table(solutions: list[LevelSolution], right: np.ndarray) -> int:
    """Print how many labelings are right, by probability and by grade of doubt.

    Args:
        solutions: One for each chain.
        right: Whether its names are right, bool (chains,).

    Returns:
        1 if fewer than 90 % of the labelings with a probability above 0.9 are right, else 0.
    """
    sure = np.array([solution.best[0].posterior for solution in solutions])
    doubt = np.array([solution.doubt for solution in solutions])
    for low, high in pairwise(BINS):
        inside = (sure >= low) & ((sure < high) | (high == BINS[-1]))
        say(f"probability {low:4.2f} to {high:4.2f}", inside, right)
    for grade in ("none", "likely", "check_level"):
        say(f"doubt: {grade:15}", doubt == grade, right)
    say("all" + 19 * " ", np.ones(len(right), bool), right)
    proven = right[sure >= 0.9]
    return int(bool(len(proven)) and proven.mean() < 0.9)


def _spines(args: argparse.Namespace) -> list[Spine]:
    """Return the spines of the cases that the arguments name."""
    data = data_recipe(args, DataRecipe())
    sources, _ = choose_data(args, data, args.seed, _print, ("levels", 1))
    cases, _ = gather_cases(sources, SPACING_MM, _print)
    found = [spine_of(case.opened()) for case in cases]
    return [spine for spine in found if spine is not None]


def _solutions(
    network: LevelSequenceNet, spines: list[Spine], args: argparse.Namespace
) -> Iterator[tuple[bool, LevelSolution]]:
    """Yield whether the labeling of each chain is right, and the solution."""
    generator = torch.Generator().manual_seed(args.seed)
    for k in range(args.chains):
        options = ExampleOptions(synthesis=MOSTLY_CT)
        example = draw_example(spines[k % len(spines)], options, generator)
        solution = assign_levels(_instances(network, example))
        yield _is_right(solution, example), solution


@torch.inference_mode()
def _instances(network: LevelSequenceNet, example: LevelExample) -> tuple[Instance, ...]:
    """Return the instances of a chain with what the network reads."""
    logits = network(example.crops, neighbour_gaps(example.centres_mm))
    levels = torch.softmax(logits.levels.double(), dim=1)
    witnesses = torch.sigmoid(logits.witnesses.double())
    volumes_ml = example.crops[:, _VERTEBRA_CHANNEL].sum(dim=(1, 2, 3)) * SPACING_MM**3 / 1000
    return tuple(
        Instance(
            k + 1,
            tuple(example.centres_mm[k].flip(0).tolist()),
            max(float(volumes_ml[k]), _LEAST_VOLUME_ML),
            tuple(levels[k, :NO_VERTEBRA].tolist()),
            bool(example.levels[k, NETWORK_LEVELS.index("Sacrum")] == 1),
            (),
            float(levels[k, NO_VERTEBRA]),
            Witnesses(*witnesses[k].tolist()),
        )
        for k in range(len(levels))
    )


def _is_right(solution: LevelSolution, example: LevelExample) -> bool:
    """Return whether each name is possible: one of two for a merged or a halved vertebra."""
    shown = {"T13": "T12", "L6": "L5"}
    channels = [
        NO_VERTEBRA if name is None else NETWORK_LEVELS.index(shown.get(name, name))
        for name in solution.best[0].names
    ]
    return all(example.levels[k, channel] > 0 for k, channel in enumerate(channels))


def say(what: str, chosen: np.ndarray, right: np.ndarray) -> None:
    """Print the number of chosen chains, and the share of them whose names are right."""
    share = f"{right[chosen].mean():.2f}" if chosen.any() else "   -"
    _print(f"{what}  {int(chosen.sum()):4d} chains, right {share}")


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
