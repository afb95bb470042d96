"""Which models there are, and the card (model.json) that says what a model is.

Standard library only: Slicer's own process reads cards.
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
"""Name of the card in a model's folder."""

BUNDLED = Path(__file__).parents[1] / "weights"
"""Models that ship with the package, one folder each."""

DEFAULT = "starter"

SPACING_RANGE_MM = (0.1, 20.0)
"""Voxels that a network of spines can have been trained with."""

SHA256 = re.compile(r"[0-9a-f]{64}")
TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "str": (str, "a text"),
    "float": ((int, float), "a number"),
    "dict[str, Any]": (dict, "a table of names and values"),
    "dict[str, NetworkCard]": (dict, "a table of networks"),
    "tuple[str, ...]": (tuple, "a list of texts"),
}
"""What JSON gives for each type of an entry, and how that is called."""

NOT_EMPTY = ("name", "version", "file")
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
        (folder / CARD).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """Return what model.json holds.

        Raises:
            UserError: If `read_card` would refuse it (MODEL_BAD).
        """
        _check(self, Path(CARD))
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n"


def read_card(folder: Path) -> ModelCard:
    """Read and check model.json.

    Raises:
        UserError: If there is none (MODEL_MISSING), or it is damaged, of another schema, or
            made for other levels (MODEL_BAD).
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
    """Return the folder of a bundled model's name, or the folder itself.

    Raises:
        UserError: If it is neither (MODEL_MISSING).
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
            raise TypeError(f"{name} is no list")
    labels, data = tuple(lists["labels"]), tuple(lists["data"])
    return ModelCard(networks=networks, labels=labels, data=data, **values)


def _check(card: ModelCard, path: Path) -> None:
    """Refuse a card whose entries are not what the rest of the program takes them for.

    Raises:
        UserError: If one is of another type or out of its range (MODEL_BAD).
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
