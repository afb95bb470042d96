"""The folder of a training: whether it can be worked in, and what lies there from before."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from spinemamba.common.atomic_files import whole_or_nothing, write_error
from spinemamba.common.errors import Code, UserError
from spinemamba.common.lock import exclusive_lock
from spinemamba.common.scratch import sweep
from spinemamba.network.config import TRAINED, NetworkConfig
from spinemamba.training.architectures import SWITCHES
from spinemamba.training.baselines import build_network
from spinemamba.training.checkpoint import CURRENT, PARTIAL_CHECKPOINT, has_checkpoint

ABOUT = "training.json"
"""What a training says of itself, beside its checkpoint."""

LOCK, SHEET = "training.lock", "sheet.png"

STATE_BYTES = 16
"""Bytes of a checkpoint per weight: it, its average, and two moments of AdamW."""


@contextmanager
def working_in(folder: Path, config: NetworkConfig, kind: str) -> Iterator[None]:
    """Make a folder ready for a training, and keep others out while the block runs.

    Args:
        folder: Folder of the training; made if it does not exist.
        config: The network that shall be trained, of the kind "spinemamba".
        kind: Which kind of it, one of `kinds.KINDS`.

    Raises:
        UserError: If it cannot be written to or another training runs there (OUTPUT_BAD), has too
            little space (DISK_FULL), or holds the training of another network (INPUT_BAD).
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        # The lock is also the trial whether anything can be written here.
        with exclusive_lock(folder / LOCK, "training"):
            if has_checkpoint(folder):
                check_same_network(folder, _of_kind(config, kind), kind)
            remove_leftovers(folder)
            _check_space(folder, config, kind)
            yield
    except BaseException:
        # A training that never began leaves no folder.
        with contextlib.suppress(OSError):
            if made and {path.name for path in folder.iterdir()} <= {LOCK}:
                (folder / LOCK).unlink(missing_ok=True)
                for path in made:
                    path.rmdir()
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove what an earlier call could not finish, because it was killed or the disk was full."""
    sweep(folder)
    for path in folder.iterdir():
        partial = path.name.startswith(".partial-") and path.name.endswith((ABOUT, SHEET))
        if partial or path.name == PARTIAL_CHECKPOINT:
            try:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            except OSError as error:
                raise write_error(path, error) from error


def _check_space(folder: Path, config: NetworkConfig, kind: str) -> None:
    """Refuse a disk that cannot hold a new checkpoint beside the one that it replaces."""
    weights = sum(p.numel() for p in build_network(config, kind).parameters())
    needed = STATE_BYTES * weights * (1 if has_checkpoint(folder) else 2)
    total, _, free = shutil.disk_usage(folder)
    # Some network drives do not tell their size.
    if total and free < needed:
        raise UserError(
            f"The disk of {folder} has {free / 1e6:.0f} MB left; checkpoints of this network need "
            f"{needed / 1e6:.0f} MB.",
            "Free some disk space.",
            Code.DISK_FULL,
        )


def write_about(about: dict[str, Any], folder: Path) -> None:
    """Write what a training says of itself, whole or not at all.

    Args:
        about: As `read_about` returns it.
        folder: Folder of the training.

    Raises:
        UserError: If it cannot be written (OUTPUT_BAD, DISK_FULL).
    """
    with whole_or_nothing(folder / ABOUT) as partial:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            json.dump(about, file, indent=2)
            file.flush()
            os.fsync(file.fileno())


def read_about(folder: Path, network: str | None = None) -> dict[str, Any]:
    """Return what a training says of itself.

    Args:
        folder: Folder of the training.
        network: "coarse" or "fine" if it must be of that network; None takes either.

    Returns:
        ``network`` (a `NetworkConfig` as JSON), ``options``, ``sources`` and ``started_from``.

    Raises:
        UserError: If that is missing or damaged, or it is the other network (MODEL_BAD).
    """
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        config = NetworkConfig.from_json(about["network"])
        if not isinstance(about["options"], dict):
            raise TypeError("options")
        about["sources"] = [sentence + "" for sentence in about["sources"]]
    except OSError as error:
        raise _unknown(folder, f"cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise _unknown(folder, "is damaged, or of another version") from error
    except RecursionError as error:
        raise _unknown(folder, "is damaged") from error
    kind = about["options"].get("kind", "spinemamba")
    found = {name for (_, name), trained in TRAINED.items() if config == _of_kind(trained, kind)}
    if network is not None and found and network not in found:
        raise UserError(
            f"{folder} holds the training of {_words(config, kind)}, not of the {network} network.",
            "Give the folders of the coarse and of the fine network in their places.",
            Code.MODEL_BAD,
        )
    return about


def _of_kind(config: NetworkConfig, kind: str) -> NetworkConfig:
    return replace(config, **SWITCHES.get(kind, {}))


def _unknown(folder: Path, what: str) -> UserError:
    return UserError(
        f"{folder / ABOUT} {what}: it says what the checkpoint beside it is and has learned from.",
        f"Bring the file back, or delete {folder / CURRENT} to start again from nothing.",
        Code.MODEL_BAD,
    )


def check_same_network(folder: Path, config: NetworkConfig, kind: str) -> None:
    """Refuse to go on with the training of another network.

    Raises:
        UserError: If the folder has one (INPUT_BAD), or does not say which it has (MODEL_BAD).
    """
    about = read_about(folder)
    found = NetworkConfig.from_json(about["network"]), about["options"].get("kind", "spinemamba")
    if found != (config, kind):
        raise UserError(
            f"{folder} holds the training of {_words(*found)}; this call asks for "
            f"{_words(config, kind)}.",
            "Choose another folder with --out.",
            Code.INPUT_BAD,
        )


def _words(config: NetworkConfig, kind: str) -> str:
    """Return how to ask for a network on the command line."""
    for (size, name), trained in TRAINED.items():
        if config == _of_kind(trained, kind):
            return f"'{name} --size {size} --kind {kind}'"
    return f"another network with --kind {kind}"
