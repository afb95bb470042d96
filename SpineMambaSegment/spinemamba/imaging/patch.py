"""Put one vertebra into label values. numpy only."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np


def with_vertebra(
    labels: np.ndarray, mask: np.ndarray, value: int, keep: Collection[int] = ()
) -> np.ndarray:
    """Return label values in which a vertebra is where a mask says.

    Args:
        labels: Label values, any shape.
        mask: Where the vertebra is, bool, the same shape.
        value: Its value; voxels that have it now and lie outside of the mask become 0.
        keep: Values whose voxels stay what they are.

    Returns:
        A copy of ``labels``.

    Raises:
        ValueError: If the vertebra itself shall be kept.
    """
    if value in keep:
        raise ValueError(f"the vertebra of the value {value} shall be kept as it is")
    out = labels.copy()
    out[labels == value] = 0
    out[mask & ~np.isin(labels, list(keep))] = value
    return out
