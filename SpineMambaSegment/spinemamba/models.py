"""Which models there are, and the card (model.json) that says what a model is.

Standard library only: Slicer's own process reads cards.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spinemamba.errors import Code, UserError
from spinemamba.labels import NETWORK_LEVELS

SCHEMA = 1
BUNDLED = Path(__file__).parent / "weights"
"""Models that ship with the package, one folder each."""

DEFAULT = "starter"
REMEDY = "Choose a folder that holds model.json and the weights it names."


@dataclass(frozen=True)
class NetworkCard:
    """One network of a model.

    Attributes:
        file: Name of the weights file in the model's folder.
        sha256: Its SHA-256.
        spacing_mm: Voxel size that the network was trained with.
        config: `network.config.NetworkConfig` as a dictionary.
        training: Steps, seeds and whatever else made the weights.
    """

    file: str
    sha256: str
    spacing_mm: float
    config: dict[str, Any]
    training: dict[str, Any]


@dataclass(frozen=True)
class ModelCard:
    """What a model is, what it was made from, and what was measured.

    Attributes:
        name: Short name, shown in the panel and written into results.
        version: Version of the weights.
        networks: "coarse" and "fine".
        labels: Names of the levels in the order of the output channels.
        normalisation: How images are scaled before the network, in words and numbers.
        data: One sentence for each source of training data, with its licence.
        licence: SPDX name of the licence of the weights.
        results: What was measured, by case; empty if nothing was.
        intended_use: Whom and what it is for, and not for.
    """

    name: str
    version: str
    networks: dict[str, NetworkCard]
    labels: tuple[str, ...]
    normalisation: dict[str, Any]
    data: tuple[str, ...]
    licence: str
    results: dict[str, Any]
    intended_use: str

    def hash(self) -> str:
        """Return a short name for exactly these weights."""
        return "-".join(self.networks[name].sha256[:8] for name in sorted(self.networks))

    def write(self, folder: Path) -> None:
        """Write model.json into a folder."""
        text = json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2)
        (folder / "model.json").write_text(text + "\n", encoding="utf-8")


def read_card(folder: Path) -> ModelCard:
    """Read and check model.json.

    Raises:
        UserError: If there is none (MODEL_MISSING), or it is damaged, of another schema, or
            made for other levels (MODEL_BAD).
    """
    path = folder / "model.json"
    if not path.is_file():
        raise UserError(f"There is no model in {folder}.", REMEDY, Code.MODEL_MISSING)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        schema = values.pop("schema")
        if schema == SCHEMA:
            card = _card(values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is not a model card: {error}.", REMEDY, Code.MODEL_BAD) from error
    if schema != SCHEMA:
        raise UserError(
            f"{path} has schema {schema}; this version reads {SCHEMA}.",
            "Install a newer version, or choose another model.",
            Code.MODEL_BAD,
        )
    _check(card, path)
    return card


def find_model(name_or_folder: str) -> Path:
    """Return the folder of a bundled model's name, or the folder itself.

    Raises:
        UserError: If it is neither (MODEL_MISSING).
    """
    bundled = BUNDLED / name_or_folder
    if Path(name_or_folder).name == name_or_folder and (bundled / "model.json").is_file():
        return bundled
    folder = Path(name_or_folder)
    if folder.is_file():
        folder = folder.parent
    if not (folder / "model.json").is_file():
        names = ", ".join(bundled_models()) or "none"
        raise UserError(
            f"Model '{name_or_folder}' not found.",
            f"Give a folder that holds model.json, or a bundled model: {names}.",
            Code.MODEL_MISSING,
        )
    return folder


def bundled_models() -> list[str]:
    """Return the names of the models that ship with the package."""
    return sorted(path.parent.name for path in BUNDLED.glob("*/model.json"))


def _card(values: dict[str, Any]) -> ModelCard:
    networks = {name: NetworkCard(**entry) for name, entry in values.pop("networks").items()}
    labels, data = tuple(values.pop("labels")), tuple(values.pop("data"))
    return ModelCard(networks=networks, labels=labels, data=data, **values)


def _check(card: ModelCard, path: Path) -> None:
    if set(card.networks) != {"coarse", "fine"}:
        raise UserError(
            f"{path} names the networks {sorted(card.networks)}, not coarse and fine.",
            REMEDY,
            Code.MODEL_BAD,
        )
    if card.labels != NETWORK_LEVELS:
        raise UserError(
            f"{path} was made for other levels ({len(card.labels)} instead of "
            f"{len(NETWORK_LEVELS)}, or in another order).",
            "Choose a model made for this version.",
            Code.MODEL_BAD,
        )
    for entry in card.networks.values():
        if Path(entry.file).name != entry.file:
            raise UserError(
                f"{path} names weights outside its folder: {entry.file}.", REMEDY, Code.MODEL_BAD
            )
