"""Run a network on overlapping windows of an image and combine the logits.

MONAI's `SlidingWindowInferer` does the same, but holds the logits of the whole image. Here finished
slices become probabilities at once, and the result does not depend on the order of the windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.progress import Progress
from spinemamba.imaging.resample import crop_geometry
from spinemamba.imaging.volume import Box, Geometry
from spinemamba.inference.model import LoadedNetwork
from spinemamba.inference.sliding_window import Slab, WindowAggregator
from spinemamba.network.config import CORE, OFFSET_UNIT_VOX


@dataclass(frozen=True)
class Prediction:
    """Outputs of a network for each voxel of an image, on the CPU; 0 where no window lay.

    Attributes:
        bone: Probability of any level, float32 (D, H, W); 0.5 at the surface of bones.
        core: Probability of a body core, float32 (D, H, W).
        levels: Probability of each level given bone, float16 (25, D, H, W).
        offsets_mm: Vector to the centre of the vertebra's core along z, y, x, float16
            (3, D, H, W); None if the network predicts no offsets.
    """

    bone: Tensor
    core: Tensor
    levels: Tensor
    offsets_mm: Tensor | None

    @classmethod
    def zeros(cls, shape: tuple[int, ...], has_offsets: bool) -> Prediction:
        """Return a prediction of zeros for an image of this shape."""
        bone, core = torch.zeros(shape), torch.zeros(shape)
        levels = torch.zeros(len(NETWORK_LEVELS), *shape, dtype=torch.float16)
        offsets_mm = torch.zeros(3, *shape, dtype=torch.float16) if has_offsets else None
        return cls(bone, core, levels, offsets_mm)

    def store(self, slab: Slab, model: LoadedNetwork) -> None:
        """Convert the logits of a slab to probabilities and offsets, and store them."""
        bone, core, levels = _probabilities(slab.mean, model.bone_log_odds)
        self.bone[slab.slices] = bone * slab.covered
        self.core[slab.slices] = core * slab.covered
        self.levels[:, slab.slices] = levels * slab.covered
        if self.offsets_mm is not None:
            offsets_mm = slab.mean[CORE + 1 :] * OFFSET_UNIT_VOX * model.spacing_mm
            self.offsets_mm[:, slab.slices] = offsets_mm.half()


def predict(
    model: LoadedNetwork, image: Tensor, boxes: list[Box], progress: Progress, stage: str
) -> Prediction:
    """Predict an image with overlapping windows.

    Args:
        model: The network.
        image: Normalised image at the network's spacing, (D, H, W); each axis at least as long
            as the window.
        boxes: Windows of the network's patch size, in any order. They are processed in ascending
            order, so that the result is the same bit for bit.
        progress: Called after every window; may raise an exception to stop.
        stage: Name of the stage for ``progress``.
    """
    config = model.network.config
    aggregator = WindowAggregator(config.outputs, tuple(image.shape), model.patch_vox)
    prediction = Prediction.zeros(tuple(image.shape), config.outputs > CORE + 1)
    ordered = sorted(boxes, key=lambda box: tuple(axis.start for axis in box))
    for k, box in enumerate(ordered):
        _store(prediction, aggregator.finish(box[0].start), model)
        aggregator.add(box, model.logits(image[box][None, None])[0])
        progress(stage, (k + 1) / len(boxes))
    _store(prediction, aggregator.finish(image.shape[0]), model)
    return prediction


def _store(prediction: Prediction, slab: Slab | None, model: LoadedNetwork) -> None:
    if slab is not None:
        prediction.store(slab, model)


def pad_geometry(geometry: Geometry, min_shape: tuple[int, int, int]) -> Geometry:
    """Return the grid padded on both sides to at least ``min_shape`` (z, y, x)."""
    missing = [max(0, least - n) for n, least in zip(geometry.shape, min_shape, strict=True)]
    box = tuple(
        slice(-(m // 2), n + m - m // 2) for m, n in zip(missing, geometry.shape, strict=True)
    )
    return crop_geometry(geometry, box)


def _probabilities(logits: Tensor, bone_log_odds: float) -> tuple[Tensor, Tensor, Tensor]:
    """Convert logits to probabilities.

    Args:
        logits: (27 or more, D, H, W): background, levels, core.
        bone_log_odds: Log odds of bone that become a probability of 0.5.

    Returns:
        Bone, that is any level (D, H, W); core (D, H, W); each level given bone (25, D, H, W).
    """
    foreground = logits[1:CORE].logsumexp(dim=0)  # (D, H, W)
    bone = torch.sigmoid(foreground - logits[0] - bone_log_odds)
    core = torch.sigmoid(logits[CORE])
    return bone, core, torch.softmax(logits[1:CORE], dim=0)
