"""Level stage: the level network over the vertebrae of a scan.

Unlike the levels of the other two networks, which belong to voxels of overlapping windows, these
belong to whole vertebrae, and each is read in the context of all others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spinemamba.imaging.truncation import FieldOfView
from spinemamba.imaging.vertebra_crops import VertebraFrames, vertebra_crops
from spinemamba.imaging.volume import Volume
from spinemamba.network.level_sequence import NO_VERTEBRA, LevelSequenceNet, neighbour_gaps


@dataclass(frozen=True)
class LevelEvidence:
    """What the level network sees in the vertebrae, from top to bottom.

    Attributes:
        numbers: Number of each vertebra.
        levels: Probability of each of `NETWORK_LEVELS` if it is a vertebra, (n, 25).
        no_vertebra: Probability that it is not a vertebra, (n,).
        witnesses: Probability of a rib on the left, a rib on the right, the first and the last
            vertebra with ribs, and the last one above the sacrum, (n, 5).
    """

    numbers: tuple[int, ...]
    levels: np.ndarray
    no_vertebra: np.ndarray
    witnesses: np.ndarray


@torch.inference_mode()
def level_stage(
    image: Volume,
    numbers: Volume,
    network: LevelSequenceNet,
    view: FieldOfView | None = None,
) -> LevelEvidence:
    """Return what the level network sees in each vertebra.

    Args:
        image: Normalised image in canonical orientation.
        numbers: Number of the vertebra of each voxel, ascending from top to bottom; its axes are
            parallel to those of the image.
        network: Level network, in evaluation mode.
        view: Field of view of the image; None if it fills the grid.
    """
    frames, crops = vertebra_crops(image, numbers, view)
    if not len(frames.numbers):
        return LevelEvidence((), np.zeros((0, NO_VERTEBRA)), np.zeros(0), np.zeros((0, 5)))
    return _evidence(frames, crops, network)


def _evidence(
    frames: VertebraFrames, crops: np.ndarray, network: LevelSequenceNet
) -> LevelEvidence:
    device = next(network.parameters()).device
    gaps = neighbour_gaps(torch.from_numpy(frames.centres_mm).float()).to(device)
    logits = network(torch.from_numpy(crops).to(device), gaps)
    levels = logits.levels.double().cpu()
    return LevelEvidence(
        tuple(map(int, frames.numbers)),
        torch.softmax(levels[:, :NO_VERTEBRA], dim=1).numpy(),
        torch.softmax(levels, dim=1)[:, NO_VERTEBRA].numpy(),
        torch.sigmoid(logits.witnesses.double()).cpu().numpy(),
    )
