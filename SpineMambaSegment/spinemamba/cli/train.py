"""``spinemamba train``: prepare the data, and train one of the two networks of voxels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.cli.arguments import positive_number, seed, threads, whole_number
from spinemamba.cli.console import print_line
from spinemamba.common.errors import Code, UserError
from spinemamba.training.architectures import (
    KINDS,
    LAST_PHASE,
    LEVEL_WEIGHT,
    SIZES,
    SPACING_MM,
    THICK,
    TURNED,
)

if TYPE_CHECKING:
    from spinemamba.training.data.dataset import Case
    from spinemamba.training.data.gather import DataOptions
    from spinemamba.training.loop import Trainer, TrainOptions


_SHEET_PATCHES = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``spinemamba train``."""
    parser.add_argument("network", choices=sorted(SPACING_MM), help="which of the two networks")
    add_data_arguments(parser)
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default="spinemamba",
        help="architecture: SpineMamba, an ablation of it, or MONAI's DynUNet (%(default)s)",
    )
    parser.add_argument(
        "--size",
        choices=SIZES,
        default="tiny",
        help="size of the starter model, the same with outlines at full resolution, or the "
        "reconstruction of the paper's (%(default)s)",
    )
    parser.add_argument("--start-from", metavar="MODEL", help="initialise with a model's weights")
    parser.add_argument(
        "--contrast",
        choices=("any", "ct"),
        default="any",
        help="contrasts to learn: CT, MR and random ones, or CT alone (%(default)s)",
    )
    parser.add_argument(
        "--last-phase",
        type=positive_number(1.0),
        metavar="SHARE",
        help="share of the schedule after which real images are learned as they are, without "
        f"changes (default: {LAST_PHASE['fine']} for fine, {LAST_PHASE['coarse']:g} for coarse)",
    )
    _add_schedule(parser)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the folder of a training and of its cases."""
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument(
        "--data-list", type=Path, metavar="FILE", help="JSON file that lists cases and licences"
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="DIR",
        help="folder of the files of --data-list (default: that of the list)",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="your cases, in the layout of VerSe or nnU-Net"
    )
    parser.add_argument(
        "--leave-out", nargs="+", default=[], metavar="CASE", help="cases to exclude, for testing"
    )
    parser.add_argument(
        "--phantoms",
        type=whole_number(0, 100_000),
        default=12,
        help="synthetic spines (default 12)",
    )


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the schedule."""
    parser.add_argument(
        "--minutes", type=positive_number(1e7), default=60.0, help="time of the whole schedule"
    )
    add_step_arguments(parser, 100_000)


def add_step_arguments(parser: argparse.ArgumentParser, steps: int) -> None:
    """Add the arguments of the steps of a training; ``steps`` is the default of their number."""
    parser.add_argument(
        "--steps", type=whole_number(1, 10**9), default=steps, help="steps of the whole schedule"
    )
    parser.add_argument(
        "--learning-rate", type=positive_number(1.0), default=1e-3, help="peak value (%(default)s)"
    )
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--threads", type=threads, default=0, help="CPU threads (default: all)")


def prepare_process(args: argparse.Namespace) -> None:
    """Set up memory and threads of the process for a training."""
    import torch

    from spinemamba.common.process_tuning import keep_freed_memory

    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)


def run(args: argparse.Namespace) -> int:
    """Train until the time or the steps are used up; a second call resumes from the checkpoint."""
    from spinemamba.network.config import TRAINED
    from spinemamba.training.data.gather import gather_cases
    from spinemamba.training.folder import SHEET, working_in
    from spinemamba.training.monitoring import write_contact_sheet

    prepare_process(args)
    with working_in(args.out, TRAINED[args.size, args.network], args.kind):
        cases, weights = gather_cases(data_options(args), SPACING_MM[args.network], print_line)
        if not cases:
            raise UserError(
                "There are no cases to train on.",
                "Give --data, --data-list or --phantoms.",
                Code.INPUT_BAD,
            )
        trainer = _trainer(args, cases, weights)
        write_contact_sheet(trainer.examples(_SHEET_PATCHES), args.out / SHEET)
        print_line(f"preview of the training patches: {args.out / SHEET}")
        trainer.run(args.out, print_line)
    return 0


def data_options(args: argparse.Namespace) -> DataOptions:
    """Return the sources of the cases that the arguments name.

    Raises:
        UserError: If the folder of a data list is given without a list (INPUT_BAD).
    """
    from spinemamba.training.data.data_list import read_data_list
    from spinemamba.training.data.gather import DataOptions

    if args.data_root is not None and args.data_list is None:
        raise UserError(
            f"--data-root {args.data_root} is the folder of a data list, but there is no list.",
            "Add --data-list FILE, or leave out --data-root.",
        )
    listed = None if args.data_list is None else read_data_list(args.data_list, args.data_root)
    return DataOptions(
        folder=args.out,
        listed=listed,
        user=args.data,
        leave_out=tuple(args.leave_out),
        phantoms=args.phantoms,
        seed=args.seed,
    )


def _train_options(args: argparse.Namespace) -> TrainOptions:
    """Return the options of the training described by the arguments."""
    import torch

    from spinemamba.inference.precision import has_bfloat16
    from spinemamba.network.config import TRAINED
    from spinemamba.training.data.patches import PatchOptions
    from spinemamba.training.loop import TrainOptions
    from spinemamba.training.loss import LossWeights
    from spinemamba.training.phases import LastPhase
    from spinemamba.training.synthesis.options import CT_ONLY, DEFAULT_SYNTHESIS

    name = args.network
    surface = {"surface": 2.0, "beside": 4.0, "core": 0.5} if name == "fine" else {}
    return TrainOptions(
        minutes=args.minutes,
        steps=args.steps,
        learning_rate=args.learning_rate,
        loss=LossWeights(level=LEVEL_WEIGHT[name], **surface),
        last_phase=LastPhase(LAST_PHASE[name] if args.last_phase is None else args.last_phase),
        seed=args.seed,
        kind=args.kind,
        bfloat16=has_bfloat16(torch.device("cpu")),
        synthesis=CT_ONLY if args.contrast == "ct" else DEFAULT_SYNTHESIS,
        patch=PatchOptions(
            TRAINED[args.size, name].patch_vox,
            spacing_mm=SPACING_MM[name],
            turned=TURNED[name],
            thick=THICK[name],
        ),
    )


def _trainer(args: argparse.Namespace, cases: list[Case], weights: list[float]) -> Trainer:
    """Return the training described by the arguments, resumed if there is a checkpoint."""
    from spinemamba.inference.model import load_model
    from spinemamba.network.config import TRAINED
    from spinemamba.protocol.model_card import find_model
    from spinemamba.training.loop import Trainer

    options = _train_options(args)
    trainer = Trainer(TRAINED[args.size, args.network], cases, weights, options)
    if trainer.resume(args.out):
        print_line(f"resuming at step {trainer.step}")
        if args.start_from:
            initial = trainer.started_from or "random weights"
            print_line(f"--start-from is not used: the training began from {initial}")
    elif args.start_from:
        trainer.start_from(load_model(find_model(args.start_from)), args.network)
    return trainer
