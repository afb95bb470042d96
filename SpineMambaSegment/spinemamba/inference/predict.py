"""Run a network over windows of an image and blend the answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.progress import Progress
from spinemamba.imaging.resample import crop_geometry
from spinemamba.imaging.volume import Geometry
from spinemamba.inference.model import LoadedNetwork
from spinemamba.inference.sliding_window import Blend, Box, Slab
from spinemamba.network.config import CORE, OFFSET_UNIT_VOX


@dataclass(frozen=True)
class Prediction:
    """What a network says about the voxels of an image, on the CPU; 0 where no window lay.

    Attributes:
        bone: Probability of any level, float32 (D, H, W).
        core: Probability of a body core, float32 (D, H, W).
        levels: Probability of each level given bone, float16 (25, D, H, W).
        offsets_mm: Way to the centre of the vertebra's core along z, y, x, float16 (3, D, H, W);
            None if the network does not say.
    """

    bone: Tensor
    core: Tensor
    levels: Tensor
    offsets_mm: Tensor | None

    @classmethod
    def room(cls, shape: tuple[int, ...], offsets: bool) -> Prediction:
        """Return zeros for an image of this shape."""
        bone, core = torch.zeros(shape), torch.zeros(shape)
        levels = torch.zeros(len(NETWORK_LEVELS), *shape, dtype=torch.float16)
        ways = torch.zeros(3, *shape, dtype=torch.float16) if offsets else None
        return cls(bone, core, levels, ways)

    def take(self, slab: Slab, spacing_mm: float) -> None:
        """Turn the logits of a slab into probabilities."""
        bone, core, levels = split_logits(slab.mean)
        self.bone[slab.slices] = bone * slab.covered
        self.core[slab.slices] = core * slab.covered
        self.levels[:, slab.slices] = levels * slab.covered
        if self.offsets_mm is not None:
            ways = slab.mean[CORE + 1 :] * OFFSET_UNIT_VOX * spacing_mm
            self.offsets_mm[:, slab.slices] = ways.half()


def predict(
    model: LoadedNetwork, image: Tensor, boxes: list[Box], progress: Progress, stage: str
) -> Prediction:
    """Return the blended answers of a network.

    Args:
        model: The network.
        image: Normalised image at the network's spacing, (D, H, W), no axis shorter than the
            window.
        boxes: Windows, each as large as the network's patch, in any order: they are taken from
            tail to head, so that the answer is the same, bit for bit.
        progress: Called after every window; may stop the run by raising.
        stage: Name of the stage for ``progress``.
    """
    config = model.network.config
    blend = Blend(config.outputs, tuple(image.shape), model.patch_vox)
    found = Prediction.room(tuple(image.shape), config.outputs > CORE + 1)
    ordered = sorted(boxes, key=lambda box: tuple(axis.start for axis in box))
    for k, box in enumerate(ordered):
        _take(found, blend.finish(box[0].start), model)
        blend.add(box, model.answer(image[box][None, None])[0])
        progress(stage, (k + 1) / len(boxes))
    _take(found, blend.finish(image.shape[0]), model)
    return found


def _take(found: Prediction, slab: Slab | None, model: LoadedNetwork) -> None:
    if slab is not None:
        found.take(slab, model.spacing_mm)


def grow_to(geometry: Geometry, least_vox: tuple[int, int, int]) -> Geometry:
    """Return the grid made at least so large, by equally many voxels on both sides."""
    missing = [max(0, least - n) for n, least in zip(geometry.shape, least_vox, strict=True)]
    box = tuple(
        slice(-(m // 2), n + m - m // 2) for m, n in zip(missing, geometry.shape, strict=True)
    )
    return crop_geometry(geometry, box)


def split_logits(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Turn logits into probabilities.

    Args:
        logits: (27 or more, D, H, W): background, levels, core.

    Returns:
        Bone (D, H, W): any level; core (D, H, W); and each level given bone (25, D, H, W).
    """
    foreground = logits[1:CORE].logsumexp(dim=0)  # (D, H, W)
    bone = torch.sigmoid(foreground - logits[0])
    core = torch.sigmoid(logits[CORE])
    return bone, core, torch.softmax(logits[1:CORE], dim=0)
