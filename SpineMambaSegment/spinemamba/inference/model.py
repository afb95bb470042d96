"""Load and save a model: its networks as safetensors files, and the model card (model.json).

Pickle is not used, because it executes code and models may come from untrusted sources.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from spinemamba.common.atomic_files import failed_write_error, whole_or_nothing
from spinemamba.common.error_reports import is_no_memory
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.intensity import LOCAL_MEAN, NORMALISATION
from spinemamba.inference.precision import BFLOAT16, FLOAT32, choose_precision
from spinemamba.inference.weight_storage import from_stored, to_stored
from spinemamba.network.build import VoxelNetwork, network_of
from spinemamba.network.config import NetworkConfig
from spinemamba.network.level_sequence import LevelNetworkConfig, LevelSequenceNet
from spinemamba.protocol.model_card import LEVELS, ModelCard, NetworkCard, read_card

REMEDY = "Choose another model, or install the extension again to restore the bundled one."


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with the settings it runs with.

    Attributes:
        network: In evaluation mode, on ``device``.
        spacing_mm: Voxel size of its training images, equal along all axes.
        device: Device of its parameters.
        precision: "float32", or "bfloat16" for the convolutions; see `precision.py`.
        normalisation: Intensity normalisation of its training images, as in the model card.
        bone_threshold: Probability of bone at the surface of bones, as in the model card.
    """

    network: VoxelNetwork
    spacing_mm: float
    device: torch.device
    precision: str = FLOAT32
    normalisation: Mapping[str, Any] = field(default_factory=dict)
    bone_threshold: float = 0.5

    @property
    def bone_log_odds(self) -> float:
        """Log odds of `bone_threshold`; 0 for 0.5."""
        return math.log(self.bone_threshold / (1 - self.bone_threshold))

    @property
    def patch_vox(self) -> tuple[int, int, int]:
        """Size (z, y, x) of the input."""
        return self.network.config.patch_vox

    @torch.inference_mode()
    def logits(self, patches: Tensor) -> Tensor:
        """Return the logits, (B, outputs, *patch_vox), for patches (B, 1, *patch_vox)."""
        half = self.precision == BFLOAT16
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            return self.network(patches.to(self.device))


@dataclass(frozen=True)
class Model:
    """The networks of a model with their model card.

    Attributes:
        card: Model card.
        coarse: Finds the spine.
        fine: Predicts bone, cores and levels around it.
        levels: Reads the vertebrae as a sequence, in evaluation mode; None if the model has none.
    """

    card: ModelCard
    coarse: LoadedNetwork
    fine: LoadedNetwork
    levels: LevelSequenceNet | None = None


def load_model(folder: Path, device: str | torch.device = "cpu", precision: str = "auto") -> Model:
    """Load a model.

    Args:
        folder: Folder with model.json and the weights.
        device: Device to run on.
        precision: One of `job.PRECISIONS`.

    Raises:
        UserError: If the card or a file is invalid (MODEL_BAD), a file is missing (MODEL_MISSING),
            or the device does not support the precision (INPUT_BAD).
    """
    card = read_card(folder)
    _check_normalisation(card)
    chosen = choose_precision(precision, torch.device(device), card)
    networks = {
        name: replace(
            _load_network(folder, card.networks[name], torch.device(device), chosen),
            normalisation=card.normalisation,
        )
        for name in ("coarse", "fine")
    }
    levels = None
    if LEVELS in card.networks:
        levels = _load_levels(folder, card.networks[LEVELS]).to(torch.device(device))
    return Model(card, networks["coarse"], networks["fine"], levels)


def _check_normalisation(card: ModelCard) -> None:
    """Check that the images of the training were normalised as this version does it.

    Raises:
        UserError: If they were not (MODEL_BAD).
    """
    for name, value in card.normalisation.items():
        own = (NORMALISATION | LOCAL_MEAN).get(name)
        as_json = list(own) if isinstance(own, tuple) else own
        if own is None or value not in (own, as_json):
            raise UserError(
                f"The model {card.name} was trained with {name} {value}; this version uses {own}.",
                "Choose a model made for this version.",
                Code.MODEL_BAD,
            )


def _load_network(
    folder: Path, entry: NetworkCard, device: torch.device, precision: str
) -> LoadedNetwork:
    with _weights_of(folder, entry) as state:
        network = network_of(NetworkConfig.from_json(entry.config))
        network.load_state_dict(state)
    return LoadedNetwork(
        network.eval().to(device),
        entry.spacing_mm,
        device,
        precision,
        bone_threshold=entry.bone_threshold,
    )


def _load_levels(folder: Path, entry: NetworkCard) -> LevelSequenceNet:
    with _weights_of(folder, entry) as state:
        network = LevelSequenceNet(LevelNetworkConfig.from_json(entry.config))
        network.load_state_dict(state)
    return network.eval()


@contextmanager
def _weights_of(folder: Path, entry: NetworkCard) -> Iterator[dict[str, Tensor]]:
    """Give the weights of a network, and convert errors of loading them to a `UserError`."""
    path = checked_weights(folder, entry)
    try:
        yield from_stored(load_file(path))
    # An invalid configuration can fail in many ways, such as an index or a division by zero.
    except (
        SafetensorError,
        ValueError,
        TypeError,
        RuntimeError,
        ArithmeticError,
        LookupError,
    ) as error:
        if is_no_memory(error):
            raise
        raise UserError(
            f"Model weights {entry.file} do not fit this version: {_first_line(error)}.",
            REMEDY,
            Code.MODEL_BAD,
        ) from error


def checked_weights(folder: Path, entry: NetworkCard) -> Path:
    """Return the path of a network's weights, after a check of its hash.

    Raises:
        UserError: If the file is missing (MODEL_MISSING), or its hash differs (MODEL_BAD).
    """
    path = folder / entry.file
    if not path.is_file():
        raise UserError(f"Model weights not found: {entry.file}.", REMEDY, Code.MODEL_MISSING)
    if (digest := sha256_of(path)) != entry.sha256:
        raise UserError(
            f"Model weights {entry.file} are damaged: SHA-256 is {digest[:12]}..., "
            f"model.json says {entry.sha256[:12]}....",
            REMEDY,
            Code.MODEL_BAD,
        )
    return path


def save_weights(state: dict[str, Tensor], path: Path, *, compact: bool = False) -> str:
    """Write weights as `to_stored` describes, and return the SHA-256 of the file.

    Raises:
        UserError: As `atomic_files.whole_or_nothing`.
    """
    stored = to_stored(state, compact=compact)
    with whole_or_nothing(path) as partial:
        try:
            save_file(stored, partial)
        except SafetensorError as error:
            raise failed_write_error(partial, _first_line(error)) from error
        return sha256_of(partial)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(":. ")
