"""``spinemamba train-levels``: train the network that reads the vertebrae as a sequence."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from spinemamba.cli.arguments import positive_number, seed, threads, whole_number
from spinemamba.cli.console import print_line
from spinemamba.cli.training.data_arguments import add_data_arguments, choose_data, data_recipe
from spinemamba.common.errors import Code, UserError

if TYPE_CHECKING:
    from spinemamba.training.levels.loop import LevelTrainer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_data_arguments(parser)
    parser.add_argument(
        "--steps", type=whole_number(1, 10**9), default=4000, help="steps of the whole schedule"
    )
    parser.add_argument(
        "--learning-rate", type=positive_number(1.0), default=1e-3, help="peak value (%(default)s)"
    )
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--threads", type=threads, default=0, help="CPU threads (default: all)")


def run(args: argparse.Namespace) -> int:
    """Train until the steps are used up; a second call resumes from the checkpoint."""
    import torch

    from spinemamba.common.locks import try_lock
    from spinemamba.common.process_tuning import keep_freed_memory

    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    with try_lock(args.out / "training.lock", "training"):
        trainer = _trainer(args)
        if trainer.resume(args.out):
            print_line(f"resuming at step {trainer.step}")
        trainer.run(args.out, print_line)
    return 0


def _trainer(args: argparse.Namespace) -> LevelTrainer:
    """Return the training described by the arguments.

    Raises:
        UserError: If no case has two complete vertebrae (INPUT_BAD).
    """
    import torch

    from spinemamba.inference.precision import has_bfloat16
    from spinemamba.network.level_sequence import LevelNetworkConfig
    from spinemamba.training.data.gather import gather_cases
    from spinemamba.training.levels.loop import LevelTrainer, LevelTrainOptions
    from spinemamba.training.levels.spines import SPACING_MM, spine_of
    from spinemamba.training.recipe import DataRecipe

    data = data_recipe(args, DataRecipe())
    sources, _ = choose_data(args, data, args.seed, print_line)
    cases, weights = gather_cases(sources, SPACING_MM, print_line)
    found = [(spine_of(case), weight) for case, weight in zip(cases, weights, strict=True)]
    usable = [(spine, weight) for spine, weight in found if spine is not None]
    if not usable:
        raise UserError(
            "No case has two complete vertebrae.",
            "Give --data, --data-list or --phantoms.",
            Code.INPUT_BAD,
        )
    options = LevelTrainOptions(
        steps=args.steps,
        learning_rate=args.learning_rate,
        seed=args.seed,
        bfloat16=has_bfloat16(torch.device("cpu")),
    )
    spines, shares = zip(*usable, strict=True)
    return LevelTrainer(LevelNetworkConfig(), list(spines), list(shares), options)
