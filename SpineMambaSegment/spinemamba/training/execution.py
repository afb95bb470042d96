"""Where a training runs: device, precision, compiler, and several processes with one GPU each.

With ``torchrun`` every process trains on its own patches, and gradients are averaged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed
from torch import nn

from spinemamba.common.errors import Code, UserError
from spinemamba.inference.device import pick_device
from spinemamba.inference.precision import has_bfloat16

_T = TypeVar("_T")

_LONGEST_WAIT = timedelta(hours=24)
"""How long processes wait for the first one, which may have thousands of cases to prepare."""

_MOST_WORKERS = 8
"""Default number of workers at most: it keeps a data-centre GPU busy, at about 0.5 GB for each."""


@dataclass(frozen=True)
class Execution:
    """Where a training runs. It does not change which patches are drawn.

    Attributes:
        device: Device of network, batches and loss.
        compiled: Whether the network is compiled by `torch.compile`.
        workers: Processes that draw patches; with 0 the training draws them itself.
        rank: Number of this process.
        processes: Number of processes that train together.
    """

    device: torch.device
    compiled: bool = False
    workers: int = 0
    rank: int = 0
    processes: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process prepares the data, reports and writes all files."""
        return self.rank == 0


ONE_CPU = Execution(torch.device("cpu"))
"""One process on the CPU that draws its patches itself."""


@contextmanager
def joined_processes(device: str, *, compiled: bool) -> Iterator[Execution]:
    """Yield how this process trains, connected with the others if ``torchrun`` started several.

    Args:
        device: "auto", "cpu", "cuda" or one GPU such as "cuda:1".
        compiled: Whether to compile the network.

    Raises:
        UserError: If there is no such GPU (NO_GPU), or one GPU is chosen for several processes
            (INPUT_BAD).
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = pick_device(device)
    if processes == 1:
        yield Execution(_current(chosen), compiled)
        return
    if ":" in chosen:
        raise UserError(
            f"--device {device} names one GPU, but torchrun has started {processes} processes.",
            "Use --device auto or cuda: each process then takes a GPU of its own.",
        )
    if chosen == "cuda":
        chosen = pick_device(f"cuda:{os.environ['LOCAL_RANK']}")
    place = _current(chosen)
    backend = "nccl" if place.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, timeout=_LONGEST_WAIT)
    try:
        rank = torch.distributed.get_rank()
        yield Execution(place, compiled, rank=rank, processes=processes)
    finally:
        torch.distributed.destroy_process_group()


def _current(name: str) -> torch.device:
    """Return a device; a GPU becomes the current one, which some kernels rely on."""
    device = torch.device(name)
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
        torch.cuda.set_device(device)
    return device


def workers_of(requested: int | None, execution: Execution) -> int:
    """Return the number of processes that draw patches for one process that trains."""
    if requested is not None:
        return requested
    if execution.device.type == "cpu":
        return 0
    cores = (os.cpu_count() or 1) // execution.processes
    return max(0, min(_MOST_WORKERS, cores - 1))


def training_precision(requested: str, device: torch.device) -> str:
    """Return the precision of convolutions and linear layers.

    Args:
        requested: "float32", "bfloat16" or "float16"; "auto" for the best that the device
            calculates fast. Scans, affinities and losses always are in float32.
        device: Device of the network.

    Raises:
        UserError: If the device does not support the precision (INPUT_BAD).
    """
    if requested == "auto":
        if has_bfloat16(device):
            return "bfloat16"
        return "float16" if device.type == "cuda" else "float32"
    unsupported = (requested == "bfloat16" and not has_bfloat16(device)) or (
        requested == "float16" and device.type != "cuda"
    )
    if unsupported:
        raise UserError(
            f"The device '{device}' does not calculate fast in {requested}.",
            "Choose --precision auto or float32.",
            Code.INPUT_BAD,
        )
    return requested


def mixed_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which convolutions and linear layers have a precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


def replica(network: nn.Module, execution: Execution) -> nn.Module:
    """Return the module to call in training: it averages gradients over processes, if several."""
    if execution.processes > 1:
        # Not needed by one process, and slow to import.
        from torch.nn.parallel import DistributedDataParallel

        ids = [execution.device.index] if execution.device.type == "cuda" else None
        network = DistributedDataParallel(network, device_ids=ids)
    return torch.compile(network) if execution.compiled else network


def largest(values: tuple[float, ...], execution: Execution) -> tuple[float, ...]:
    """Return the largest of each value over all processes."""
    if execution.processes == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=execution.device)
    torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
    return tuple(tensor.tolist())


def from_first(make: Callable[[], _T], execution: Execution) -> _T:
    """Return what ``make`` returns in the first process; it is not called in the others."""
    if execution.processes == 1:
        return make()
    content = [make() if execution.is_first else None]
    torch.distributed.broadcast_object_list(content, device=execution.device)
    return content[0]
