"""The folder of a training: lock, disk space, and the metadata beside the checkpoint."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spinemamba.common.atomic_files import whole_or_nothing, write_error
from spinemamba.common.errors import Code, UserError
from spinemamba.common.json_schema import JsonFormat
from spinemamba.common.locks import try_lock
from spinemamba.common.scratch import sweep
from spinemamba.network.config import TRAINED, NetworkConfig
from spinemamba.training.architectures import SWITCHES
from spinemamba.training.baselines import build_network
from spinemamba.training.checkpoint import CHECKPOINT, has_checkpoint

METADATA = "training.json"
"""Network, options and data sources of a training, beside its checkpoint."""

_LOCK, SHEET = "training.lock", "sheet.png"

BEST = "best.safetensors"
"""Averaged weights of the best validation, beside the checkpoint."""

_STATE_BYTES = 16
"""Bytes of a checkpoint per weight: the weight, its average, and two moments of AdamW."""


@dataclass(frozen=True)
class TrainingRecord:
    """Content of training.json.

    Attributes:
        network: Configuration of the network.
        options: Options of the training, `loop.TrainOptions` as a table.
        started_from: Name and version of the model whose weights were the start; may be empty.
        sources: One sentence for each source of training data.
    """

    network: NetworkConfig
    options: dict[str, Any]
    started_from: str = field(default="", kw_only=True)
    sources: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Kind of network, one of `architectures.KINDS`."""
        return self.options.get("kind", "spinemamba")


TRAINING_RECORD = JsonFormat(
    TrainingRecord,
    "the record of a training",
    "Choose another folder.",
    Code.MODEL_BAD,
    # Networks of earlier versions have fewer settings.
    defaults=True,
)
"""Format of training.json."""


@contextmanager
def working_in(folder: Path, config: NetworkConfig, kind: str) -> Iterator[None]:
    """Prepare a folder for a training, and lock it while the block runs.

    Args:
        folder: Folder of the training; created if missing.
        config: Network to train, as for the kind "spinemamba".
        kind: Kind of network, one of `architectures.KINDS`.

    Raises:
        UserError: If the folder is not writable or another training runs there (OUTPUT_BAD), has
            too little space (DISK_FULL), holds the training of another network (INPUT_BAD), or a
            checkpoint of an earlier version (MODEL_BAD).
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        # Creating the lock also tests whether the folder is writable.
        with try_lock(folder / _LOCK, "training"):
            if has_checkpoint(folder):
                _check_same_network(folder, _of_kind(config, kind), kind)
            sweep(folder)
            _check_space(folder, config, kind)
            yield
    except BaseException:
        # A training that fails before its first output leaves no folder.
        with contextlib.suppress(OSError):
            if created and {path.name for path in folder.iterdir()} <= {_LOCK}:
                (folder / _LOCK).unlink(missing_ok=True)
                for path in created:
                    path.rmdir()
        raise


def _check_space(folder: Path, config: NetworkConfig, kind: str) -> None:
    """Raise UserError if the disk cannot hold a new checkpoint beside the previous one."""
    weights = sum(p.numel() for p in build_network(config, kind).parameters())
    needed = _STATE_BYTES * weights * (1 if has_checkpoint(folder) else 2)
    total, _, free = shutil.disk_usage(folder)
    # Some network drives report a size of 0.
    if total and free < needed:
        raise UserError(
            f"The disk of {folder} has {free / 1e6:.0f} MB left; checkpoints of this network need "
            f"{needed / 1e6:.0f} MB.",
            "Free some disk space.",
            Code.DISK_FULL,
        )


def write_metadata(metadata: TrainingRecord, folder: Path) -> None:
    """Write the metadata of a training, completely or not at all.

    Args:
        metadata: As returned by `read_metadata`.
        folder: Folder of the training.

    Raises:
        UserError: If the file cannot be written (OUTPUT_BAD, DISK_FULL).
    """
    with whole_or_nothing(folder / METADATA) as partial:
        TRAINING_RECORD.write(metadata, partial)


def read_metadata(folder: Path, network: str | None = None) -> TrainingRecord:
    """Return the metadata of a training.

    Args:
        folder: Folder of the training.
        network: "coarse" or "fine" if the training must be of that network; None accepts both.

    Raises:
        UserError: If the file is missing or damaged, or the training is of the other network
            (MODEL_BAD).
    """
    path = folder / METADATA
    try:
        metadata = TRAINING_RECORD.parse_text(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(folder, f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise _unreadable(folder, f"is damaged, or of another version: {error}") from error
    config, kind = metadata.network, metadata.kind
    names = {name for (_, name), trained in TRAINED.items() if config == _of_kind(trained, kind)}
    if network is not None and names and network not in names:
        raise UserError(
            f"{folder} holds the training of {_options(config, kind)}, not of the {network} "
            "network.",
            "Give the folder of the coarse network with --coarse, that of the fine one with "
            "--fine.",
            Code.MODEL_BAD,
        )
    return metadata


def _of_kind(config: NetworkConfig, kind: str) -> NetworkConfig:
    return replace(config, **SWITCHES.get(kind, {}))


def _unreadable(folder: Path, problem: str) -> UserError:
    return UserError(
        f"{folder / METADATA} {problem}. It describes the checkpoint beside it and the data that "
        "it was trained on.",
        f"Restore the file, or delete {folder / CHECKPOINT} to start again.",
        Code.MODEL_BAD,
    )


def _check_same_network(folder: Path, config: NetworkConfig, kind: str) -> None:
    """Refuse to continue the training of another network.

    Raises:
        UserError: If the folder holds another network (INPUT_BAD), or its metadata cannot be read
            (MODEL_BAD).
    """
    metadata = read_metadata(folder)
    present = (metadata.network, metadata.kind)
    if present != (config, kind):
        raise UserError(
            f"{folder} holds the training of {_options(*present)}; this call asks for "
            f"{_options(config, kind)}.",
            "Choose another folder with --out.",
            Code.INPUT_BAD,
        )


def _options(config: NetworkConfig, kind: str) -> str:
    """Return the command line options that select a network."""
    for (size, name), trained in TRAINED.items():
        if config == _of_kind(trained, kind):
            return f"'{name} --size {size} --kind {kind}'"
    return f"another network with --kind {kind}"
