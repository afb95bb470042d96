"""Model cards (model.json), and the models that ship with the package.

Standard library only, because Slicer's own process reads cards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import Code, UserError
from spinemamba.common.json_schema import OPTIONAL, JsonFormat, Limits, NotEmpty, Sha256

CARD = "model.json"
"""File name of the card in the folder of a model."""

BUNDLED = Path(__file__).parents[1] / "weights"
"""Folder of the models that ship with the package, one subfolder each."""

DEFAULT = "starter"

_OF_MODALITY = {"mr": "starter-mr"}
"""Bundled model that stands in for the default one if the image has another modality than CT."""

LEVELS = "levels"
"""Name of the level network, which a model need not have."""

SPACING_RANGE_MM = (0.1, 20.0)
"""Plausible voxel sizes of a network."""

REMEDY = "Choose a folder that holds model.json and the weights it names."


@dataclass(frozen=True)
class NetworkCard:
    """One network of a model.

    Attributes:
        file: Name of the weights file in the model's folder.
        sha256: SHA-256 of the weights file.
        spacing_mm: Voxel size that the network was trained with.
        config: `network.config.NetworkConfig` as a dictionary; of the network of levels
            `network.level_sequence.LevelNetworkConfig`.
        training: Record of the training: steps, seeds and other settings.
        bone_threshold: Probability of bone at the surface of bones, by the network's outputs. It
            is not 0.5 if the outlines that the network learned from were too large or too small.
    """

    file: NotEmpty
    sha256: Sha256
    spacing_mm: Annotated[float, Limits(*SPACING_RANGE_MM)]
    config: dict[str, Any]
    training: dict[str, Any]
    bone_threshold: Annotated[float, Limits(0.05, 0.95)] = field(default=0.5, metadata=OPTIONAL)


@dataclass(frozen=True)
class ModelCard:
    """Configuration, origin and evaluation of a model.

    Attributes:
        name: Short name, shown in the panel and written into results.
        version: Version of the weights.
        networks: The "coarse" and the "fine" network, and the "levels" network if the model has
            one.
        labels: Names of the levels in the order of the output channels.
        normalisation: Method and parameters of the intensity normalisation.
        data: One sentence for each source of training data, with its licence.
        licence: SPDX identifier of the licence of the weights.
        results: Evaluation results by case; may be empty.
        intended_use: Intended users and purposes, and limitations.
    """

    name: NotEmpty
    version: NotEmpty
    networks: dict[str, NetworkCard]
    labels: tuple[str, ...]
    normalisation: dict[str, Any]
    data: tuple[str, ...]
    licence: str
    results: dict[str, dict[str, Any]]
    intended_use: str

    def hash(self) -> str:
        """Return a short hash of the weights of all networks."""
        return "-".join(self.networks[name].sha256[:8] for name in sorted(self.networks))

    def write(self, folder: Path) -> None:
        """Write model.json into a folder."""
        (folder / CARD).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """Return the content of model.json.

        Raises:
            UserError: If the card is not valid (MODEL_BAD).
        """
        try:
            text = MODEL_CARD.to_text(self)
            MODEL_CARD.parse_text(text)
        except ValueError as error:
            raise MODEL_CARD.refusal(CARD, error) from error
        return text


def read_card(folder: Path) -> ModelCard:
    """Read and check model.json.

    Raises:
        UserError: If the file does not exist (MODEL_MISSING), is damaged, has another schema, or
            was made for other levels (MODEL_BAD).
    """
    path = folder / CARD
    if not path.is_file():
        raise UserError(f"There is no model in {folder}.", REMEDY, Code.MODEL_MISSING)
    card = MODEL_CARD.read(path, str(path))
    if card.labels != NETWORK_LEVELS:
        raise UserError(
            f"{path} was made for other levels ({len(card.labels)} instead of "
            f"{len(NETWORK_LEVELS)}, or in another order).",
            "Choose a model made for this version.",
            Code.MODEL_BAD,
        )
    return card


def find_model(name_or_folder: str) -> Path:
    """Return the folder of a model, given the name of a bundled model or a folder.

    Raises:
        UserError: If the argument is neither (MODEL_MISSING).
    """
    if name_or_folder in bundled_models():
        return BUNDLED / name_or_folder
    folder = Path(name_or_folder)
    if folder.is_file():
        folder = folder.parent
    if not (folder / CARD).is_file():
        names = ", ".join(bundled_models()) or "none"
        raise UserError(
            f"Model '{name_or_folder}' not found.",
            f"Give a folder that holds model.json, or a bundled model: {names}.",
            Code.MODEL_MISSING,
        )
    return folder


def find_model_for(name_or_folder: str, modality: str) -> Path:
    """Return the folder of a model, as `find_model`, for an image of a modality.

    The default model has learned from CT; MR has a bundled model of its own. Any other model is
    the user's choice and stays.

    Raises:
        UserError: As `find_model`.
    """
    own = _OF_MODALITY.get(modality)
    if name_or_folder == DEFAULT and own in bundled_models():
        return BUNDLED / own
    return find_model(name_or_folder)


def model_elsewhere(name_or_folder: str) -> str:
    """Return a model's name or folder so that it is found from any working directory.

    Raises:
        UserError: As `find_model`.
    """
    folder = find_model(name_or_folder)
    return name_or_folder if name_or_folder in bundled_models() else str(folder.absolute())


def bundled_models() -> list[str]:
    """Return the names of the models that ship with the package."""
    return sorted(path.parent.name for path in BUNDLED.glob(f"*/{CARD}"))


def _check_networks(card: ModelCard) -> None:
    """Raise ValueError if a network is missing, or its weights lie outside the model's folder."""
    if set(card.networks) - {LEVELS} != {"coarse", "fine"}:
        raise ValueError(f"it names the networks {sorted(card.networks)}, not coarse and fine")
    for entry in card.networks.values():
        if Path(entry.file).name != entry.file:
            raise ValueError(f"it names weights outside its folder: {entry.file}")


MODEL_CARD = JsonFormat(
    ModelCard, "a model card", REMEDY, Code.MODEL_BAD, version=1, check=_check_networks
)
"""Format of model.json."""
