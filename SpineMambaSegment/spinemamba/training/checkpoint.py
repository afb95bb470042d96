"""Checkpoints in pieces small enough to carry, replaced whole or not at all."""

from __future__ import annotations

import io
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch

from spinemamba.common.atomic_files import sha256, write_error
from spinemamba.common.errors import Code, UserError

PIECE_BYTES = 15_000_000
"""Below 16 MB, which some ways of moving files between machines take at most."""

CURRENT, BEFORE, PARTIAL_CHECKPOINT = "checkpoint", "checkpoint.before", "checkpoint.partial"

DIGEST = "sha256"
"""File beside the pieces with the SHA-256 of all of them together."""


def save_pieces(state: dict[str, Any], folder: Path) -> None:
    """Write a checkpoint; an interrupted write leaves the one before intact.

    Args:
        state: Tensors, numbers, strings, and lists and dictionaries of them.
        folder: Folder of the training; gets a folder of numbered pieces.

    Raises:
        UserError: If the disk is full (DISK_FULL) or the folder cannot be written (OUTPUT_BAD).
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    partial, current, before = (folder / name for name in (PARTIAL_CHECKPOINT, CURRENT, BEFORE))
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for number, start in enumerate(range(0, len(content), PIECE_BYTES)):
            _write(partial / f"{number:03d}", content[start : start + PIECE_BYTES])
        _write(partial / DIGEST, sha256(content).encode())
        if current.exists():
            shutil.rmtree(before, ignore_errors=True)
            current.rename(before)
        partial.rename(current)
    except OSError as error:
        raise write_error(current, error) from error
    finally:
        # What is not finished would keep a full disk full.
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(before, ignore_errors=True)


def _write(path: Path, data: memoryview | bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def has_checkpoint(folder: Path) -> bool:
    """Return whether a training has saved anything."""
    return any((folder / name).is_dir() for name in (CURRENT, BEFORE))


def load_pieces(folder: Path) -> dict[str, Any]:
    """Return the newest whole checkpoint of a training.

    Raises:
        UserError: If there is none (MODEL_MISSING), a piece cannot be read, is missing or damaged,
            or weights are not finite (MODEL_BAD).
    """
    # Between the two renames of a save only the one before is there.
    chosen = next((folder / n for n in (CURRENT, BEFORE) if (folder / n).is_dir()), None)
    if chosen is None:
        raise UserError(
            f"The training in {folder} has no checkpoint yet.",
            "Run 'spinemamba train' until it has saved one.",
            Code.MODEL_MISSING,
        )
    try:
        state = _read(chosen)
        weights = [*state["network"].values(), *state["average"].values()]
        finite = all_finite(weights)
    except OSError as error:
        raise UserError(
            f"The checkpoint in {chosen} cannot be read: {error.strerror or error}.",
            "Make all its pieces readable, or delete the folder to start again from nothing.",
            Code.MODEL_BAD,
        ) from error
    except Exception as error:  # torch raises whatever a damaged archive makes it stumble over
        raise UserError(
            f"The checkpoint in {chosen} is damaged or lacks a piece.",
            "Bring all its pieces back, or delete the folder to start again from nothing.",
            Code.MODEL_BAD,
        ) from error
    if not finite:
        raise UserError(
            f"The checkpoint in {chosen} holds weights that are not finite.",
            "Delete the folder to start again from nothing, with a lower --learning-rate.",
            Code.MODEL_BAD,
        )
    return state


def _read(folder: Path) -> dict[str, Any]:
    """Return the state in a folder of pieces.

    Raises:
        Exception: If it is damaged.
    """
    pieces = [path for path in folder.iterdir() if re.fullmatch(r"\d{3,}", path.name)]
    content = b"".join(p.read_bytes() for p in sorted(pieces, key=lambda path: int(path.name)))
    digest = folder / DIGEST
    # Checkpoints of earlier versions have none. torch itself does not notice a changed weight.
    if digest.exists() and digest.read_text(encoding="utf-8").strip() != sha256(content):
        raise ValueError("the pieces are not those that were written")
    state = torch.load(io.BytesIO(content), weights_only=True)
    return {"network": {}, "average": {}} | state


def all_finite(tensors: list[torch.Tensor]) -> bool:
    """Return whether tensors hold neither NaN nor infinite values."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)
