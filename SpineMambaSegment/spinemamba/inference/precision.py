"""How exactly the convolutions are computed: bfloat16 is faster where the processor has it.

The scan, the norms' statistics and the prior's affinity are float32 always. Labels in bfloat16
differ from those in float32 in some voxels at the rim of a vertebra, as they do between two
processors; float32 gives the same labels everywhere.
"""

from __future__ import annotations

from typing import Any

import torch

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.job import PRECISIONS
from spinemamba.protocol.model_card import ModelCard

AUTO, FLOAT32, BFLOAT16 = PRECISIONS

LARGEST_CHANGE = 0.001
"""Of a Dice score: bfloat16 is taken by itself only if it costs less on every measured case."""

CHANGE = "bfloat16_dice_change"
"""Entry of a case in a model's card: the largest change of its Dice scores with bfloat16."""


def choose_precision(wanted: str, device: torch.device, card: ModelCard) -> str:
    """Return the precision to compute with.

    Args:
        wanted: One of `job.PRECISIONS`. "auto" takes bfloat16 where the device has it and the
            model's card shows that it has been measured and changes nothing that matters.
        device: Where the networks run.
        card: The model.

    Raises:
        UserError: If bfloat16 is wanted where the device has none (INPUT_BAD).
    """
    if wanted == FLOAT32 or (wanted == AUTO and not harmless(card.results)):
        return FLOAT32
    if has_bfloat16(device):
        return BFLOAT16
    if wanted == BFLOAT16:
        raise UserError(
            f"The device '{device}' does not compute in bfloat16.",
            "Choose the precision 'auto' or 'float32'.",
            Code.INPUT_BAD,
        )
    return FLOAT32


def harmless(results: dict[str, Any]) -> bool:
    """Return whether a card's results show that bfloat16 changes no Dice score that matters."""
    found = [case[CHANGE] for case in results.values() if CHANGE in case]
    return bool(found) and all(isinstance(v, int | float) and v < LARGEST_CHANGE for v in found)


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device computes in bfloat16 itself; an emulation would be slower."""
    if device.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    # Older versions of torch do not tell; then float32 it is.
    return any(getattr(torch.cpu, name, lambda: False)() for name in tests)
