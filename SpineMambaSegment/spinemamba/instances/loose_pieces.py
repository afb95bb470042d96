"""Loose pieces of bone that belong to no vertebra: specks on ribs and sacroiliac joints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.imaging.masks import boxes_of, pieces_of


@dataclass(frozen=True)
class LoosePieceOptions:
    """Thresholds, each with its reason.

    Attributes:
        largest_ml: Loose pieces up to this volume are left out. On a chest CT, specks on ribs and
            transverse processes were up to 0.1 mL; the tip of a spinous process behind a gap has
            0.5 mL and more.
        largest_share: Loose pieces up to this share of the vertebra are left out, so that small
            vertebrae of children lose no larger parts.
    """

    largest_ml: float = 0.3
    largest_share: float = 0.05


def take_loose_pieces(
    numbers: np.ndarray, voxel_ml: float, options: LoosePieceOptions = LoosePieceOptions()
) -> np.ndarray:
    """Remove small loose pieces from instances, in place.

    Pieces are connected by faces, like the surfaces that are exported.

    Args:
        numbers: Instance number of each voxel, 0 is background, (z, y, x).
        voxel_ml: Volume of a voxel.
        options: Thresholds.

    Returns:
        The removed pieces: instance number of each voxel, in the shape and type of ``numbers``.
    """
    taken = np.zeros_like(numbers)
    for number, box in boxes_of(numbers).items():
        pieces, sizes = pieces_of(numbers[box] == number)
        limit = min(options.largest_ml / voxel_ml, options.largest_share * sizes.sum())
        small = sizes <= limit
        small[sizes.argmax()] = False
        loose = np.concatenate([[False], small])[pieces]
        taken[box][loose], numbers[box][loose] = number, 0
    return taken
