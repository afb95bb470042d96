"""``spinemamba train``: prepare the data, and train one of the two networks of voxels."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.cli.arguments import positive_number, seed, threads, whole_number
from spinemamba.cli.console import print_line
from spinemamba.cli.training.data_arguments import add_data_arguments, choose_data, data_recipe
from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.model_card import DEFAULT
from spinemamba.training.architectures import KINDS, SIZES, SPACING_MM

if TYPE_CHECKING:
    from spinemamba.training.data.dataset import Case
    from spinemamba.training.layouts.user_case import UserCase
    from spinemamba.training.loop import Trainer
    from spinemamba.training.recipe import Recipe
    from spinemamba.training.validation.monitor import Monitor


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
    parser.add_argument(
        "--kind",
        choices=KINDS,
        help="architecture: SpineMamba, an ablation of it, or MONAI's DynUNet (default spinemamba)",
    )
    parser.add_argument(
        "--size",
        choices=SIZES,
        help="size of the starter model, or the reconstruction of the paper's (default tiny)",
    )
    parser.add_argument("--start-from", metavar="MODEL", help="initialise with a model's weights")
    _add_schedule(parser)
    _add_validation(parser)


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the schedule."""
    parser.add_argument(
        "--minutes", type=positive_number(1e7), help="time of the whole schedule (default 60)"
    )
    parser.add_argument(
        "--steps", type=whole_number(1, 10**9), help="steps of the whole schedule (default 100000)"
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


def run(args: argparse.Namespace) -> int:
    """Train until the time or the steps are used up; a second call resumes from the checkpoint."""
    import torch

    from spinemamba.common.process_tuning import keep_freed_memory
    from spinemamba.training.data.gather import gather_cases
    from spinemamba.training.folder import SHEET, working_in
    from spinemamba.training.monitoring import write_contact_sheet
    from spinemamba.training.recipe import write_recipe

    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    recipe = _recipe(args)
    with working_in(args.out, recipe.network, recipe.kind):
        _check_recipe(args, recipe)
        sources, validation = choose_data(args, recipe.data, recipe.seeds.phantoms, print_line)
        cases, weights = gather_cases(sources, SPACING_MM[args.network], print_line)
        if not cases:
            raise UserError(
                "There are no cases to train on.",
                "Give --data, --data-list or --phantoms.",
                Code.INPUT_BAD,
            )
        trainer = _trainer(args, recipe, cases, weights)
        monitor = _monitor(args, recipe, validation)
        monitor.resume(trainer.step)
        write_contact_sheet(trainer.examples(_SHEET_PATCHES), args.out / SHEET)
        write_recipe(recipe, args.out)
        print_line(f"preview of the training patches: {args.out / SHEET}")
        _run(args, trainer, monitor)
    return 0


def _run(args: argparse.Namespace, trainer: Trainer, monitor: Monitor) -> None:
    """Train, evaluate the result, and say what comes next."""
    if monitor.exhausted or trainer.done >= 1:
        why = "its validations no longer improve" if monitor.exhausted else "its schedule is over"
        print_line(f"nothing to train at step {trainer.step}: {why}")
        return
    trainer.run(args.out, print_line, monitor.after_step)
    monitor.finish(trainer)
    print_line(
        f"done at step {trainer.step} after {trainer.seconds / 60:.1f} min; make a model with: "
        f"spinemamba pack MODEL --{args.network} {args.out} ..."
    )


def _recipe(args: argparse.Namespace) -> Recipe:
    """Return the recipe of the arguments.

    It is that of ``--recipe``; else that of the training in the folder; else the default one.
    Options change its entries.

    Raises:
        UserError: If the recipe cannot be read, or is of the other network (INPUT_BAD).
    """
    from spinemamba.training.checkpoint import has_checkpoint
    from spinemamba.training.recipe import RECIPE_FILE, read_recipe, recipe_of

    path = args.recipe
    before = args.out / RECIPE_FILE
    if path is None and before.is_file() and has_checkpoint(args.out):
        path = before
    recipe = recipe_of(args.network) if path is None else read_recipe(path)
    if recipe.stage != args.network and path is not before:
        raise UserError(
            f"{path} is a recipe of the {recipe.stage} network; this call trains the "
            f"{args.network} network.",
            f"Train {recipe.stage}, or print the other recipe with --network {args.network}.",
        )
    if recipe.stage != args.network or args.size or args.kind:
        made = recipe_of(args.network, size=args.size or "tiny", kind=args.kind or "spinemamba")
        recipe = replace(recipe, stage=made.stage, network=made.network, patches=made.patches)
    if args.start_from is not None:
        recipe = replace(recipe, start_from=args.start_from)
    return _with_options(args, replace(recipe, data=data_recipe(args, recipe.data)))


def _with_options(args: argparse.Namespace, recipe: Recipe) -> Recipe:
    """Return a recipe with the schedule and the seed of the arguments."""
    from spinemamba.training.recipe import SeedRecipe

    names = ("minutes", "steps", "learning_rate", "validate_every", "patience")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    recipe = replace(recipe, schedule=replace(recipe.schedule, **given))
    if args.seed is not None:
        recipe = replace(recipe, seeds=SeedRecipe(args.seed, args.seed))
    return recipe


def _check_recipe(args: argparse.Namespace, recipe: Recipe) -> None:
    """Refuse another recipe than that of the checkpoint, or print the differences.

    Raises:
        UserError: If it differs and --change-recipe is not given (INPUT_BAD).
    """
    from spinemamba.training.checkpoint import has_checkpoint
    from spinemamba.training.recipe import RECIPE_FILE, check_same_recipe, differences, read_recipe

    if not has_checkpoint(args.out):
        return
    if not args.change_recipe:
        check_same_recipe(recipe, args.out)
    elif (args.out / RECIPE_FILE).is_file():
        for line in differences(read_recipe(args.out / RECIPE_FILE), recipe):
            print_line(f"changed: {line}")


def _trainer(
    args: argparse.Namespace, recipe: Recipe, cases: list[Case], weights: list[float]
) -> Trainer:
    """Return the training of a recipe, resumed if there is a checkpoint."""
    import torch

    from spinemamba.inference.model import load_model
    from spinemamba.inference.precision import has_bfloat16
    from spinemamba.protocol.model_card import find_model
    from spinemamba.training.data.origin import credited
    from spinemamba.training.loop import Trainer

    options = recipe.train_options(has_bfloat16(torch.device("cpu")))
    trainer = Trainer(recipe.network, cases, weights, options)
    if trainer.resume(args.out):
        print_line(f"resuming at step {trainer.step}")
        if args.start_from:
            initial = trainer.started_from or "random weights"
            print_line(f"--start-from is not used: the training began from {initial}")
    elif recipe.start_from:
        trainer.start_from(load_model(find_model(recipe.start_from)), args.network)
    trainer.sources = credited(trainer.sources, recipe.data.source)
    return trainer


def _monitor(args: argparse.Namespace, recipe: Recipe, validation: tuple[UserCase, ...]) -> Monitor:
    """Return what validates the training and draws its curves.

    Raises:
        UserError: If a validation case cannot be read, or the partner is no model.
    """
    from spinemamba.inference.model import load_model
    from spinemamba.protocol.model_card import find_model
    from spinemamba.training.data.read_dataset import check_cases
    from spinemamba.training.validation.monitor import Monitor, ValidationOptions

    check_cases(validation, print_line)
    partner = load_model(find_model(args.partner)) if validation else None
    options = ValidationOptions(
        validation, args.network, recipe.schedule.validate_every, recipe.schedule.patience
    )
    return Monitor(args.out, options, partner, print_line)
