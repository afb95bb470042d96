"""Whether labels are those that a result.json describes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from spinemamba.errors import UserError
from spinemamba.label_files import LabelledSpine, values_in
from spinemamba.labels import BY_VALUE
from spinemamba.result import Result
from spinemamba.volume import Geometry

RUN_TAG = "SpineMamba.Run"

VOLUME_ML, VOLUME_SHARE, TOTAL_SHARE = 1.5, 0.04, 0.05
"""How far volumes may differ, of a vertebra and together: a run counts them on the network's grid,
and paints labels on the image's."""

CENTRE_MM = 3.0


def check_same_run(spine: LabelledSpine, result: Result) -> None:
    """Refuse labels of another run, and labels that were changed since.

    Raises:
        UserError: If run, grid, levels, volumes or places differ.
    """
    runs = {label.segment.tags.get(RUN_TAG, "") for label in spine.file.vertebrae} - {""}
    if runs and runs != {result.run_id}:
        raise _other(f"the segments name the run {min(runs - {result.run_id})}")
    grid = spine.volume.geometry
    if not grid.matches(_grid_of(result)):
        raise _other("the grids differ")
    found = set(values_in(spine.volume.array))
    expected = {item.label for item in result.instances}
    if found != expected or spine.file.unknown_values:
        raise _other(f"they hold {_names(found)}, the run found {_names(expected)}")
    _check_voxels(spine, result)


def _check_voxels(spine: LabelledSpine, result: Result) -> None:
    array, grid = spine.volume.array, spine.volume.geometry
    voxel_ml = float(np.prod(grid.spacing_mm)) / 1000
    boxes = ndimage.find_objects(array)
    total_ml = 0.0
    for item in result.instances:
        box = boxes[item.label - 1]
        index = np.argwhere(array[box] == item.label)
        volume_ml = len(index) * voxel_ml
        total_ml += volume_ml
        if abs(volume_ml - item.volume_ml) > VOLUME_ML + VOLUME_SHARE * item.volume_ml:
            raise _other(
                f"{item.name} has {volume_ml:.1f} mL, the run found {item.volume_ml:.1f} mL"
            )
        centre = grid.to_lps_mm(index.mean(axis=0) + [part.start for part in box])
        gap_mm = float(np.linalg.norm(centre - item.centroid_lps_mm))
        if gap_mm > CENTRE_MM:
            raise _other(f"{item.name} lies {gap_mm:.1f} mm away from where the run found it")
    expected_ml = sum(item.volume_ml for item in result.instances)
    if abs(total_ml - expected_ml) > TOTAL_SHARE * expected_ml + VOLUME_ML:
        raise _other(f"they hold {total_ml:.1f} mL, the run found {expected_ml:.1f} mL")


def _grid_of(result: Result) -> Geometry:
    direction = np.array(result.direction_lps).reshape(3, 3)
    return Geometry(result.shape, result.spacing_mm, result.origin_lps_mm, direction)


def _names(values: set[int]) -> str:
    return ", ".join(label.name for value, label in BY_VALUE.items() if value in values) or "none"


def _other(why: str) -> UserError:
    return UserError(
        f"The labels are not those of this result.json: {why}.",
        "Give the two files that one run wrote.",
    )
