"""``spinemamba prepare``: convert cases for training once, in several processes."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.cli.arguments import whole_number
from spinemamba.cli.console import print_line
from spinemamba.common.errors import UserError
from spinemamba.training.architectures import SPACING_MM

if TYPE_CHECKING:
    from spinemamba.training.data.gather import DataOptions

_LEVELS = "levels"
"""The network of ``train-levels``."""

_WORKER_GB = 4.0
"""Memory that a worker needs for a CT of the whole trunk."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "data", type=Path, help="folder of your cases, or a data list (JSON) of cases"
    )
    parser.add_argument("out", type=Path, help="folder for the prepared cases")
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="folder of the files of a data list (default: that of the list)",
    )
    parser.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="NAME",
        help="label of the data set that is no vertebra and becomes background; may be repeated",
    )
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=[*sorted(SPACING_MM), _LEVELS],
        default=sorted(SPACING_MM),
        help="networks to prepare the cases for (coarse fine)",
    )
    parser.add_argument(
        "--workers",
        type=whole_number(1, 256),
        help="processes (default: as many as cores and 4 GB of free memory for each allow)",
    )


def run(args: argparse.Namespace) -> int:
    """Prepare the cases that are missing; a second call continues after an interruption.

    Raises:
        UserError: If a case cannot be used, or another preparation runs there.
    """
    import torch

    from spinemamba.common.locks import try_lock
    from spinemamba.training.data.gather import gather_cases

    if not args.data.exists():
        raise UserError(f"There is no {args.data}.", "Check the path of the cases.")
    torch.set_num_threads(1)
    workers = args.workers or _default_workers()
    args.out.mkdir(parents=True, exist_ok=True)
    with try_lock(args.out / "prepare.lock", "preparation"):
        for network in args.networks:
            spacing_mm = _spacing_mm(network)
            print_line(f"cases for the {network} network, {spacing_mm:g} mm, {workers} workers")
            cases, _ = gather_cases(_options(args, network, workers), spacing_mm, print_line)
            print_line(f"{len(cases)} cases are in {args.out / network}")
    print_line(f"train with: spinemamba train NETWORK --out FOLDER --prepared {args.out}")
    return 0


def _spacing_mm(network: str) -> float:
    from spinemamba.training.levels.spines import SPACING_MM as LEVEL_SPACING_MM

    return LEVEL_SPACING_MM if network == _LEVELS else SPACING_MM[network]


def _options(args: argparse.Namespace, network: str, workers: int) -> DataOptions:
    """Return the sources of the cases, for one network."""
    from spinemamba.training.data.data_list import read_data_list
    from spinemamba.training.data.gather import DataOptions

    is_list = args.data.suffix.lower() == ".json"
    listed = read_data_list(args.data, args.data_root) if is_list else None
    user = None if is_list else args.data
    return DataOptions(
        args.out / network,
        listed,
        user,
        ignore=tuple(args.ignore),
        phantoms=0,
        workers=workers,
    )


def _default_workers() -> int:
    """Return as many workers as cores and free memory allow, at least one."""
    from spinemamba.inference.probe import memory_gb

    memory = memory_gb()
    cores = os.cpu_count() or 1
    if memory is None or "available" not in memory:
        return cores
    return max(1, min(cores, int(memory["available"] / _WORKER_GB)))
