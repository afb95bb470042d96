"""``spinemamba train``: prepare the data, and train one of the two networks of voxels."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.cli.arguments import (
    add_execution_arguments,
    positive_number,
    seed,
    threads,
    whole_number,
)
from spinemamba.cli.console import print_line
from spinemamba.cli.training.data_arguments import add_data_arguments, choose_data
from spinemamba.cli.training.recipe_arguments import check_recipe, recipe_of_arguments
from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.model_card import DEFAULT
from spinemamba.training.architectures import KINDS, LAST_PHASE, SIZES, SPACING_MM

if TYPE_CHECKING:
    import torch

    from spinemamba.training.data.case_store import StoredCase
    from spinemamba.training.execution import Execution
    from spinemamba.training.interruption import TimeLimit
    from spinemamba.training.layouts.user_case import UserCase
    from spinemamba.training.loop import Trainer
    from spinemamba.training.recipe import Recipe
    from spinemamba.training.validation.monitor import Monitor

_Report = Callable[[str], None]
_Cases = tuple[list["StoredCase"], list[float]]

_SHEET_PATCHES = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``spinemamba train``."""
    parser.add_argument("network", choices=sorted(SPACING_MM), help="which of the two networks")
    parser.add_argument(
        "--recipe",
        type=Path,
        metavar="FILE",
        help="all settings of the training, see 'spinemamba recipe'; other options change it",
    )
    parser.add_argument(
        "--change-recipe",
        action="store_true",
        help="continue a training with another recipe; without it, that is refused",
    )
    add_data_arguments(parser)
    _add_network(parser)
    _add_schedule(parser)
    _add_validation(parser)
    add_execution_arguments(parser)


def _add_network(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the network, and of the images that it learns from."""
    parser.add_argument(
        "--kind",
        choices=KINDS,
        help="architecture: SpineMamba, an ablation of it, or MONAI's DynUNet (default spinemamba)",
    )
    parser.add_argument(
        "--size",
        choices=SIZES,
        help="size of the starter model, the same with outlines at full resolution, that of the MR "
        "model, or the reconstruction of the paper's (default tiny, or that of --start-from)",
    )
    parser.add_argument("--start-from", metavar="MODEL", help="initialise with a model's weights")
    parser.add_argument(
        "--contrast",
        choices=("any", "ct", "mr"),
        help="contrasts to learn: CT, MR and random ones, CT alone, or sagittal MR (default any)",
    )
    parser.add_argument(
        "--last-phase",
        type=positive_number(1.0),
        metavar="SHARE",
        help="share of the schedule after which real images are learned as they are, without "
        f"changes (default: {LAST_PHASE['fine']} for fine, {LAST_PHASE['coarse']:g} for coarse)",
    )


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the schedule."""
    parser.add_argument(
        "--minutes",
        type=positive_number(1e7),
        help="time of the whole schedule (default: 60, without limit if --steps is given)",
    )
    add_step_arguments(parser, 100_000)


def add_step_arguments(parser: argparse.ArgumentParser, steps: int) -> None:
    """Add the arguments of the steps of a training; ``steps`` is the default of their number."""
    parser.add_argument(
        "--steps",
        type=whole_number(1, 10**9),
        help=f"steps of the whole schedule (default {steps})",
    )
    parser.add_argument(
        "--learning-rate", type=positive_number(1.0), help="peak value (default 0.001)"
    )
    parser.add_argument("--seed", type=seed, help="seed of weights, patches and phantoms (0)")
    parser.add_argument("--threads", type=threads, default=0, help="CPU threads (default: all)")


def _add_validation(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the validation."""
    parser.add_argument(
        "--validate-every",
        type=whole_number(1, 10**9),
        metavar="STEPS",
        help="steps between two validations (default 1000)",
    )
    parser.add_argument(
        "--patience",
        type=whole_number(0, 10**6),
        metavar="N",
        help="end after N validations without a better score (default 0: never)",
    )
    parser.add_argument(
        "--partner",
        default=DEFAULT,
        metavar="MODEL",
        help="model whose other network completes this one in validations (%(default)s)",
    )


def prepare_process(args: argparse.Namespace) -> None:
    """Set up memory and threads of the process for a training."""
    import torch

    from spinemamba.common.process_tuning import keep_freed_memory

    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)


def run(args: argparse.Namespace) -> int:
    """Train until the schedule ends; a second call resumes from the checkpoint.

    Raises:
        UserError: If there are no cases, or the training cannot run.
    """
    import torch

    from spinemamba.training.execution import from_first, joined_processes, workers_of
    from spinemamba.training.interruption import TimeLimit

    limit = TimeLimit(args.time_limit)
    prepare_process(args)
    with joined_processes(args.device, compiled=args.compile) as execution:
        execution = replace(execution, workers=workers_of(args.workers, execution))
        recipe = from_first(lambda: recipe_of_arguments(args), execution)
        try:
            with _folder(args, recipe, execution):
                _train(args, recipe, execution, limit)
        except torch.cuda.OutOfMemoryError as error:
            raise UserError(
                f"The GPU has too little free memory for batches of {recipe.schedule.batch_size}.",
                "Lower --batch-size, and raise --accumulate to keep the size of the steps.",
                Code.OOM_GPU,
            ) from error
    return 0


def _unheard(text: str) -> None:
    """Discard a message: only the first of several processes reports."""


def _folder(
    args: argparse.Namespace, recipe: Recipe, execution: Execution
) -> AbstractContextManager[None]:
    """Return a context in which the first process has locked the folder of the training."""
    from spinemamba.training.folder import working_in

    if not execution.is_first:
        return nullcontext()
    return working_in(args.out, recipe.network, recipe.kind)


def _train(
    args: argparse.Namespace, recipe: Recipe, execution: Execution, limit: TimeLimit
) -> None:
    """Gather the cases, train, and evaluate the result."""
    from spinemamba.training.execution import from_first
    from spinemamba.training.folder import SHEET
    from spinemamba.training.monitoring import write_contact_sheet
    from spinemamba.training.recipe import write_recipe

    report = print_line if execution.is_first else _unheard
    cases, validation = from_first(lambda: _gathered(args, recipe), execution)
    trainer = _trainer(args, recipe, cases, execution, report)
    monitor = None
    if execution.is_first:
        monitor = _monitor(args, recipe, validation, execution.device)
        monitor.resume(trainer.step)
        write_contact_sheet(trainer.examples(_SHEET_PATCHES), args.out / SHEET)
        write_recipe(recipe, args.out)
    report(f"preview of the training patches: {args.out / SHEET}")
    exhausted = from_first(lambda: monitor.exhausted, execution)
    if exhausted or trainer.done >= 1:
        why = "its validations no longer improve" if exhausted else "its schedule is over"
        report(f"nothing to train at step {trainer.step}: {why}")
        return
    trainer.run(args.out, report, limit, None if monitor is None else monitor.after_step)
    if monitor is not None and (trainer.done >= 1 or monitor.exhausted):
        _finish(args, trainer, monitor)


def _finish(args: argparse.Namespace, trainer: Trainer, monitor: Monitor) -> None:
    """Evaluate the result, and say what comes next."""
    monitor.finish(trainer)
    print_line(
        f"done at step {trainer.step} after {trainer.seconds / 60:.1f} min; make a model with: "
        f"spinemamba pack MODEL --{args.network} {args.out} ..."
    )


def _gathered(args: argparse.Namespace, recipe: Recipe) -> tuple[_Cases, tuple[UserCase, ...]]:
    """Return the cases with their sampling weights, and the cases to validate on.

    Raises:
        UserError: If there are none, or the training began with another recipe (INPUT_BAD).
    """
    from spinemamba.training.data.gather import gather_cases

    check_recipe(args, recipe)
    place = (args.network, args.workers or 1)
    sources, validation = choose_data(args, recipe.data, recipe.seeds.phantoms, print_line, place)
    cases, weights = gather_cases(sources, SPACING_MM[args.network], print_line)
    if not cases:
        raise UserError(
            "There are no cases to train on.",
            "Give --data, --centres, --prepared, --data-list or --phantoms.",
            Code.INPUT_BAD,
        )
    return (cases, weights), validation


def _trainer(
    args: argparse.Namespace, recipe: Recipe, cases: _Cases, execution: Execution, report: _Report
) -> Trainer:
    """Return the training of a recipe, resumed if there is a checkpoint.

    On the CPU without workers the patches come from one sequence of random numbers, as in earlier
    versions, so that a repeated training gives the same weights.
    """
    from spinemamba.inference.model import load_model
    from spinemamba.protocol.model_card import find_model
    from spinemamba.training.data.origin import credited
    from spinemamba.training.execution import training_precision
    from spinemamba.training.loop import Trainer

    alone = execution.device.type == "cpu" and execution.workers == 0 and execution.processes == 1
    precision = training_precision(args.precision, execution.device)
    options = recipe.train_options(precision, "sequence" if alone else "numbered")
    trainer = Trainer(recipe.network, *cases, options, execution)
    if trainer.resume(args.out):
        report(f"resuming at step {trainer.step}")
        if args.start_from:
            initial = trainer.started_from or "random weights"
            report(f"--start-from is not used: the training began from {initial}")
        if execution.workers and trainer.options.order == "sequence":
            report("--workers is not used: the training began with patches in one sequence")
    elif recipe.start_from:
        trainer.start_from(load_model(find_model(recipe.start_from)), args.network)
    trainer.sources = credited(trainer.sources, recipe.data.source)
    report(f"device {execution.device}, convolutions in {precision}")
    return trainer


def _monitor(
    args: argparse.Namespace,
    recipe: Recipe,
    validation: tuple[UserCase, ...],
    device: torch.device,
) -> Monitor:
    """Return what validates the training and draws its curves.

    Raises:
        UserError: If a validation case cannot be read, or the partner is no model.
    """
    from spinemamba.inference.model import load_model
    from spinemamba.protocol.model_card import find_model
    from spinemamba.training.data.read_dataset import check_cases
    from spinemamba.training.validation.monitor import Monitor, ValidationOptions

    check_cases(validation, print_line)
    partner = load_model(find_model(args.partner), device) if validation else None
    options = ValidationOptions(
        validation, args.network, recipe.schedule.validate_every, recipe.schedule.patience
    )
    return Monitor(args.out, options, partner, print_line)
