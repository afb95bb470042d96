"""Arguments of where and how fast a training runs: device, batches, worker processes."""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING

from spinemamba.cli.arguments import positive_number, whole_number
from spinemamba.protocol.job import NTH_GPU

if TYPE_CHECKING:
    from spinemamba.training.execution import Execution

_MOST_WORKERS = 8
"""Default limit: so many keep a data-centre GPU busy, and each needs about 0.5 GB."""


def add_execution_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of device, precision, batches, workers and the time of one call."""
    parser.add_argument(
        "--device",
        type=_device,
        default="auto",
        metavar="DEVICE",
        help="auto (a GPU if there is one), cpu, cuda, or one GPU such as cuda:1 (%(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="of the convolutions; scans and losses are always in float32 (%(default)s)",
    )
    parser.add_argument(
        "--batch-size",
        type=whole_number(1, 1024),
        default=1,
        help="patches per batch of each process (%(default)s)",
    )
    parser.add_argument(
        "--accumulate",
        type=whole_number(1, 1024),
        default=1,
        metavar="BATCHES",
        help="batches per step, for larger steps than fit into memory (%(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=whole_number(0, 256),
        help="processes that draw patches (default: 0 on the CPU, up to 8 for a GPU)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the network first (torch.compile)"
    )
    parser.add_argument(
        "--time-limit",
        type=positive_number(1e7),
        metavar="MINUTES",
        help="end this call before, with a checkpoint; the schedule continues with the next call",
    )


def _device(text: str) -> str:
    if text in ("auto", "cpu", "cuda") or re.fullmatch(NTH_GPU, text):
        return text
    raise argparse.ArgumentTypeError(f"'{text}' is not auto, cpu, cuda, or a GPU such as cuda:1")


def workers_of(requested: int | None, execution: Execution) -> int:
    """Return the number of processes that draw patches for one process that trains."""
    if requested is not None:
        return requested
    if execution.device.type == "cpu":
        return 0
    cores = (os.cpu_count() or 1) // execution.processes
    return max(0, min(_MOST_WORKERS, cores - 1))
