"""Check that a label map belongs to a result.json."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.errors import UserError
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.labelmaps.read import LabelledSpine, values_in
from spinemamba.protocol.result import Result

_RUN_TAG = "SpineMamba.Run"

_SAME_PLACE_MM = 5.0
"""Largest distance between centroids of a result and of its labels. Measured: below 1 mm, even in
5 mm slices."""

_SAME_VOLUME = {True: (0.05, 0.3), False: (0.2, 1.0)}
"""Accepted volume difference of a complete (True) or truncated (False) vertebra, as a share and in
mL, because the result counts voxels on another grid. Measured: 3 % and 15 %, in 5 mm slices."""


@dataclass(frozen=True)
class _Extent:
    """A level in a label map.

    Attributes:
        name: Name of the level.
        volume_ml: Volume.
        centroid_lps_mm: Centroid in LPS, (3,).
    """

    name: str
    volume_ml: float
    centroid_lps_mm: np.ndarray


def check_same_run(spine: LabelledSpine, result: Result) -> None:
    """Refuse labels of another run, and labels that were changed after the run.

    Raises:
        UserError: If run ID, grid, levels, volumes or positions differ.
    """
    runs = {label.segment.tags.get(_RUN_TAG, "") for label in spine.file.vertebrae} - {""}
    if runs and runs != {result.run_id}:
        raise _other(f"the segments name the run {min(runs - {result.run_id})}")
    present = set(values_in(spine.volume.array))
    expected = {item.label for item in result.instances}
    if present != expected or spine.file.unknown_values:
        raise _other(f"they hold {_names(present)}, the run found {_names(expected)}")
    if why := why_other(result, spine.volume):
        raise _other(why)


def extents(labels: Volume) -> list[_Extent]:
    """Return the extents of all levels in a label map."""
    voxel_ml = labels.geometry.voxel_ml
    boxes = ndimage.find_objects(labels.array, max_label=max(BY_VALUE))
    out = []
    for value, box in enumerate(boxes, start=1):
        if box is not None and value in BY_VALUE:
            index = np.argwhere(labels.array[box] == value)
            centre = labels.geometry.to_lps_mm(index.mean(axis=0) + [part.start for part in box])
            out.append(_Extent(BY_VALUE[value].name, len(index) * voxel_ml, centre))
    return out


def why_other(result: Result, labels: Volume, *, corrected: bool = False) -> str:
    """Return why a result does not belong to labels; empty if it does.

    Args:
        result: Result of a run.
        labels: Label values.
        corrected: Whether a user may have edited the labels; volumes are not compared then.
    """
    grid = _grid_of(result)
    if difference := grid.difference(labels.geometry):
        return f"the run had another grid, {difference}"
    known = {item.name: item for item in result.instances}
    for level in extents(labels):
        name = level.name
        if name not in known:
            return f"the run found no {name}, only {', '.join(known)}"
        away_mm = np.linalg.norm(level.centroid_lps_mm - known[name].centroid_lps_mm)
        if away_mm > _SAME_PLACE_MM:
            return f"{name} lies {away_mm:.0f} mm away from where the run found it"
        share, ml = _SAME_VOLUME[known[name].complete]
        run_ml = known[name].volume_ml
        if not corrected and abs(run_ml - level.volume_ml) > ml + share * run_ml:
            return f"{name} has {level.volume_ml:.1f} mL, the run found {run_ml:.1f} mL"
    return ""


def cuts_by_place(result: Result, labels: Volume) -> dict[str, tuple[str, ...]]:
    """Return the sides at which the run found each level truncated.

    Instances are matched by position, because the user may have renamed them after the run.

    Args:
        result: Result of the run that made the labels.
        labels: Label values.
    """
    cuts: dict[str, tuple[str, ...]] = {}
    for level in extents(labels):
        for item in result.instances:
            away_mm = np.linalg.norm(level.centroid_lps_mm - item.centroid_lps_mm)
            if away_mm <= _SAME_PLACE_MM:
                cuts[level.name] = item.cut_sides
    return cuts


def _grid_of(result: Result) -> Geometry:
    direction = np.array(result.direction_lps).reshape(3, 3)
    return Geometry(result.shape, result.spacing_mm, result.origin_lps_mm, direction)


def _names(values: set[int]) -> str:
    return ", ".join(label.name for value, label in BY_VALUE.items() if value in values) or "none"


def _other(why: str) -> UserError:
    return UserError(
        f"The labels do not belong to this result.json: {why}.",
        "Give two files of the same run.",
    )
