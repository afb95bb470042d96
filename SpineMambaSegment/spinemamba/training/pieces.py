"""Checkpoints in pieces small enough to carry, replaced whole or not at all."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import torch

from spinemamba.errors import Code, UserError

PIECE_BYTES = 15_000_000
"""Below 16 MB, which some ways of moving files between machines take at most."""

CURRENT, BEFORE, PARTIAL = "checkpoint", "checkpoint.before", "checkpoint.partial"


def save_pieces(state: dict[str, Any], folder: Path) -> None:
    """Write a checkpoint; an interrupted write leaves the one before intact.

    Args:
        state: Tensors, numbers, strings, and lists and dictionaries of them.
        folder: Folder of the training; gets a folder of numbered pieces.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    partial, current, before = (folder / name for name in (PARTIAL, CURRENT, BEFORE))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for number, start in enumerate(range(0, len(content), PIECE_BYTES)):
        (partial / f"{number:03d}").write_bytes(content[start : start + PIECE_BYTES])
    shutil.rmtree(before, ignore_errors=True)
    if current.exists():
        current.rename(before)
    partial.rename(current)
    shutil.rmtree(before, ignore_errors=True)


def has_checkpoint(folder: Path) -> bool:
    """Return whether a training has saved anything."""
    return any((folder / name).is_dir() for name in (CURRENT, BEFORE))


def load_pieces(folder: Path) -> dict[str, Any]:
    """Return the newest whole checkpoint of a training.

    Raises:
        UserError: If a piece is missing or damaged (MODEL_BAD).
    """
    # Between the two renames of a save only the one before is there.
    chosen = next(folder / n for n in (CURRENT, BEFORE) if (folder / n).is_dir())
    content = b"".join(piece.read_bytes() for piece in sorted(chosen.iterdir()))
    try:
        return torch.load(io.BytesIO(content), weights_only=True)
    except Exception as error:  # torch raises whatever a damaged archive makes it stumble over
        raise UserError(
            f"The checkpoint in {chosen} is damaged or lacks a piece.",
            "Bring all its pieces back, or delete the folder to start anew.",
            Code.MODEL_BAD,
        ) from error
