"""Measure how far the probabilities of levels can be trusted in MR.

``python Testing/Benchmarks/run.py mr_level_calibration --out DIR`` draws parts of spines as a
training of the coarse network does: windows at random places with random fields of view, of painted
phantoms and, with ``--centres`` or ``--data-list``, of MR volumes with centres and of labelled
cases, as MR. The coarse network of a model predicts cores and levels, the bodies are separated on
its grid, and the level solver names them. The fine network has a fifth of the weight of levels in
a whole run, and is left out. A labeling is right if the names of all bodies are; windows whose
lowest body is not lumbar are left out, because the model is for the lumbar spine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from level_calibration import FIRST_SEED, say, table

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.cli.training.data_arguments import add_data_arguments, choose_data, data_recipe
from spinemamba.imaging.resample import crop_geometry
from spinemamba.imaging.volume import Box, Geometry
from spinemamba.inference.model import LoadedNetwork, load_model
from spinemamba.inference.predict import predict
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.find import Instances, find_instances
from spinemamba.levels.model import level_options
from spinemamba.levels.solve import LevelSolution, assign_levels
from spinemamba.protocol.model_card import find_model
from spinemamba.training.data.case_store import StoredCase
from spinemamba.training.data.dataset import IGNORE_INDEX
from spinemamba.training.data.gather import gather_cases
from spinemamba.training.data.patches import Patch, PatchOptions, draw_patch
from spinemamba.training.recipe import DataRecipe
from spinemamba.training.synthesis.options import MR_ONLY
from spinemamba.training.synthesis.paint import paint

SPACING_MM = 2.0
"""Voxel spacing of the cases, at which phantoms can be painted."""

SHOWN = {"T13": "T12", "L6": "L5"}
_FIRST_LUMBAR = NETWORK_LEVELS.index("L1")
_SACRUM = NETWORK_LEVELS.index("Sacrum")


@dataclass(frozen=True)
class Chain:
    """The bodies of one window.

    Attributes:
        instances: As separated from the predictions.
        levels: True level of each instance, as index in `NETWORK_LEVELS`; None if not known.
    """

    instances: Instances
    levels: tuple[int | None, ...]

    @property
    def has_sacrum(self) -> bool:
        """Whether the sacrum was found."""
        return any(item.is_sacrum for item in self.instances.items)

    def is_right(self, solution: LevelSolution) -> bool:
        """Return whether each body whose level is known has its name."""
        names = (SHOWN.get(name, name) for name in solution.best[0].names)
        return all(
            level is None or name == NETWORK_LEVELS[level]
            for name, level in zip(names, self.levels, strict=True)
        )


def main(words: list[str]) -> int:
    """Measure and print; return 1 if fewer than 90 % of the labelings above 0.9 are right."""
    parser = argparse.ArgumentParser("mr_level_calibration", description=__doc__)
    add_data_arguments(parser)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--chains", type=int, default=200)
    parser.add_argument("--model", default="starter-mr")
    args = parser.parse_args(words)
    coarse = load_model(find_model(args.model)).coarse
    chains = list(draw_chains(coarse, gather(args), args.seed, args.chains))
    solutions = [assign_levels(c.instances.items, options=level_options("mr")) for c in chains]
    right = np.array([c.is_right(s) for c, s in zip(chains, solutions, strict=True)])
    sacrum = np.array([chain.has_sacrum for chain in chains])
    for words_, chosen in (("with a sacrum", sacrum), ("without a sacrum", ~sacrum)):
        say(f"{words_:23}", chosen, right)
    return table(solutions, right)


def gather(args: argparse.Namespace) -> list[StoredCase]:
    """Return the cases that the arguments name."""
    data = data_recipe(args, DataRecipe())
    sources, _ = choose_data(args, data, args.seed, lambda text: None, ("coarse", 1))
    return gather_cases(sources, SPACING_MM, lambda text: None)[0]


def draw_chains(
    coarse: LoadedNetwork, cases: list[StoredCase], seed: int, count: int
) -> Iterator[Chain]:
    """Yield chains of windows of the cases in turn."""
    generator = torch.Generator().manual_seed(seed)
    options = PatchOptions(
        coarse.patch_vox, coarse.spacing_mm, turn_deg=8, scale=(0.9, 1.1), narrow=0.8
    )
    tries = found = 0
    while found < count and tries < 20 * count:
        case = cases[tries % len(cases)].opened()
        tries += 1
        patch = draw_patch(case, options, generator)
        target = patch.target.numpy()
        shown = np.unique(target[(target > 0) & (target != IGNORE_INDEX)]) - 1
        if len(shown) < 2 or shown.max() < _FIRST_LUMBAR:
            continue
        chain = _chain(coarse, patch, paint(patch, generator, MR_ONLY))
        bodies = [level for level in chain.levels if level is not None and level < _SACRUM]
        if len(bodies) >= 2:
            found += 1
            yield chain


def _chain(coarse: LoadedNetwork, patch: Patch, image: torch.Tensor) -> Chain:
    target = patch.target.numpy()
    grid = Geometry(target.shape, (coarse.spacing_mm,) * 3, (0.0, 0.0, 0.0), np.eye(3))
    whole = tuple(slice(0, n) for n in target.shape)
    seen = predict(coarse, image, [whole], lambda stage, fraction: None, "locate")
    view = _view(target)
    inside = np.zeros(target.shape, bool)
    inside[view] = True
    levels = seen.levels.numpy()
    predictions = VoxelPredictions(
        seen.bone.numpy() * inside,
        seen.core.numpy() * inside,
        levels,
        grid,
        levels,
        crop_geometry(grid, view),
    )
    instances = find_instances(predictions)
    return Chain(instances, tuple(_level_of(instances, k, target) for k in instances.items))


def _view(target: np.ndarray) -> Box:
    """Return the box of the voxels whose content is known: the field of view."""
    index = np.argwhere(target != IGNORE_INDEX)
    low, high = index.min(axis=0), index.max(axis=0) + 1
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x


def _level_of(instances: Instances, item: object, target: np.ndarray) -> int | None:
    """Return the level of most voxels of an instance; None if it is not known."""
    inside = target[instances.labels == item.id]
    known = inside[(inside > 0) & (inside != IGNORE_INDEX)]
    if len(known) < 0.3 * len(inside):
        return None
    return int(np.bincount(known).argmax()) - 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
