"""Choose the device of a model, and fall back to the CPU if a GPU runs out of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from spinemamba.common.errors import Code, UserError
from spinemamba.common.process_tuning import enough_memory
from spinemamba.common.progress import Warn
from spinemamba.protocol.job import ModelJob

if TYPE_CHECKING:
    from spinemamba.inference.model import Model


T = TypeVar("T")

Load: TypeAlias = "Callable[[Path, str, str], Model]"
"""Function that loads the model in a folder, on a device and with a precision."""


def with_model(
    folder: Path, job: ModelJob, warn: Warn, work: Callable[[Model], T], load: Load | None = None
) -> T:
    """Call ``work`` with a model on the job's device, or on the CPU if the GPU runs out of memory.

    The fallback also applies if the user chose the GPU: the CPU gives the same labels, more slowly.

    Args:
        folder: Folder of the model.
        job: Device and precision.
        warn: Called with a warning before the fallback.
        work: Function of the loaded model.
        load: Loads the model, as `load_model`, which None stands for; a process with many jobs
            keeps the model.

    Returns:
        Result of ``work``.
    """
    import torch

    from spinemamba.inference.model import load_model

    load = load or load_model
    try:
        return work(load(folder, pick_device(job.device), job.precision))
    except torch.cuda.OutOfMemoryError:
        warn("The GPU has too little free memory for this volume. Using the slower CPU instead.")
    # Outside of `except`, because the exception keeps references to tensors on the GPU.
    torch.cuda.empty_cache()
    return work(load(folder, "cpu", "float32"))


def pick_device(name: str) -> str:
    """Return the torch device for "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        UserError: If the GPU does not exist (NO_GPU).
    """
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available()}
    available["mps"] = torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if available["cuda"] else "cpu"
    kind, _, number = name.partition(":")
    if not available[kind] or (number and int(number) >= torch.cuda.device_count()):
        raise UserError(
            f"The device '{name}' is not available on this computer.",
            "Choose 'auto' or 'cpu', or check the GPU's driver.",
            Code.NO_GPU,
        )
    return name


@contextmanager
def translate_out_of_memory() -> Iterator[None]:
    """Convert out-of-memory errors of the CPU and the GPU to a `UserError`."""
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
