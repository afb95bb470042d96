"""Tensors with a description in one safetensors file that is whole, or is not used."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.common.errors import Code, UserError


def save_tensors(tensors: dict[str, torch.Tensor], about: dict[str, Any], path: Path) -> None:
    """Write tensors and what `load_tensors` shall know of them.

    Args:
        tensors: Contiguous tensors by name.
        about: JSON values.
        path: The file; its folder is made.

    Raises:
        UserError: If the disk is full (DISK_FULL) or the file cannot be written (OUTPUT_BAD).
    """
    header = {"about": json.dumps(about), "sha256": _digest(tensors, about)}
    # safetensors writes through a temporary file of its own, which a killed process leaves; it lets
    # only the owner read, whatever the umask says.
    with whole_or_nothing(path) as partial:
        _save_file(tensors, partial, header)


def _save_file(tensors: dict[str, torch.Tensor], path: Path, header: dict[str, str]) -> None:
    try:
        save_file(tensors, path, header)
    except SafetensorError as error:
        # The reason is in the words only: "I/O error: No space left on device (os error 28)".
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote: the tensors, and what was said of them.

    Raises:
        UserError: If the file is damaged, or not one of these (MODEL_BAD), or cannot be read
            (INPUT_BAD).
    """
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            about = json.loads(header["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        whole = isinstance(about, dict)
        whole &= "sha256" not in header or header["sha256"] == _digest(tensors, about)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or error}.",
            "Make it readable, or delete it to have it made again.",
        ) from error
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise UserError(
            f"{path} is damaged or was not made here.",
            "Delete it to have it made again.",
            Code.MODEL_BAD,
        )
    return tensors, about


def _digest(tensors: dict[str, torch.Tensor], about: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
