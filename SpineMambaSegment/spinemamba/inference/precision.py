"""Numeric precision of the convolutions: float32, or bfloat16 where the hardware supports it.

bfloat16 is faster. The scan, the statistics of the norms and the affinity of the shape prior are
always float32. Labels in bfloat16 differ from those in float32 in some voxels at the surface of a
vertebra, and between processors; float32 gives the same labels on every processor.
"""

from __future__ import annotations

from typing import Any

import torch

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.job import PRECISIONS
from spinemamba.protocol.model_card import ModelCard

AUTO, FLOAT32, BFLOAT16 = PRECISIONS

_MAX_DICE_CHANGE = 0.001
"""bfloat16 is chosen automatically only if every measured Dice score changes by less."""

CHANGE = "bfloat16_dice_change"
"""Key in the results of a model card: largest change of a case's Dice scores with bfloat16."""


def choose_precision(requested: str, device: torch.device, card: ModelCard) -> str:
    """Return the precision to compute with.

    Args:
        requested: One of `job.PRECISIONS`. "auto" selects bfloat16 if the device supports it and
            the model card shows that the Dice scores were measured and hardly change.
        device: Device of the networks.
        card: Model card.

    Returns:
        "float32" or "bfloat16".

    Raises:
        UserError: If bfloat16 is requested and the device does not support it (INPUT_BAD).
    """
    if requested == FLOAT32 or (requested == AUTO and not _keeps_dice(card.results)):
        return FLOAT32
    if has_bfloat16(device):
        return BFLOAT16
    if requested == BFLOAT16:
        raise UserError(
            f"The device '{device}' does not support bfloat16.",
            "Choose the precision 'auto' or 'float32'.",
            Code.INPUT_BAD,
        )
    return FLOAT32


def _keeps_dice(results: dict[str, Any]) -> bool:
    """Return True if bfloat16 was measured and changes no Dice score by `_MAX_DICE_CHANGE`."""
    changes = [case[CHANGE] for case in results.values() if CHANGE in case]
    return bool(changes) and all(
        isinstance(v, int | float) and v < _MAX_DICE_CHANGE for v in changes
    )


def has_bfloat16(device: torch.device) -> bool:
    """Return True if the hardware supports bfloat16; an emulation would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_available() and torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    # Older versions of torch lack these functions; use float32 then.
    return any(getattr(torch.cpu, name, lambda: False)() for name in tests)
