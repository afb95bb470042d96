"""Where half precision is worth it: on processors and cards that calculate in bfloat16."""

from __future__ import annotations

import torch


def has_fast_bfloat16(device: str) -> bool:
    """Return whether convolutions in bfloat16 are faster than in float32 there.

    bfloat16 has the range of float32, so that losses need no scaling. On a CPU without its own
    instructions for it, it is slower than float32.

    Args:
        device: Kind of device: "cpu", "cuda" or "mps".
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False
