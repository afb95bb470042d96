"""``spinemamba train-levels``: train the network that reads the vertebrae as a sequence."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from spinemamba.cli.arguments import add_place_arguments, whole_number
from spinemamba.cli.console import print_line
from spinemamba.cli.train import add_step_arguments, prepare_process
from spinemamba.cli.training.data_arguments import add_data_arguments, choose_data, data_recipe
from spinemamba.common.errors import Code, UserError

if TYPE_CHECKING:
    from spinemamba.training.execution import Execution
    from spinemamba.training.levels.loop import LevelTrainer

_STEPS = 4000
"""Default steps of the whole schedule."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_data_arguments(parser)
    add_step_arguments(parser, _STEPS)
    parser.add_argument(
        "--workers", type=whole_number(1, 256), default=1, help="processes that make cases (1)"
    )
    add_place_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train until the steps are used up; a second call resumes from the checkpoint.

    Raises:
        UserError: If there are no cases, or the training cannot run.
    """
    from spinemamba.common.locks import try_lock
    from spinemamba.training.execution import joined_processes
    from spinemamba.training.interruption import TimeLimit

    limit = TimeLimit(args.time_limit)
    prepare_process(args)
    with joined_processes(args.device, compiled=False) as execution:
        if execution.processes > 1:
            raise UserError(
                f"torchrun has started {execution.processes} processes; the level network trains "
                "in one.",
                "Start the command without torchrun.",
                Code.INPUT_BAD,
            )
        args.out.mkdir(parents=True, exist_ok=True)
        with try_lock(args.out / "training.lock", "training"):
            trainer = _trainer(args, execution)
            if trainer.resume(args.out):
                print_line(f"resuming at step {trainer.step}")
            precision = trainer.options.precision
            print_line(f"device {execution.device}, convolutions in {precision}")
            trainer.run(args.out, print_line, limit)
    return 0


def _trainer(args: argparse.Namespace, execution: Execution) -> LevelTrainer:
    """Return the training described by the arguments.

    Raises:
        UserError: If no case has two complete vertebrae, or the device does not support the
            precision (INPUT_BAD).
    """
    from spinemamba.network.level_sequence import TRAINED_LEVELS
    from spinemamba.training.data.gather import gather_cases
    from spinemamba.training.execution import training_precision
    from spinemamba.training.levels.crops import ExampleOptions
    from spinemamba.training.levels.loop import LevelTrainer, LevelTrainOptions
    from spinemamba.training.levels.spines import SPACING_MM, spine_of
    from spinemamba.training.recipe import DataRecipe
    from spinemamba.training.synthesis.options import MOSTLY_CT

    data = data_recipe(args, DataRecipe())
    sources, _ = choose_data(args, data, args.seed or 0, print_line, ("levels", args.workers))
    cases, weights = gather_cases(sources, SPACING_MM, print_line)
    found = [(spine_of(case.opened()), weight) for case, weight in zip(cases, weights, strict=True)]
    usable = [(spine, weight) for spine, weight in found if spine is not None]
    if not usable:
        raise UserError(
            "No case has two complete vertebrae.",
            "Give --data, --prepared, --data-list or --phantoms.",
            Code.INPUT_BAD,
        )
    options = LevelTrainOptions(
        steps=args.steps or _STEPS,
        learning_rate=args.learning_rate or LevelTrainOptions.learning_rate,
        seed=args.seed or 0,
        precision=training_precision(args.precision, execution.device),
        example=ExampleOptions(synthesis=MOSTLY_CT),
    )
    spines, shares = zip(*usable, strict=True)
    return LevelTrainer(TRAINED_LEVELS, list(spines), list(shares), options, execution)
