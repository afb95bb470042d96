"""Vertebrae with a label whose surface is displaced at random by about half a voxel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy import ndimage

from spinemamba.measure.body import find_body
from spinemamba.measure.frame import Patch
from spinemamba.measure.vertebra import Vertebra

_ROUNDS = 2
"""Rounds of the search for a body that was found before."""

_SHIFT = 0.25
"""Standard deviation of the local displacement, in voxels (in mm, if voxels are smaller)."""

_GROWTH = 0.15
"""Standard deviation of the displacement of the whole surface, in the same unit."""

_SMOOTHING = 0.7
"""Standard deviation of the filter of the distances, in voxels."""

_LEAST = 0.02
"""Smallest distance of a voxel centre from the surface."""

_LENGTH_MM = 9.0
"""Distance over which the local displacement changes."""

_FINEST_MM = 1.0
"""Voxels smaller than this are displaced by half of it: labels are not more accurate."""


def perturbed(vertebra: Vertebra, draws: int) -> Iterator[Vertebra]:
    """Yield copies of a vertebra with displaced surfaces, the same ones in every call.

    The body is searched from where it was found. A copy whose body is lost has none; its reason
    is that of the failure.

    Args:
        vertebra: The vertebra.
        draws: Number of copies.
    """
    depth = _depth(vertebra.patch)
    for seed in range(draws):
        # Seeded by the place, not by the level: another name must not change a number.
        rng = np.random.default_rng((seed, *(part.start for part in vertebra.patch.box)))
        inside = (depth > _displacement(vertebra.patch, rng)).astype(np.float32)
        patch = replace(vertebra.patch, inside=inside)
        share = float(inside.sum() / max(vertebra.patch.inside.sum(), 1.0))
        body, reason = vertebra.body, vertebra.reason
        if body is not None:
            try:
                body = find_body(patch, body.frame, tuple(body.plates), _ROUNDS)
            except ValueError as error:
                body, reason = None, str(error)
        yield replace(
            vertebra,
            patch=patch,
            volume_ml=vertebra.volume_ml * share,
            body=body,
            reason=reason,
        )


def _depth(patch: Patch) -> np.ndarray:
    """Return the signed distance of the voxel centres from the surface, positive inside.

    In voxels along an axis with voxels of 1 mm or more, else in mm. It is smoothed, because the
    steps of a label on a slanted surface say where between the voxels the surface lies; no voxel
    changes sides by that.
    """
    steps = np.minimum(1.0, np.asarray(patch.geometry.spacing_mm) / _FINEST_MM)
    inside = patch.inside > 0.5
    half = float(steps.min()) / 2
    within = ndimage.distance_transform_edt(inside, sampling=steps)
    outside = ndimage.distance_transform_edt(~inside, sampling=steps)
    depth = np.where(inside, within - half, half - outside).astype(np.float32)
    smooth = ndimage.gaussian_filter(depth, _SMOOTHING, truncate=2.0)
    return np.where(inside, np.maximum(smooth, _LEAST), np.minimum(smooth, -_LEAST))


def _displacement(patch: Patch, rng: np.random.Generator) -> np.ndarray:
    """Return a smooth random field over a patch: local displacement plus growth."""
    shape = np.array(patch.inside.shape)
    size_mm = shape * patch.geometry.spacing_mm
    nodes = np.maximum(2, np.ceil(size_mm / _LENGTH_MM).astype(int) + 1)
    field = rng.normal(0.0, _SHIFT, nodes).astype(np.float32)
    for axis, (count, length) in enumerate(zip(nodes, shape, strict=True)):
        places = np.linspace(0, count - 1, length)
        low = np.minimum(places.astype(int), count - 2)
        weight = (places - low).reshape([-1 if k == axis else 1 for k in range(3)])
        first, second = np.take(field, low, axis), np.take(field, low + 1, axis)
        # Weights of unit power keep the standard deviation between the nodes.
        power = np.sqrt((1 - weight) ** 2 + weight**2)
        field = ((first * (1 - weight) + second * weight) / power).astype(np.float32)
    return field + np.float32(rng.normal(0.0, _GROWTH))
