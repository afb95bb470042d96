"""Which device a model runs on, and what happens where its memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from spinemamba.common.errors import Code, UserError
from spinemamba.common.process_tuning import enough_memory
from spinemamba.common.progress import Warn
from spinemamba.protocol.job import ModelJob

if TYPE_CHECKING:
    from spinemamba.inference.model import Model


T = TypeVar("T")


def with_model(folder: Path, job: ModelJob, warn: Warn, work: Callable[[Model], T]) -> T:
    """Work with a model on a job's device, or on the CPU if a GPU has too little memory.

    A GPU that was asked for by name is no reason to fail: the answer is the same, only later.
    """
    import torch

    from spinemamba.inference.model import load_model

    try:
        return work(load_model(folder, pick_device(job.device), job.precision))
    except torch.cuda.OutOfMemoryError:
        warn("The GPU has too little free memory for this volume; the CPU goes on, more slowly.")
    # Outside of `except`: the error holds on to what fills the GPU.
    torch.cuda.empty_cache()
    return work(load_model(folder, "cpu", "float32"))


def pick_device(name: str) -> str:
    """Return the torch device for "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        UserError: If a GPU is asked for that is not there (NO_GPU).
    """
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available()}
    present["mps"] = torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if present["cuda"] else "cpu"
    kind, _, number = name.partition(":")
    if not present[kind] or (number and int(number) >= torch.cuda.device_count()):
        raise UserError(
            f"The device '{name}' is not available here.",
            "Choose 'auto' or 'cpu', or check the GPU's driver.",
            Code.NO_GPU,
        )
    return name


@contextmanager
def no_memory() -> Iterator[None]:
    """Turn running out of memory into what the user can do about it."""
    import torch

    try:
        with enough_memory():
            yield
    except torch.cuda.OutOfMemoryError as error:
        raise UserError(
            "The GPU has too little free memory for this volume.",
            "Close other programs that use the GPU, or choose the device 'cpu'.",
            Code.OOM_GPU,
        ) from error
