"""Model cards (model.json), and the models that ship with the package.

Standard library only, because Slicer's own process reads cards.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import Code, UserError

SCHEMA = 1
CARD = "model.json"
"""File name of the card in the folder of a model."""

BUNDLED = Path(__file__).parents[1] / "weights"
"""Folder of the models that ship with the package, one subfolder each."""

DEFAULT = "starter"

SPACING_RANGE_MM = (0.1, 20.0)
"""Plausible voxel sizes of a network."""

SHA256 = re.compile(r"[0-9a-f]{64}")
TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "str": (str, "a text"),
    "float": ((int, float), "a number"),
    "dict[str, Any]": (dict, "a table of names and values"),
    "dict[str, NetworkCard]": (dict, "a table of networks"),
    "tuple[str, ...]": (tuple, "a list of texts"),
}
"""Python type and description for each annotation of a card's fields."""

NOT_EMPTY = ("name", "version", "file")
REMEDY = "Choose a folder that holds model.json and the weights it names."


@dataclass(frozen=True)
class NetworkCard:
    """One network of a model.

    Attributes:
        file: Name of the weights file in the model's folder.
        sha256: SHA-256 of the weights file.
        spacing_mm: Voxel size that the network was trained with.
        config: `network.config.NetworkConfig` as a dictionary.
        training: Record of the training: steps, seeds and other settings.
    """

    file: str
    sha256: str
    spacing_mm: float
    config: dict[str, Any]
    training: dict[str, Any]


@dataclass(frozen=True)
class ModelCard:
    """Configuration, origin and evaluation of a model.

    Attributes:
        name: Short name, shown in the panel and written into results.
        version: Version of the weights.
        networks: The "coarse" and the "fine" network.
        labels: Names of the levels in the order of the output channels.
        normalisation: Method and parameters of the intensity normalisation.
        data: One sentence for each source of training data, with its licence.
        licence: SPDX identifier of the licence of the weights.
        results: Evaluation results by case; may be empty.
        intended_use: Intended users and purposes, and limitations.
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
        _check(self, Path(CARD))
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n"


def read_card(folder: Path) -> ModelCard:
    """Read and check model.json.

    Raises:
        UserError: If the file does not exist (MODEL_MISSING), is damaged, has another schema, or
            was made for other levels (MODEL_BAD).
    """
    path = folder / CARD
    if not path.is_file():
        raise UserError(f"There is no model in {folder}.", REMEDY, Code.MODEL_MISSING)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        schema = values.pop("schema")
        known = type(schema) is int and schema == SCHEMA
        if known:
            card = _card(values)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is not a model card: {error}.", REMEDY, Code.MODEL_BAD) from error
    if not known:
        raise UserError(
            f"{path} has schema {schema}; this version reads {SCHEMA}.",
            "Install a newer version, or choose another model.",
            Code.MODEL_BAD,
        )
    _check(card, path)
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


def bundled_models() -> list[str]:
    """Return the names of the models that ship with the package."""
    return sorted(path.parent.name for path in BUNDLED.glob(f"*/{CARD}"))


def _card(values: dict[str, Any]) -> ModelCard:
    networks = {name: NetworkCard(**entry) for name, entry in values.pop("networks").items()}
    lists = {name: values.pop(name) for name in ("labels", "data")}
    for name, entries in lists.items():
        if not isinstance(entries, list):
            raise TypeError(f"{name} is not a list")
    labels, data = tuple(lists["labels"]), tuple(lists["data"])
    return ModelCard(networks=networks, labels=labels, data=data, **values)


def _check(card: ModelCard, path: Path) -> None:
    """Check the types and ranges of all entries.

    Raises:
        UserError: If an entry has another type or is out of range (MODEL_BAD).
    """
    _check_types(card, path)
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
    for name, entry in card.networks.items():
        _check_types(entry, path)
        if Path(entry.file).name != entry.file:
            raise UserError(
                f"{path} names weights outside its folder: {entry.file}.", REMEDY, Code.MODEL_BAD
            )
        least, most = SPACING_RANGE_MM
        if not least <= entry.spacing_mm <= most:
            raise UserError(
                f"{path} gives the {name} network voxels of {entry.spacing_mm} mm, "
                f"not {least} to {most}.",
                REMEDY,
                Code.MODEL_BAD,
            )
        if SHA256.fullmatch(entry.sha256) is None:
            raise UserError(
                f"{path} has no SHA-256 of the {name} network's weights.", REMEDY, Code.MODEL_BAD
            )


def _check_types(entry: ModelCard | NetworkCard, path: Path) -> None:
    for field in fields(entry):
        value = getattr(entry, field.name)
        expected, words = TYPES[field.type]
        right = isinstance(value, expected) and not isinstance(value, bool)
        if isinstance(value, tuple):
            right = all(isinstance(item, str) for item in value)
        if field.name == "results" and isinstance(value, dict):
            right = all(isinstance(case, dict) for case in value.values())
        if field.name in NOT_EMPTY and not str(value).strip():
            right, words = False, "a text that is not empty"
        if not right:
            raise UserError(
                f"{path} has {json.dumps(value, default=str)[:40]} as {field.name}, not {words}.",
                REMEDY,
                Code.MODEL_BAD,
            )
