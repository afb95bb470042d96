"""Measure the steps after the networks: instances, levels, and labels on the input grid.

``python Testing/Benchmarks/run.py instance_separation shapes`` separates the vertebrae of real
label maps, given bone and cores only, and prints the Dice of each; it needs the data folder.
``... cost`` prints seconds and memory for a whole spine in a CT of 512 x 512 x 600 voxels, and for
its lower half.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from label_maps import cropped_to_labels
from public_cases import public_cases

from spinemamba.anatomy.labels import BY_NAME, LABELS, NETWORK_LEVELS, channel_of_value
from spinemamba.findings.shape_flags import shape_flags
from spinemamba.imaging.masks import dice
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.resample import grid_with_spacing
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.voxel_predictions import VoxelPredictions
from spinemamba.instances.boundary_net import BoundaryNet
from spinemamba.instances.find import Instances, find_instances
from spinemamba.instances.to_input_grid import labels_on_input_grid
from spinemamba.levels.solve import assign_levels
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.training.data.dataset import body_cores, sample_nearest

SHAPES = ("gl003", "verse004", "verse009", "verse010", "verse012", "lidc0001")
"""Separated label maps of the list of public cases."""

FINE_MM = 1.5
CT_SHAPE, CT_SPACING_MM = (600, 512, 512), (1.0, 0.8, 0.8)


def main(words: list[str]) -> int:
    """Run the measurement that the command line selects."""
    parser = argparse.ArgumentParser("instance_separation", description=__doc__)
    parser.add_argument("what", choices=("shapes", "cost"))
    if parser.parse_args(words).what == "cost":
        cost("whole spine", "C1")
        cost("lower half", "T10")
        return 0
    data = public_cases()
    for name in SHAPES:
        report(name, separation_scores(data.label(name)))
    return 0


def separation_scores(path: Path, boundary_net: BoundaryNet | None = None) -> dict[str, float]:
    """Return the Dice of each vertebra after separation from bone and cores only.

    Args:
        path: Label map.
        boundary_net: Boundary network; None uses that of the package.
    """
    labels = canonical(read_volume(path))[0]
    labels = labels.with_array(labels.array.astype(np.uint8))
    labels = cropped_to_labels(labels)
    grid = grid_with_spacing(labels.geometry, FINE_MM)
    core = sample_nearest(labels.with_array(body_cores(labels)), grid)
    truth = sample_nearest(labels, grid)
    found = find_instances(bare_evidence(truth > 0, core, grid), boundary_net=boundary_net)
    present = [label for label in LABELS if ((truth == label.value) & (core > 0)).any()]
    out = {}
    for label in present:
        mask = truth == label.value
        numbers = np.bincount(found.labels[mask & (core > 0)])
        out[label.name] = dice(found.labels == numbers[1:].argmax() + 1, mask)
    if len(found.items) != len(present):
        out["number of instances"] = len(found.items) - len(present)
    return out


def bare_evidence(bone: np.ndarray, core: np.ndarray, grid: Geometry) -> VoxelPredictions:
    """Return voxel predictions with uniform level probabilities and without offsets."""
    levels = np.full((len(NETWORK_LEVELS), *grid.shape), 1 / len(NETWORK_LEVELS), np.float16)
    return VoxelPredictions(
        bone.astype(np.float32), core.astype(np.float32), levels, grid, levels, grid
    )


def report(name: str, scores: dict[str, float]) -> None:
    """Print the scores of one case."""
    values = [score for level, score in scores.items() if level != "number of instances"]
    words = " ".join(f"{level} {score:.3f}" for level, score in scores.items())
    below = sum(value < 0.97 for value in values)
    sys.stdout.write(
        f"{name}: mean {np.mean(values):.3f}, least {min(values):.3f}, "
        f"{below} of {len(values)} below 0.97: {words}\n"
    )


def cost(name: str, first: str) -> None:
    """Print time and memory of the steps for a phantom with perfect voxel predictions."""
    options = PhantomOptions(first=first, last="Sacrum", spacing_mm=(FINE_MM,) * 3, tight=True)
    predictions = whole_predictions(make_phantom(1, options).labels)
    before_gb = peak_gb()
    seconds = {}
    found, seconds["instances"] = timed(lambda: find_instances(predictions))
    _, seconds["flags"] = timed(lambda: shape_flags(found, predictions))
    solution, seconds["levels"] = timed(lambda: assign_levels(found.items))
    names = solution.best[0].names
    _, seconds["restore"] = timed(lambda: painted(found, names, predictions))
    steps = ", ".join(
        f"{step} {wall:.1f} ({cpu:.1f} CPU) s" for step, (wall, cpu) in seconds.items()
    )
    wall, cpu = np.sum(list(seconds.values()), axis=0)
    bone_ml = float((predictions.bone > 0).sum()) * FINE_MM**3 / 1000
    sys.stdout.write(
        f"{name}: {len(found.items)} vertebrae, {bone_ml:.0f} mL, grid {predictions.bone.shape}: "
        f"{steps}; together {wall:.1f} ({cpu:.1f} CPU) s; memory {before_gb:.1f} GB before, "
        f"at most {peak_gb():.1f} GB\n"
    )


def whole_predictions(labels: Volume) -> VoxelPredictions:
    """Return perfect voxel predictions for labels, in a CT of `CT_SHAPE` around them."""
    lookup = np.zeros(256, int)
    for value, channel in channel_of_value().items():
        lookup[value] = channel
    channel = lookup[labels.array]
    levels = np.full((len(NETWORK_LEVELS), *channel.shape), 0.01, np.float16)
    for k in range(len(NETWORK_LEVELS)):
        levels[k][channel == k + 1] = 0.76
    grid = labels.geometry
    corner = -0.5 * (np.array(CT_SHAPE) * CT_SPACING_MM - np.array(grid.shape) * FINE_MM)
    image = Geometry(
        CT_SHAPE, CT_SPACING_MM, tuple(grid.to_lps_mm(corner / FINE_MM)), grid.direction_lps
    )
    bone, core = (labels.array > 0).astype(np.float32), body_cores(labels).astype(np.float32)
    return VoxelPredictions(bone, core, levels, grid, levels.copy(), image)


def painted(
    found: Instances, names: tuple[str | None, ...], predictions: VoxelPredictions
) -> np.ndarray:
    """Return the labels on the grid of the CT."""
    values = {k: BY_NAME[name].value for k, name in enumerate(names, start=1) if name}
    return labels_on_input_grid(found, values, predictions, lambda stage, fraction: None)


def timed(work: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """Return the result of a function, its wall-clock seconds and its processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    out = work()
    return out, (time.perf_counter() - wall, time.process_time() - cpu)


def peak_gb() -> float:
    """Return the peak memory of this process in GB; Linux reports kB, macOS bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e9 if sys.platform == "darwin" else 1e6)
