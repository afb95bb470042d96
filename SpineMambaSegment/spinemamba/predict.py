"""Run a network over windows of an image and blend the answers."""

from __future__ import annotations

import torch
from torch import Tensor

from spinemamba.checkpoint import LoadedNetwork
from spinemamba.network.config import CORE, OFFSET_UNIT_VOX
from spinemamba.progress import Progress
from spinemamba.resample import crop_geometry
from spinemamba.volume import Geometry
from spinemamba.windows import Blend, Box


def predict(
    model: LoadedNetwork, image: Tensor, boxes: list[Box], progress: Progress, stage: str
) -> tuple[Tensor, Tensor]:
    """Return the blended logits of a network.

    Args:
        model: The network.
        image: Normalised image at the network's spacing, (D, H, W), no axis shorter than the
            window.
        boxes: Windows, each as large as the network's patch.
        progress: Called after every window; may stop the run by raising.
        stage: Name of the stage for ``progress``.

    Returns:
        Logits (channels, D, H, W), float32 on the CPU, and the mask of voxels that a window
        covered.
    """
    channels = model.network.config.outputs
    blend = Blend(channels, tuple(image.shape), model.patch_vox)
    with torch.inference_mode():
        for k, box in enumerate(boxes):
            patch = image[box].to(model.device)[None, None]
            blend.add(box, model.network(patch)[0])
            progress(stage, (k + 1) / len(boxes))
    return blend.mean()


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


def offsets_mm(logits: Tensor, spacing_mm: float) -> Tensor | None:
    """Return the way from each voxel to the centre of its vertebra's core, (3, D, H, W).

    Along z, y, x in millimetres; None if the network does not say.
    """
    found = logits[CORE + 1 :]
    return found * OFFSET_UNIT_VOX * spacing_mm if len(found) else None
