"""Recipes by name, for ``spinemamba recipe``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from spinemamba.training.recipe import Recipe, Stage, recipe_of

_DAY_MIN = 24 * 60.0


@dataclass(frozen=True)
class _Named:
    """What a recipe changes.

    Attributes:
        title: What it is for.
        size: Size of the network.
        phantoms: Number of synthetic spines.
        minutes: Largest time by stage (coarse, fine).
        steps: Steps by stage.
        learning_rate: Peak learning rate.
        start_from: Model whose weights are the start.
        validate_every: Steps between two validations.
        patience: Validations without a better score after which training ends.
    """

    title: str
    size: str
    phantoms: int
    minutes: tuple[float, float]
    steps: tuple[int, int]
    learning_rate: float = 1e-3
    start_from: str = ""
    validate_every: int = 1000
    patience: int = 0


_RECIPES = {
    "starter": _Named(
        "As the bundled model: a small network, on a laptop.",
        "full",
        phantoms=20,
        minutes=(60.0, 90.0),
        steps=(100_000, 100_000),
    ),
    "finetune": _Named(
        "Continue from the bundled weights with own cases, on a laptop.",
        "full",
        phantoms=12,
        minutes=(240.0, 480.0),
        steps=(100_000, 100_000),
        learning_rate=3e-4,
        start_from="starter",
        validate_every=500,
        patience=10,
    ),
    "verse-gpu": _Named(
        "VerSe (about 140 training scans) on one GPU. Not run on a GPU by the authors yet.",
        "base",
        phantoms=60,
        minutes=(_DAY_MIN, 2 * _DAY_MIN),
        steps=(60_000, 120_000),
        learning_rate=5e-4,
        validate_every=2500,
        patience=12,
    ),
    "totalseg-gpu": _Named(
        "TotalSegmentator (about 1,000 training scans) on one GPU. Not run on a GPU by the "
        "authors yet.",
        "base",
        phantoms=100,
        minutes=(2 * _DAY_MIN, 4 * _DAY_MIN),
        steps=(120_000, 250_000),
        learning_rate=5e-4,
        validate_every=5000,
        patience=12,
    ),
}


def named_recipe(name: str, stage: Stage) -> tuple[Recipe, str]:
    """Return a recipe by its name, and what it is for.

    Raises:
        KeyError: If there is none of that name.
    """
    chosen = _RECIPES[name]
    recipe = recipe_of(stage, size=chosen.size)
    position = ("coarse", "fine").index(stage)
    schedule = replace(
        recipe.schedule,
        minutes=chosen.minutes[position],
        steps=chosen.steps[position],
        learning_rate=chosen.learning_rate,
        validate_every=chosen.validate_every,
        patience=chosen.patience,
    )
    data = replace(recipe.data, phantoms=chosen.phantoms)
    made = replace(recipe, schedule=schedule, data=data, start_from=chosen.start_from)
    return made, f"{name}, {stage} network. {chosen.title}"
