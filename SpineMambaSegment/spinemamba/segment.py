"""The method from top to bottom: the file to read first.

A volume is reoriented to canonical axes, cropped to the field of view and normalised. The coarse
stage finds the spine, and the fine stage predicts bone, cores and levels around it. The voxels are
then separated into vertebrae, each vertebra gets a level, and the labels are resampled to the grid
of the input.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.common.errors import Code, UserError
from spinemamba.common.progress import Progress, ignore
from spinemamba.findings.build_result import GivenLevels, RunDetails, build_result
from spinemamba.findings.left_out import left_out_bone, with_left_out
from spinemamba.findings.shape_flags import ShapeFlags, shape_flags, with_metal
from spinemamba.imaging.intensity import Modality, choose_modality, uses_local_mean
from spinemamba.imaging.local_mean import normalise_volume
from spinemamba.imaging.orientation import Reorientation, canonical, reorient_back
from spinemamba.imaging.truncation import FieldOfView, crop_to_data, pad_to_image
from spinemamba.imaging.volume import Box, Volume
from spinemamba.inference.coarse import coarse_stage
from spinemamba.inference.fine import FineOptions, fine_stage
from spinemamba.inference.level_stage import level_stage
from spinemamba.inference.model import Model
from spinemamba.inference.polarity import CoarseReading, coarse_stage_of_either
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.find import (
    InstanceOptions,
    Instances,
    find_instances,
    with_cut_sides,
)
from spinemamba.instances.loose_pieces import take_loose_pieces
from spinemamba.instances.to_input_grid import split_on_input_grid
from spinemamba.levels.model import LevelOptions, level_options
from spinemamba.levels.outlines import OtherScan, outlines_of
from spinemamba.levels.pins import Pin, match_pins
from spinemamba.levels.scan_evidence import fixed_levels, with_scan_evidence
from spinemamba.levels.scan_match import match_scans
from spinemamba.levels.sequence_evidence import with_sequence_evidence
from spinemamba.levels.solve import LevelSolution, assign_levels
from spinemamba.network.level_sequence import LevelSequenceNet
from spinemamba.protocol.left_out import LOOSE, NEIGHBOUR
from spinemamba.protocol.result import Result
from spinemamba.selective_scan.dispatch import describe_backend

_FINE_OPTIONS = {"fast": FineOptions(window_overlap=0.2), "standard": FineOptions()}
"""Options of the fine stage by quality."""


_SMALL = 0.8
"""Body size, relative to the mean of adults, below which the image is enlarged for the networks:
below that of small adults, where the networks begin to miss vertebrae."""

_SAME_SIZE = 0.2
"""Largest relative difference of two estimates of one body size."""


@dataclass(frozen=True)
class SegmentOptions:
    """Options of a run.

    Attributes:
        modality: "ct", "mr", or "auto" to detect it from the values.
        quality: "fast" uses less overlap of the sliding windows than "standard".
        pins: Levels fixed by the user.
        keep_pieces: Whether small loose pieces of bone, and bone of neighbours whose body the
            image does not show, stay in the labels.
        other: Another scan of the patient with named vertebrae, or None.
    """

    modality: Literal["auto", "ct", "mr"] = "auto"
    quality: Literal["fast", "standard"] = "standard"
    pins: tuple[Pin, ...] = ()
    keep_pieces: bool = False
    other: OtherScan | None = None


@dataclass(frozen=True)
class Segmentation:
    """Output of `segment`.

    Attributes:
        labels: Label values on the input grid, uint8.
        result: Vertebrae, levels, flags and warnings.
    """

    labels: Volume
    result: Result


def segment(
    volume: Volume,
    model: Model,
    options: SegmentOptions | None = None,
    progress: Progress = ignore,
    warn: Callable[[str], None] = lambda message: None,
) -> Segmentation:
    """Segment and label the vertebrae of a CT or MR volume.

    Args:
        volume: Image in Hounsfield units (CT) or any units (MR), in any orientation.
        model: Coarse and fine network.
        options: Options of the run; None for the defaults.
        progress: Called with the stage and its completed fraction; may raise `Cancelled` to stop.
        warn: Called with each warning for the user.

    Returns:
        Labels on the grid of ``volume``, and the result.

    Raises:
        UserError: If no spine is found (NO_SPINE), a pin matches no vertebra, no vertebra is found
            in the other scan, or the values of a CT are not in Hounsfield units (INPUT_BAD).
    """
    options, seconds = options or SegmentOptions(), {}
    reoriented, reorientation = canonical(volume)
    data, view, box = crop_to_data(reoriented)  # padding must not change a result
    whole = partial(_on_input_grid, reoriented, reorientation, box)
    modality = choose_modality(data, options.modality, warn)
    image = normalise_volume(data, modality, model.coarse.normalisation)
    search = _Search(image, view, model, modality, options, progress, seconds)
    spine, enlarged = _at_adult_size(search)
    predictions, shape, weights = spine.predictions, spine.shape, level_options(modality)
    with _timed("levels", seconds):
        instances, found = _compare(spine.instances, predictions, options, volume.frame)
        solution = assign_levels(instances.items, found.pins, options=weights)
        progress("levels", 1.0)
    with _timed("restore", seconds):
        numbers, removed = _number_voxels(instances, solution, predictions, options, progress)
        instances = with_cut_sides(instances, data.with_array(numbers), view)
        solution = _solve_with_truncation(instances, solution, found.pins, weights)
        values = _label_values(solution)
        labels = _to_label_values(numbers, values)
        left_out = left_out_bone({reason: whole(array) for reason, array in removed.items()})
        shape = with_left_out(shape, left_out, numbers)
        shape = _with_metal(shape, data, modality, labels, values)
    scan = describe_backend(model.fine.device.type)
    details = (found, shape, scan, left_out, volume.sequence, enlarged, spine.inverted)
    run = RunDetails(model, modality, seconds, *details)
    result = build_result(volume.geometry, instances, solution, run)
    for message in result.warnings:
        warn(message)
    return Segmentation(whole(labels), result)


@dataclass(frozen=True)
class _Spine:
    """What the networks see of a spine.

    Attributes:
        predictions: Voxel predictions.
        instances: Instances, with their level probabilities.
        shape: Quality flags of the voxels.
        inverted: Whether the networks read the inverse of an MR.
    """

    predictions: VoxelPredictions
    instances: Instances
    shape: ShapeFlags
    inverted: bool


def _at_adult_size(search: _Search) -> tuple[_Spine, float]:
    """Return the spine, and how many times it was enlarged for the networks.

    Vertebrae much smaller than those that the networks have learned from are searched again in the
    enlarged image. The second search is kept if it confirms the size: pieces of vertebrae can look
    like small ones.
    """
    spine = search.at(1.0)
    size = search.body_size(spine)
    if size >= _SMALL:
        return spine, 1.0
    try:
        again = search.at(1 / size)
    except UserError:  # no spine at that size
        return spine, 1.0
    if abs(search.body_size(again) / size - 1) > _SAME_SIZE:
        return spine, 1.0
    return again, 1 / size


@dataclass(frozen=True)
class _Search:
    """Search for the spine in an image, by all three networks.

    Attributes:
        image: Normalised image in canonical orientation.
        view: Field of view of the image.
        model: Networks.
        modality: "ct" or "mr".
        options: Options of the run.
        progress: Receives the progress.
        seconds: Receives the duration of each stage.
    """

    image: Volume
    view: FieldOfView
    model: Model
    modality: Modality
    options: SegmentOptions
    progress: Progress
    seconds: dict[str, float]

    def at(self, enlarged: float) -> _Spine:
        """Return the spine as the networks see it in the image enlarged so many times."""
        image = Volume(self.image.array, self.image.geometry.scaled(enlarged))
        reading, fine = self._predict(image)
        predictions = replace(fine, view=self.view.scaled(enlarged))
        with _timed("instances", self.seconds):
            self.progress("instances", 0.0)
            options = _instance_options(self.options, self.modality)
            instances = find_instances(predictions, options)
            shape = shape_flags(instances, predictions)
            self.progress("instances", 1.0)
        with _timed("levels", self.seconds):
            levels, image = self.model.levels, reading.image
            instances = _read_levels(instances, predictions, image, levels, self.modality)
        found = predictions.scaled(1 / enlarged), instances.scaled(1 / enlarged)
        return _Spine(*found, shape, reading.inverted)

    def _predict(self, image: Volume) -> tuple[CoarseReading, VoxelPredictions]:
        """Return what the coarse stage read, and the voxel predictions of the fine stage."""
        model, progress = self.model, self.progress
        with _timed("locate", self.seconds):
            if self.modality == "mr" and uses_local_mean(model.coarse.normalisation):
                reading = coarse_stage_of_either(image, model.coarse, progress)
            else:
                reading = CoarseReading(image, coarse_stage(image, model.coarse, progress))
        with _timed("segment", self.seconds):
            options, coarse = _FINE_OPTIONS[self.options.quality], reading.prediction
            return reading, fine_stage(reading.image, coarse, model.fine, progress, options)

    def body_size(self, spine: _Spine) -> float:
        """Return the size of the vertebrae relative to the mean of adults."""
        items, options = spine.instances.items, level_options(self.modality)
        return assign_levels(items, options=options).body_size


def _on_input_grid(
    reoriented: Volume, reorientation: Reorientation, box: Box, part: np.ndarray
) -> Volume:
    """Return values of the cropped image on the grid of the input, 0 outside the crop."""
    return reorient_back(pad_to_image(part, reoriented, box), reorientation)


def _instance_options(options: SegmentOptions, modality: Modality) -> InstanceOptions:
    return InstanceOptions(
        hidden_neighbours=not options.keep_pieces, only_on_curve=modality == "mr"
    )


def _read_levels(
    instances: Instances,
    predictions: VoxelPredictions,
    image: Volume,
    network: LevelSequenceNet | None,
    modality: Modality,
) -> Instances:
    """Return the instances with the level probabilities of the level network.

    Unchanged without a network, or with one that has not learned from this modality.
    """
    if network is None or modality not in network.config.modalities:
        return instances
    numbers = Volume(instances.labels, predictions.geometry)
    evidence = level_stage(image, numbers, network, predictions.field_of_view)
    return with_sequence_evidence(instances, evidence)


def _compare(
    instances: Instances,
    predictions: VoxelPredictions,
    options: SegmentOptions,
    frame: str | None,
) -> tuple[Instances, GivenLevels]:
    """Return the instances with the evidence of the other scan, and the levels that are given.

    Raises:
        UserError: As `match_pins` and `match_scans`.
    """
    pins, other = match_pins(options.pins, instances.items), options.other
    if other is None:
        return instances, GivenLevels(pins, frame)
    numbers = Volume(instances.labels, predictions.geometry)
    outlines = outlines_of(numbers, dict.fromkeys(item.id for item in instances.items))
    match = match_scans(outlines, other, frame)
    items = with_scan_evidence(instances.items, match, other)
    given = GivenLevels(fixed_levels(match, other, pins), frame, match, other)
    return replace(instances, items=items), given


def _with_metal(
    shape: ShapeFlags, data: Volume, modality: Modality, labels: np.ndarray, values: dict[int, int]
) -> ShapeFlags:
    if modality != "ct":
        return shape
    return with_metal(shape, data.array, labels, values, data.geometry.voxel_ml)


def _label_values(solution: LevelSolution) -> dict[int, int]:
    """Return the label value of each instance number that has a level."""
    names = solution.best[0].names if solution.best else ()
    return {k: BY_NAME[name].value for k, name in enumerate(names, start=1) if name}


def _number_voxels(
    instances: Instances,
    solution: LevelSolution,
    predictions: VoxelPredictions,
    options: SegmentOptions,
    progress: Progress,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the instance number of each voxel of the cropped image, uint8.

    Instances without a level and voxels outside the field of view are 0. Bone that is left out is
    returned separately, by reason.

    Raises:
        UserError: If no voxel remains (NO_SPINE).
    """
    with_level = sorted(_label_values(solution))
    numbers, hidden = split_on_input_grid(instances, with_level, predictions, progress)
    for array in (numbers, hidden):
        index_zyx = np.argwhere(array)
        array[tuple(index_zyx[predictions.field_of_view.outside(index_zyx)].T)] = 0
    if not numbers.any():
        raise UserError(
            "No vertebra found: the image shows bone like a spine, but no vertebral body.",
            "Choose a volume that shows vertebrae, and check its modality.",
            Code.NO_SPINE,
        )
    if options.keep_pieces:
        return numbers, {}
    loose = take_loose_pieces(numbers, predictions.image_geometry.voxel_ml)
    return numbers, {LOOSE: loose, NEIGHBOUR: hidden}


def _solve_with_truncation(
    instances: Instances, solution: LevelSolution, pins: Mapping[int, str], weights: LevelOptions
) -> LevelSolution:
    """Solve the levels again, now that truncated sides are known.

    The first solution stays if other instances would have a level: the voxels are already
    numbered.
    """
    updated = assign_levels(instances.items, pins, options=weights)
    same_instances = _label_values(updated).keys() == _label_values(solution).keys()
    return updated if same_instances else solution


def _to_label_values(numbers: np.ndarray, values: Mapping[int, int]) -> np.ndarray:
    """Replace instance numbers by label values, uint8."""
    table = np.zeros(256, np.uint8)
    for number, value in values.items():
        table[number] = value
    return table[numbers]


@contextmanager
def _timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    """Add the duration of a stage to ``seconds``."""
    started = time.monotonic()
    yield
    seconds[stage] = round(seconds.get(stage, 0.0) + time.monotonic() - started, 2)
