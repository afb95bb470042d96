"""The recipe that the arguments of ``spinemamba train`` describe."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from spinemamba.cli.console import print_line
from spinemamba.cli.training.data_arguments import data_recipe
from spinemamba.common.errors import UserError

if TYPE_CHECKING:
    from spinemamba.training.recipe import Recipe

_SCHEDULE = (
    "minutes",
    "steps",
    "learning_rate",
    "batch_size",
    "accumulate",
    "validate_every",
    "patience",
)
"""Arguments that are entries of the schedule."""


def recipe_of_arguments(args: argparse.Namespace) -> Recipe:
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
        if path is None and not args.size and not args.kind:
            recipe = _with_network_of(args.start_from, recipe)
    if path is None and args.steps and not args.minutes:
        recipe = replace(recipe, schedule=replace(recipe.schedule, minutes=0.0))
    return _with_options(args, replace(recipe, data=data_recipe(args, recipe.data)))


def _with_network_of(model: str, recipe: Recipe) -> Recipe:
    """Return a recipe with the network of a model, so that its weights fit."""
    from spinemamba.network.config import NetworkConfig
    from spinemamba.protocol.model_card import find_model, read_card

    card = read_card(find_model(model))
    network = NetworkConfig.from_json(card.networks[recipe.stage].config)
    return replace(
        recipe, network=network, patches=replace(recipe.patches, size_vox=network.patch_vox)
    )


def _with_options(args: argparse.Namespace, recipe: Recipe) -> Recipe:
    """Return a recipe with the images, the schedule and the seed of the arguments."""
    from spinemamba.training.recipe import SeedRecipe
    from spinemamba.training.synthesis.options import CT_ONLY, DEFAULT_SYNTHESIS, MR_ONLY

    given = {name: getattr(args, name) for name in _SCHEDULE if getattr(args, name) is not None}
    recipe = replace(recipe, schedule=replace(recipe.schedule, **given))
    if args.contrast is not None:
        appearance = {"any": DEFAULT_SYNTHESIS, "ct": CT_ONLY, "mr": MR_ONLY}[args.contrast]
        recipe = replace(recipe, appearance=appearance)
    if args.contrast == "mr":  # its painted images have slices of their own; CT teaches little
        shares = {**recipe.data.shares, "complete": 0.0, "part": 0.0}
        recipe = replace(
            recipe,
            patches=replace(recipe.patches, thick=0.0),
            data=replace(recipe.data, shares=shares),
        )
    if args.last_phase is not None:
        last_phase = replace(recipe.last_phase, start=args.last_phase)
        recipe = replace(recipe, last_phase=last_phase)
    if args.seed is not None:
        recipe = replace(recipe, seeds=SeedRecipe(args.seed, args.seed))
    return recipe


def check_recipe(args: argparse.Namespace, recipe: Recipe) -> None:
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
