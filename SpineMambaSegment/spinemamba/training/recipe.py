"""Recipes: a TOML file with every setting of a training that decides about its result.

A recipe says what is learned and how, not where: paths, device, threads and workers are not in it.
It is written beside the checkpoint and into the model card. A training continues with the recipe
that it began with.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.common.errors import Code, UserError
from spinemamba.common.json_schema import JsonFormat
from spinemamba.common.toml_text import toml_text
from spinemamba.network.config import TRAINED, NetworkConfig
from spinemamba.training.architectures import (
    LAST_PHASE,
    LEVEL_WEIGHT,
    SPACING_MM,
    SWITCHES,
    THICK,
    TURNED,
)
from spinemamba.training.data.gather import SHARE
from spinemamba.training.data.patches import PatchOptions
from spinemamba.training.loss import LossWeights
from spinemamba.training.options import Order, TrainOptions
from spinemamba.training.phases import LastPhase
from spinemamba.training.synthesis.options import DEFAULT_SYNTHESIS, SynthesisOptions

RECIPE_FILE = "recipe.toml"

Stage = Literal["coarse", "fine"]

_STEPS = 100_000

_LOSS = {"coarse": LossWeights(), "fine": LossWeights(surface=2.0, beside=4.0, core=0.5)}
"""Weights of the loss by network; the fine one draws outlines."""


@dataclass(frozen=True)
class DataRecipe:
    """Cases.

    Attributes:
        phantoms: Number of synthetic spines.
        train_on: Official splits that are trained on.
        ignore: Names of labels that become background.
        leave_out: Cases that are neither trained on nor validated on.
        validate: Cases to validate on; empty for the official validation split.
        fold: Fold to validate on, such as "0/5", instead of named cases; empty for none.
        source: Title, licence and credit of the cases of --data, for the model card.
        shares: Relative sampling weight of each kind of case, divided among the cases of that kind.
    """

    phantoms: int = 12
    train_on: tuple[Literal["training", "validation", "test"], ...] = ("training",)
    ignore: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    validate: tuple[str, ...] = ()
    fold: str = ""
    source: str = ""
    shares: dict[str, float] = field(default_factory=lambda: dict(SHARE))


@dataclass(frozen=True)
class ScheduleRecipe:
    """Schedule and optimizer.

    Attributes:
        minutes: Time of the whole schedule, without validations; 0 for no limit. Training ends at
            the first of minutes and steps.
        steps: Steps of the whole schedule.
        learning_rate: Peak rate of AdamW; warms up over 100 steps and falls to zero as a cosine.
        weight_decay: Weight decay.
        clip: Largest norm of the gradient.
        ema: Decay of the moving average of the weights, which a model is packed from.
        batch_size: Patches per batch of each process.
        accumulate: Batches per step, whose gradients are averaged.
        save_every_s: Seconds between checkpoints.
        validate_every: Steps between two validations.
        patience: Validations without a better score after which training ends; 0 for never.
    """

    minutes: float = 60.0
    steps: int = _STEPS
    learning_rate: float = 1e-3
    weight_decay: float = TrainOptions.weight_decay
    clip: float = TrainOptions.clip
    ema: float = TrainOptions.ema
    batch_size: int = TrainOptions.batch_size
    accumulate: int = TrainOptions.accumulate
    save_every_s: float = TrainOptions.save_every_s
    validate_every: int = 1000
    patience: int = 0


@dataclass(frozen=True)
class SeedRecipe:
    """Seeds.

    Attributes:
        training: Seed of the initial weights, of the patches and of their appearance.
        phantoms: Seed of the first phantom; the others have the following numbers.
    """

    training: int = 0
    phantoms: int = 0


@dataclass(frozen=True)
class Recipe:
    """All settings of a training.

    Attributes:
        stage: Network to train: "coarse" finds the spine, "fine" outlines it.
        start_from: Model whose weights are the start; empty for random weights.
        data: Cases.
        patches: Distribution of random patches.
        appearance: Probabilities of the image synthesis.
        loss: Weights of the parts of the loss.
        last_phase: What changes towards the end of the schedule, if there are real images.
        schedule: Schedule and optimizer.
        seeds: Seeds.
        network: Architecture.
    """

    stage: Stage
    start_from: str
    data: DataRecipe
    patches: PatchOptions
    appearance: SynthesisOptions
    loss: LossWeights
    last_phase: LastPhase
    schedule: ScheduleRecipe
    seeds: SeedRecipe
    network: NetworkConfig

    @property
    def kind(self) -> str:
        """Kind of network, one of `architectures.KINDS`."""
        own = asdict(self.network)
        fitting = [k for k, switches in SWITCHES.items() if switches.items() <= own.items()]
        return max(fitting, key=lambda kind: len(SWITCHES[kind]))

    def train_options(
        self, precision: str = TrainOptions.precision, order: Order = TrainOptions.order
    ) -> TrainOptions:
        """Return the options of the training loop.

        Args:
            precision: Precision of convolutions, which depends on the device.
            order: How random numbers are given to patches.
        """
        schedule = asdict(self.schedule)
        del schedule["validate_every"], schedule["patience"]
        return TrainOptions(
            **schedule | {"minutes": self.schedule.minutes or None},
            loss=self.loss,
            last_phase=self.last_phase,
            seed=self.seeds.training,
            kind=self.kind,
            precision=precision,
            order=order,
            synthesis=self.appearance,
            patch=self.patches,
        )


def _check(recipe: Recipe) -> None:
    if recipe.patches.size_vox != recipe.network.patch_vox:
        raise ValueError(
            f"patches.size_vox is {list(recipe.patches.size_vox)}, network.patch_vox is "
            f"{list(recipe.network.patch_vox)}; they must be equal"
        )
    if recipe.data.fold and recipe.data.validate:
        raise ValueError("data.fold and data.validate both choose the validation cases")
    if unknown := sorted(set(recipe.data.shares) - set(SHARE)):
        raise ValueError(f"data.shares: {unknown[0]} is no kind of case: {', '.join(SHARE)}")


RECIPE = JsonFormat(
    Recipe,
    "a recipe of a training",
    "Print a valid one with 'spinemamba recipe starter'.",
    version=1,
    # Recipes of earlier versions have fewer entries; the defaults are what they were made with.
    defaults=True,
    check=_check,
)
"""Format of a recipe; the same entries are in TOML."""


def recipe_of(stage: Stage, *, size: str = "tiny", kind: str = "spinemamba") -> Recipe:
    """Return the recipe of a training without further options."""
    network = replace(TRAINED[size, stage], **SWITCHES[kind])
    return Recipe(
        stage=stage,
        start_from="",
        data=DataRecipe(),
        patches=PatchOptions(
            network.patch_vox,
            spacing_mm=SPACING_MM[stage],
            turned=TURNED[stage],
            thick=THICK[stage],
        ),
        appearance=DEFAULT_SYNTHESIS,
        loss=replace(_LOSS[stage], level=LEVEL_WEIGHT[stage]),
        last_phase=LastPhase(LAST_PHASE[stage]),
        schedule=ScheduleRecipe(),
        seeds=SeedRecipe(),
        network=network,
    )


def recipe_text(recipe: Recipe, title: str = "") -> str:
    """Return a recipe as TOML, with the meaning of every entry as a comment."""
    head = f"# {title}\n\n" if title else ""
    return head + toml_text(RECIPE.to_json(recipe), dict(_meanings(Recipe, "")))


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        UserError: If it cannot be read, or an entry is missing, unknown or invalid (INPUT_BAD).
    """
    try:
        return RECIPE.parse(_toml(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RECIPE.refusal(str(path), error) from error


def _toml(text: str) -> dict[str, Any]:
    try:
        import tomllib
    except ImportError as error:
        raise UserError(
            "Recipes need Python 3.11 or newer.",
            "Leave out --recipe, or install a newer Python.",
            Code.DEPENDENCY_MISSING,
        ) from error
    return tomllib.loads(text)


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """Write recipe.toml into the folder of a training, completely or not at all.

    Raises:
        UserError: If it cannot be written (OUTPUT_BAD, DISK_FULL).
    """
    with whole_or_nothing(folder / RECIPE_FILE) as partial:
        partial.write_text(recipe_text(recipe), encoding="utf-8", newline="\n")


def check_same_recipe(recipe: Recipe, folder: Path) -> None:
    """Refuse to continue a training with another recipe.

    Raises:
        UserError: If the recipe in the folder differs; the message lists the differences
            (INPUT_BAD). A training of an earlier version has no recipe and is accepted.
    """
    path = folder / RECIPE_FILE
    if not path.exists():
        return
    lines = differences(read_recipe(path), recipe)
    if lines:
        listed = "\n".join(f"  {line}" for line in lines)
        raise UserError(
            f"The training in {folder} began with another recipe:\n{listed}\n",
            f"Continue it with --recipe {path}, or choose another folder with --out.",
        )


def differences(before: Recipe, now: Recipe) -> list[str]:
    """Return a line for each entry that differs, such as ``schedule.steps: 100 -> 200``."""
    one, two = (dict(_flat(RECIPE.to_json(recipe), "")) for recipe in (before, now))
    return [
        f"{path}: {one.get(path, 'none')} -> {two.get(path, 'none')}"
        for path in dict.fromkeys((*one, *two))
        if one.get(path) != two.get(path)
    ]


def _flat(values: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        inner = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            yield from _flat(value, inner)
        else:
            yield inner, list(value) if isinstance(value, tuple) else value


def _meanings(kind: type, path: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each entry and its meaning, from the docstrings of the dataclasses."""
    hints = get_type_hints(kind)
    texts = _attribute_texts(inspect.getdoc(kind) or "")
    for entry in fields(kind):
        inner = f"{path}.{entry.name}" if path else entry.name
        if is_dataclass(hints[entry.name]):
            yield from _meanings(hints[entry.name], inner)
        else:
            yield inner, texts.get(entry.name, "")


def _attribute_texts(doc: str) -> dict[str, str]:
    """Return the descriptions of the attributes in a docstring."""
    _, _, section = doc.partition("Attributes:\n")
    starts = list(re.finditer(r"^    (\w+): ", section, re.MULTILINE))
    ends = [match.start() for match in starts[1:]] + [len(section)]
    return {
        match[1]: " ".join(section[match.end() : end].split()).replace("`", "")
        for match, end in zip(starts, ends, strict=True)
    }
