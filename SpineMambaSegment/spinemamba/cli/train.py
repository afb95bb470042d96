"""``spinemamba train``: gather cases, train a network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.cli.numbers import above_zero, seed, threads, whole
from spinemamba.common.errors import Code, UserError
from spinemamba.training.architectures import KINDS, LEVEL_WEIGHT, SIZES, SPACING_MM

if TYPE_CHECKING:
    from spinemamba.training.data.dataset import Case
    from spinemamba.training.data.gather import DataOptions
    from spinemamba.training.loop import Trainer


SHEET_PATCHES = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``spinemamba train``."""
    parser.add_argument("network", choices=sorted(SPACING_MM), help="which of the two networks")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument(
        "--real",
        type=Path,
        help="folder of the public cases in training/data/public_cases.py",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="own cases, laid out as VerSe or nnU-Net (raw)"
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="CASE", help="cases to keep for testing"
    )
    parser.add_argument(
        "--phantoms", type=whole(0, 100_000), default=12, help="synthetic spines (default 12)"
    )
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default="spinemamba",
        help="SpineMamba, SpineMamba without its parts, or MONAI's DynUNet (%(default)s)",
    )
    parser.add_argument(
        "--size",
        choices=SIZES,
        default="tiny",
        help="the starter's, or the reconstruction of the paper's network (%(default)s)",
    )
    parser.add_argument("--start-from", metavar="MODEL", help="learn on from a model's weights")
    _add_schedule(parser)


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how long and how fast to learn."""
    parser.add_argument(
        "--minutes", type=above_zero(1e7), default=60.0, help="time of the whole schedule"
    )
    parser.add_argument(
        "--steps", type=whole(1, 10**9), default=100_000, help="steps of the whole schedule"
    )
    parser.add_argument(
        "--learning-rate", type=above_zero(1.0), default=1e-3, help="at its peak (%(default)s)"
    )
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--threads", type=threads, default=0, help="CPU threads (default: all)")


def run(args: argparse.Namespace) -> int:
    """Train until time or steps are over; a second call goes on where the first stopped."""
    import torch

    from spinemamba.common.process_tuning import keep_freed_memory
    from spinemamba.network.config import TRAINED
    from spinemamba.training.data.gather import gather_cases
    from spinemamba.training.folder import SHEET, working_in
    from spinemamba.training.preview import write_contact_sheet

    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    with working_in(args.out, TRAINED[args.size, args.network], args.kind):
        cases, weights = gather_cases(_data_options(args), SPACING_MM[args.network], _say)
        if not cases:
            raise UserError(
                "There is nothing to learn from.",
                "Give --data, --real or --phantoms.",
                Code.INPUT_BAD,
            )
        trainer = _trainer(args, cases, weights)
        write_contact_sheet(trainer.examples(SHEET_PATCHES), args.out / SHEET)
        _say(f"what the network is fed: {args.out / SHEET}")
        trainer.run(args.out, _say)
    return 0


def _data_options(args: argparse.Namespace) -> DataOptions:
    from spinemamba.training.data.gather import DataOptions

    return DataOptions(
        folder=args.out,
        public=args.real,
        user=args.data,
        leave_out=tuple(args.leave_out),
        phantoms=args.phantoms,
        seed=args.seed,
    )


def _trainer(args: argparse.Namespace, cases: list[Case], weights: list[float]) -> Trainer:
    """Return the training that the arguments ask for, as far as it has come."""
    import torch

    from spinemamba.inference.model import load_model
    from spinemamba.inference.precision import has_bfloat16
    from spinemamba.network.config import TRAINED
    from spinemamba.protocol.model_card import find_model
    from spinemamba.training.loop import Trainer, TrainOptions

    options = TrainOptions(
        minutes=args.minutes,
        steps=args.steps,
        learning_rate=args.learning_rate,
        level_weight=LEVEL_WEIGHT[args.network],
        seed=args.seed,
        kind=args.kind,
        bfloat16=has_bfloat16(torch.device("cpu")),
    )
    trainer = Trainer(TRAINED[args.size, args.network], cases, weights, options)
    if trainer.resume(args.out):
        _say(f"goes on at step {trainer.step}")
        if args.start_from:
            began = trainer.started_from or "nothing"
            _say(f"--start-from is not used: the training began from {began}")
    elif args.start_from:
        trainer.start_from(load_model(find_model(args.start_from)), args.network)
    return trainer


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
