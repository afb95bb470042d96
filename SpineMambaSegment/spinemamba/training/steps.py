"""What the trainings of all networks have in common: rates, averages, and the state to resume."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spinemamba.common.errors import Code, UserError
from spinemamba.training.checkpoint import all_finite, load_checkpoint


def rate_factor(step: int, done: float, warm_up_steps: int = 100) -> float:
    """Return the learning rate relative to its peak: linear warm-up, then a cosine to zero."""
    warm = min(1.0, (step + 1) / warm_up_steps)
    return warm * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


@torch.no_grad()
def update_average(average: dict[str, Tensor], network: nn.Module, ema: float, step: int) -> None:
    """Update the exponential moving average of the weights, in place.

    Args:
        average: Averages by name.
        network: Network after a step.
        ema: Decay of the average.
        step: Number of steps so far. The decay is smaller at first, so that the average forgets the
            random initial weights.
    """
    decay = min(ema, (1 + step) / (10 + step))
    for name, value in network.state_dict().items():
        average[name].lerp_(value, 1 - decay)


def state_of(
    network: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    step: int,
) -> dict[str, Any] | None:
    """Return the state from which a training resumes; None if a weight is not finite."""
    if not all_finite([*network.state_dict().values(), *average.values()]):
        return None
    return {
        "network": network.state_dict(),
        "average": average,
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "step": step,
    }


def restored(
    folder: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
) -> dict[str, Any]:
    """Restore network, optimizer and generator in place from the checkpoint in a folder.

    Returns:
        The whole state, with "average", on the device of the network, and "step".

    Raises:
        UserError: If the checkpoint is missing (MODEL_MISSING), damaged, or of another network
            (MODEL_BAD).
    """
    state = load_checkpoint(folder)
    try:
        network.load_state_dict(state["network"])
        expected, average = network.state_dict(), state["average"]
        if {k: v.shape for k, v in expected.items()} != {k: v.shape for k, v in average.items()}:
            raise ValueError("names or shapes of weights differ")
        state["average"] = {k: v.to(expected[k].device) for k, v in average.items()}
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        int(state["step"])
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"The checkpoint in {folder} belongs to another network.",
            "Choose another folder with --out, or delete the checkpoint to start again.",
            Code.MODEL_BAD,
        ) from error
    return state


def not_finite(what: str, step: int, rate: float, peak: float) -> UserError:
    """Return the error of a training whose loss or weights are not finite.

    Args:
        what: Subject and verb, such as "weights are".
        step: Number of steps before it.
        rate: Learning rate of the step.
        peak: Value of --learning-rate.
    """
    return UserError(
        f"The {what} not finite at step {step + 1}, at the learning rate {rate:.3g} "
        f"(--learning-rate {peak:g}). Nothing was saved since the last checkpoint.",
        "Repeat the command with a lower --learning-rate. It continues from that checkpoint.",
        Code.INPUT_BAD,
    )
