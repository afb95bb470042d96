"""Checkpoints: one file with the state of a training, replaced atomically."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch

from spinemamba.common.atomic_files import sha256, whole_or_nothing
from spinemamba.common.errors import Code, UserError

CHECKPOINT = "checkpoint.pt"

_SHARDED = ("checkpoint", "checkpoint.before")
"""Folders with the numbered files in which earlier versions kept a checkpoint."""

_DIGEST_CHARS = 64
"""Length of the SHA-256 in hexadecimal that follows torch's archive in the file.

`torch.load` does not verify the checksums of the archive: a changed weight would go unnoticed.
"""


def save_checkpoint(state: dict[str, Any], folder: Path) -> None:
    """Write a checkpoint; after an interruption the previous one is intact.

    Args:
        state: Tensors, numbers, strings, and lists and dictionaries of them.
        folder: Folder of the training; created if missing.

    Raises:
        UserError: If the disk is full (DISK_FULL) or the file cannot be written (OUTPUT_BAD).
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    archive = buffer.getbuffer()
    with whole_or_nothing(folder / CHECKPOINT) as partial, partial.open("wb") as file:
        file.write(archive)
        file.write(sha256(archive).encode())


def has_checkpoint(folder: Path) -> bool:
    """Return whether a training has saved a checkpoint.

    Raises:
        UserError: If it was saved by an earlier version, in several files (MODEL_BAD).
    """
    if os.path.lexists(folder / CHECKPOINT):
        return True
    for name in _SHARDED:
        if os.path.lexists(folder / name):
            raise UserError(
                f"{folder / name} is a checkpoint of an earlier version, in several files. This "
                "version cannot read it.",
                f"Choose another folder with --out, or delete {folder / name} to start again.",
                Code.MODEL_BAD,
            )
    return False


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Return the state that `save_checkpoint` wrote.

    Raises:
        UserError: If there is no checkpoint (MODEL_MISSING), or it cannot be read, is damaged, was
            written by an earlier version, or has weights that are not finite (MODEL_BAD).
    """
    if not has_checkpoint(folder):
        raise UserError(
            f"The training in {folder} has no checkpoint yet.",
            "Run 'spinemamba train' until it has saved one.",
            Code.MODEL_MISSING,
        )
    path = folder / CHECKPOINT
    try:
        state = _read(path)
        weights = [*state["network"].values(), *state["average"].values()]
        finite = all_finite(weights)
    except OSError as error:
        raise UserError(
            f"The checkpoint {path} cannot be read: {error.strerror or error}.",
            "Make it readable, or delete it to start again.",
            Code.MODEL_BAD,
        ) from error
    except Exception as error:  # torch raises many types of errors for a damaged archive
        raise UserError(
            f"The checkpoint {path} is damaged.",
            "Restore the file, or delete it to start again.",
            Code.MODEL_BAD,
        ) from error
    if not finite:
        raise UserError(
            f"The checkpoint {path} holds weights that are not finite.",
            "Delete it to start again, with a lower --learning-rate.",
            Code.MODEL_BAD,
        )
    return state


def _read(path: Path) -> dict[str, Any]:
    """Return the state in a checkpoint file.

    Raises:
        Exception: If the file is damaged.
    """
    content = path.read_bytes()
    archive, digest = content[:-_DIGEST_CHARS], content[-_DIGEST_CHARS:]
    if digest != sha256(archive).encode():
        raise ValueError("the SHA-256 differs")
    state = torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
    return {"network": {}, "average": {}} | state


def all_finite(tensors: list[torch.Tensor]) -> bool:
    """Return whether tensors hold neither NaN nor infinite values."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)
