"""Tensors and JSON metadata in one safetensors file with a checksum."""

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


def save_tensors(tensors: dict[str, torch.Tensor], metadata: dict[str, Any], path: Path) -> None:
    """Write tensors and metadata.

    Args:
        tensors: Contiguous tensors by name.
        metadata: JSON values.
        path: File to write; its folder is created.

    Raises:
        UserError: If the disk is full (DISK_FULL) or the file cannot be written (OUTPUT_BAD).
    """
    header = {"about": json.dumps(metadata), "sha256": _digest(tensors, metadata)}
    # safetensors writes to a temporary file, which remains if the process is killed and which only
    # the owner may read, regardless of the umask.
    with whole_or_nothing(path) as partial:
        _save_file(tensors, partial, header)


def _save_file(tensors: dict[str, torch.Tensor], path: Path, header: dict[str, str]) -> None:
    try:
        save_file(tensors, path, header)
    except SafetensorError as error:
        # The error number is only in the text: "I/O error: No space left on device (os error 28)".
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the tensors and the metadata from a file written by `save_tensors`, and verify them.

    Raises:
        UserError: If the file is damaged or not written by `save_tensors` (MODEL_BAD), or cannot
            be read (INPUT_BAD).
    """
    return _read(path, verify=True)


def map_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors of a file mapped into memory, and the metadata.

    Only the parts of the tensors that are used are read. The checksum is not verified.

    Raises:
        UserError: As `load_tensors`.
    """
    return _read(path, verify=False)


def _read(path: Path, *, verify: bool) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            metadata = json.loads(header["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        valid = isinstance(metadata, dict)
        if verify and "sha256" in header:
            valid &= header["sha256"] == _digest(tensors, metadata)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or error}.",
            "Make it readable, or delete it; it will be rebuilt.",
        ) from error
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        valid = False
    if not valid:
        raise UserError(
            f"{path} is damaged or of another kind.",
            "Delete it; it will be rebuilt.",
            Code.MODEL_BAD,
        )
    return tensors, metadata


def _digest(tensors: dict[str, torch.Tensor], metadata: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
