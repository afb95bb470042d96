"""Zones of a volume with outlined bodies: what is background, and where no other core can be."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.training.centres.outlines import BodySlices, Outlines

_SACRUM = BY_NAME["Sacrum"].value

_FRONT_MM = 27.0
_CANAL_MM = (19.0, 25.0)
_FAR_MM = 85.0
"""Behind the line through the centres: what is in front of the bodies, the strip of the canal that
no arch reaches, and what lies behind all processes."""

_BESIDE_CANAL_MM = 6.0
_MIDDLE_MM = 16.0
"""Half widths of the middle slices that show the canal, and discs without the edges of bodies."""

_ABOVE_MM, _BELOW_MM = 8.0, 4.0
"""Beyond the outermost centres, this much is still between outlined bodies."""

_NEAR_MM = 4.0
"""Bone may reach this far beyond an outline."""


def unknown_mask(outlines: Outlines) -> np.ndarray:
    """Return a mask of the voxels that the centres say nothing about, bool (z, y, x)."""
    labels = outlines.labels.array
    known = labels > 0
    _add_surroundings(outlines, known)
    for one, two in zip(outlines.chain[:-1], outlines.chain[1:], strict=True):
        _add_disc(outlines, one, two, known)
    if outlines.chain[-1].value == _SACRUM:
        _add_pelvis(outlines, known)
    return ~known | outlines.unclear


def core_known_mask(outlines: Outlines) -> np.ndarray:
    """Return a mask of the voxels that are in a core or certainly not, bool (z, y, x).

    Every body below the uppermost centre is listed, so that arches and the sacrum have no core.
    Not known are the surfaces of bodies, and bodies in slices without an outline.
    """
    labels = outlines.labels.array
    step = outlines.labels.spacing_mm
    first, *_ = outlines.chain
    rows_mm = np.arange(labels.shape[0])[:, None, None] * step[0]
    bodies = (labels > 0) & (labels != _SACRUM)
    away = ndimage.distance_transform_edt(~bodies, step) > _NEAR_MM
    known = (rows_mm < first.frame.centre_mm[0] + _ABOVE_MM) & (away | (labels > 0))
    known &= ~outlines.unclear
    for body in outlines.chain:
        if body.value != _SACRUM:
            _remove_missing_slices(outlines, body, known)
    return known


def _remove_missing_slices(outlines: Outlines, body: BodySlices, known: np.ndarray) -> None:
    """Forget the surroundings of a body in slices near it that have no outline of it, in place."""
    labels, step = outlines.labels.array, outlines.labels.spacing_mm
    z, y = np.ogrid[: labels.shape[0], : labels.shape[1]]
    centre = body.frame.centre_mm
    disc = np.hypot(z * step[0] - centre[0], y * step[1] - centre[1]) < 1.6 * body.size_mm[0]
    shown = (labels == body.value).any(axis=(0, 1))
    for x in np.flatnonzero(~shown):
        if abs(x * step[2] - body.x_mm) < 1.5 * body.size_mm[2]:
            known[..., x][disc & (labels[..., x] == 0)] = False


def _line_mm(outlines: Outlines) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, for each row, its height and the position (y, x) of the line through the centres."""
    rows_mm = np.arange(outlines.labels.array.shape[0]) * outlines.labels.spacing_mm[0]
    upwards = outlines.chain[::-1]
    heights = [body.frame.centre_mm[0] for body in upwards]
    y_mm = np.interp(rows_mm, heights, [body.frame.centre_mm[1] for body in upwards])
    return rows_mm, y_mm, np.interp(rows_mm, heights, [body.x_mm for body in upwards])


def _add_surroundings(outlines: Outlines, known: np.ndarray) -> None:
    """Mark what lies in front of the bodies, in the canal, and behind all processes, in place."""
    rows_mm, y_mm, x_mm = _line_mm(outlines)
    step, shape = outlines.labels.spacing_mm, known.shape
    top, bottom = (outlines.chain[k].frame.centre_mm[0] for k in (0, -1))
    within = ((rows_mm < top + _ABOVE_MM) & (rows_mm > bottom - _BELOW_MM))[:, None]
    behind_mm = np.arange(shape[1]) * step[1] - y_mm[:, None]  # (z, y)
    outside = within & ((behind_mm < -_FRONT_MM) | (behind_mm > _FAR_MM))
    # The canal turns away from the line below the last body but one.
    straight = (rows_mm > outlines.chain[-2].frame.centre_mm[0])[:, None]
    canal = within & straight & (behind_mm > _CANAL_MM[0]) & (behind_mm < _CANAL_MM[1])
    for x in range(shape[2]):
        middle = np.abs(x * step[2] - x_mm) < _BESIDE_CANAL_MM
        known[..., x] |= outside | (canal & middle[:, None])


def _add_disc(outlines: Outlines, one: BodySlices, two: BodySlices, known: np.ndarray) -> None:
    """Mark what lies between two neighbouring bodies, in slices that show both, in place."""
    labels, step = outlines.labels.array, outlines.labels.spacing_mm
    between = one.frame.centre_mm - two.frame.centre_mm
    length = float(np.linalg.norm(between))
    up = between / length
    back = np.array([-up[1], up[0]])
    z, y = np.mgrid[: labels.shape[0], : labels.shape[1]]
    offset = np.stack([z * step[0], y * step[1]], axis=-1)
    offset = offset - (one.frame.centre_mm + two.frame.centre_mm) / 2
    reach = 0.95 * min(one.size_mm[0], two.size_mm[0])
    gap = (np.abs(offset @ back) < reach) & (np.abs(offset @ up) < length / 2)
    x_mm = (one.x_mm + two.x_mm) / 2
    both = [(labels == body.value).any(axis=(0, 1)) for body in (one, two)]
    for x in np.flatnonzero(both[0] & both[1]):
        if abs(x * step[2] - x_mm) < _MIDDLE_MM:
            known[..., x] |= gap


def _add_pelvis(outlines: Outlines, known: np.ndarray) -> None:
    """Mark the organs in front of the sacrum, and what lies behind it, in place."""
    step = outlines.labels.spacing_mm
    centre = outlines.chain[-1].frame.centre_mm
    z_mm = np.arange(known.shape[0])[:, None] * step[0] - centre[0]
    y_mm = np.arange(known.shape[1])[None] * step[1] - centre[1]
    organs = ((z_mm < -15) & (y_mm < -8)) | ((z_mm < -60) & (y_mm < 8))
    behind = (y_mm > 75) & (z_mm < 0)
    known |= (organs | behind)[..., None]
