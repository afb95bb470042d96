"""The method from top to bottom: the file to read first.

A volume is turned into canonical orientation, freed of padding, scaled, searched coarsely for the
spine, looked at finely where it is, taken apart into vertebrae, named, and painted back onto its
own grid.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.common.errors import Code, UserError
from spinemamba.common.progress import Progress, ignore
from spinemamba.findings.build_result import RunDetails, describe
from spinemamba.findings.shape_flags import shape_flags, with_metal
from spinemamba.imaging.intensity import choose_modality, normalise
from spinemamba.imaging.orientation import canonical, reorient_back
from spinemamba.imaging.truncation import crop_to_data, pad_to_image
from spinemamba.imaging.volume import Volume
from spinemamba.inference.coarse import locate
from spinemamba.inference.fine import refine
from spinemamba.inference.model import Model
from spinemamba.inference.voxel_predictions import Evidence
from spinemamba.instances.find import Instances, find_instances, with_cut_sides
from spinemamba.instances.to_input_grid import restore_labels
from spinemamba.levels.pins import Pin, match_pins
from spinemamba.levels.solve import LevelSolution, assign_levels
from spinemamba.protocol.result import Result
from spinemamba.selective_scan.dispatch import describe_backend

OVERLAP = {"fast": 0.2, "standard": 0.45}
"""Share of a fine window that its neighbour also covers, by quality."""


@dataclass(frozen=True)
class SegmentOptions:
    """What the user may choose."""

    modality: Literal["auto", "ct", "mr"] = "auto"
    quality: Literal["fast", "standard"] = "standard"
    pins: tuple[Pin, ...] = ()


@dataclass(frozen=True)
class Segmentation:
    """Label values on the input grid (uint8), and everything else that is known."""

    labels: Volume
    result: Result


def segment(
    volume: Volume,
    model: Model,
    options: SegmentOptions | None = None,
    progress: Progress = ignore,
    warn: Callable[[str], None] = lambda message: None,
) -> Segmentation:
    """Give every vertebra of a CT or MR volume its label.

    Args:
        volume: Image in Hounsfield units (CT) or any units (MR), in any orientation.
        model: The networks.
        options: What the user chose.
        progress: Called often; may stop the run by raising `Cancelled`.
        warn: Told what the user should know.

    Returns:
        Labels on the grid of ``volume``, and the result.

    Raises:
        UserError: If there is no spine in view (NO_SPINE), a pin fits none of it, or the values of
            a CT are not Hounsfield units (INPUT_BAD).
    """
    options, seconds = options or SegmentOptions(), {}
    upright, reorientation = canonical(volume)
    data, view, box = crop_to_data(upright)  # the result of a padded scan is that of the bare one
    modality = choose_modality(data, options.modality, warn)
    image = data.with_array(normalise(data.array, modality))
    with _timed("locate", seconds):
        located = locate(image, model.coarse, progress)
    with _timed("segment", seconds):
        evidence = refine(image, located, model.fine, OVERLAP[options.quality], progress)
        evidence = replace(evidence, view=view)
    with _timed("instances", seconds):
        progress("instances", 0.0)
        instances = find_instances(evidence)
        shape = shape_flags(instances, evidence)
        progress("instances", 1.0)
    with _timed("levels", seconds):
        pins = match_pins(options.pins, instances.items)
        solution = assign_levels(instances.items, pins)
        progress("levels", 1.0)
    with _timed("restore", seconds):
        numbers = _paint(instances, solution, evidence, progress)
        instances = with_cut_sides(instances, data.with_array(numbers), view)
        solution = _solve_again(instances, solution, pins)
        values = _values(solution)
        labels = _renumbered(numbers, values)
        if modality == "ct":
            shape = with_metal(shape, data.array, labels, values, data.geometry.voxel_ml)
    scan = describe_backend(model.fine.device.type)
    details = RunDetails(model, modality, seconds, pins, shape, scan)
    result = describe(volume.geometry, instances, solution, details)
    for message in result.warnings:
        warn(message)
    return Segmentation(reorient_back(pad_to_image(labels, upright, box), reorientation), result)


def _values(solution: LevelSolution) -> dict[int, int]:
    """Return the label value of each instance number that has a name."""
    names = solution.best[0].names if solution.best else ()
    return {k: BY_NAME[name].value for k, name in enumerate(names, start=1) if name}


def _paint(
    instances: Instances, solution: LevelSolution, evidence: Evidence, progress: Progress
) -> np.ndarray:
    """Return the numbers of the named instances on the grid of the data, uint8."""
    named = {number: number for number in _values(solution)}
    numbers = restore_labels(instances, named, evidence, progress)
    inside = np.argwhere(numbers)
    numbers[tuple(inside[evidence.field_of_view.outside(inside)].T)] = 0
    if not numbers.any():
        raise UserError(
            "No vertebra found: something like a spine is in view, but no body of a vertebra.",
            "Choose a volume that shows vertebrae, and check its modality.",
            Code.NO_SPINE,
        )
    return numbers


def _solve_again(
    instances: Instances, solution: LevelSolution, pins: Mapping[int, str]
) -> LevelSolution:
    """Return the names after a second look at what is cut; the same vertebrae keep a name."""
    again = assign_levels(instances.items, pins)
    return again if _values(again).keys() == _values(solution).keys() else solution


def _renumbered(numbers: np.ndarray, values: Mapping[int, int]) -> np.ndarray:
    """Return the label values of voxels, uint8."""
    table = np.zeros(256, np.uint8)
    for number, value in values.items():
        table[number] = value
    return table[numbers]


@contextmanager
def _timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[stage] = round(time.monotonic() - started, 2)
