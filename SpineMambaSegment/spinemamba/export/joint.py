"""Smooth touching vertebrae together: one surface between them, not two that overlap or gape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spinemamba.export import surface
from spinemamba.export.mesh import Mesh
from spinemamba.export.vertebra import Draft


def smooth_together(drafts: Sequence[Draft], strength: float) -> list[tuple[Mesh, np.ndarray]]:
    """Smooth the surfaces of one image as a whole.

    Where two of them have the same point, they keep one.

    Args:
        drafts: Of one image.
        strength: As `surface.smoothed` takes it, in (0, 1].

    Returns:
        For each draft its smoothed surface, and for each of its points whether it is its alone.
    """
    steps = np.concatenate([draft.half_steps for draft in drafts])
    _, first, numbers = np.unique(steps, axis=0, return_index=True, return_inverse=True)
    numbers = numbers.ravel()
    points_mm = np.concatenate([draft.raw.points_mm for draft in drafts])[first]
    own = (np.bincount(numbers) == 1)[numbers]
    starts = np.cumsum([0, *(len(draft.half_steps) for draft in drafts)])
    whole = Mesh(
        points_mm,
        np.concatenate(
            [
                numbers[start + draft.raw.triangles]
                for start, draft in zip(starts, drafts, strict=False)
            ]
        ),
    )
    moved_mm = surface.smoothed(whole, strength).points_mm[numbers]
    return [
        (draft.raw.moved_to(moved_mm[start:end]), own[start:end])
        for draft, start, end in zip(drafts, starts, starts[1:], strict=False)
    ]
