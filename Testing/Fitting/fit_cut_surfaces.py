"""Fit the mean cut surfaces between vertebrae to the label maps of the training data.

``python Testing/Benchmarks/run.py fit_cut_surfaces`` prints `MEAN` of
spinemamba/instances/cut_surfaces.py. For each pair of neighbours, the surface that best separates
their voxels is fitted. The coefficients are then smoothed along the spine by a robust regression,
because fused joints and fractures give outliers.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from public_cases import public_cases

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.resample import grid_with_spacing
from spinemamba.imaging.volume import Volume
from spinemamba.instances.cut_surfaces import MEAN, MEAN_AT, SurfaceFitOptions, fit_surfaces, frames
from spinemamba.training.data.dataset import (
    body_cores,
    sample_nearest,
)
from spinemamba.training.data.vertebra_shapes import core_centres_mm

SPACING_MM = 1.5
WEAK = SurfaceFitOptions(prior_precision=(0.003,) * 7)
"""Prior precision of the coefficients: weak, so that the voxels determine them."""

SMOOTH = 0.5
"""Weight of the difference of neighbouring knots, relative to one surface."""

FIRST = {"gl003": "C1"}
"""First complete vertebra, if above the first donor vertebra."""

ROUNDS = 5
LEAST_RESIDUAL = 0.05


def main(words: list[str]) -> int:
    """Print the table."""
    argparse.ArgumentParser("fit_cut_surfaces", description=__doc__).parse_args(words)
    data = public_cases()
    places, coefficients = [], []
    for donor in data.donors:
        top = NETWORK_LEVELS.index(FIRST.get(donor.case, donor.first))
        names = NETWORK_LEVELS[top : NETWORK_LEVELS.index(donor.last) + 1]
        labels = canonical(read_labels(data.label(donor.case)))[0]
        own_places, own = surfaces_of(labels.with_array(labels.array.astype(np.uint8)), names)
        sys.stderr.write(f"{donor.case}: {len(own)} surfaces\n")
        places += own_places
        coefficients.append(own)
    table = smoothed(np.array(places, float), np.concatenate(coefficients))
    for row in table:
        sys.stdout.write("        (" + ", ".join(f"{value:.2f}" for value in row) + "),\n")
    return 0


def surfaces_of(labels: Volume, names: tuple[str, ...]) -> tuple[list[int], np.ndarray]:
    """Return the level index of each pair of neighbours and its surface coefficients, (n, 7)."""
    grid = grid_with_spacing(labels.geometry, SPACING_MM)
    coarse = Volume(sample_nearest(labels, grid), grid)
    centre_of = core_centres_mm(coarse, body_cores(coarse))
    order = [name for name in names if name in centre_of]
    numbers = np.zeros(256, int)
    for k, name in enumerate(order, start=1):
        numbers[BY_NAME[name].value] = k
    painted = numbers[coarse.array]
    voxels = np.argwhere(painted > 0)
    centres = np.array([centre_of[name][::-1] for name in order])  # z, y, x
    pairs = frames(centres)
    flat = np.zeros((len(pairs), 7))
    own = fit_surfaces(voxels * SPACING_MM, painted[painted > 0], pairs, flat, WEAK)
    return [NETWORK_LEVELS.index(name) for name in order[:-1]], own


def smoothed(places: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Return coefficients at the knots `MEAN_AT`: least absolute residuals, smooth along knots."""
    knots = np.array(MEAN_AT)
    share = np.stack([np.interp(places, knots, row) for row in np.eye(len(knots))], axis=-1)
    difference = np.diff(np.eye(len(knots)), axis=0) * SMOOTH
    terms = np.concatenate([share, difference])
    table = np.zeros_like(MEAN)
    for column in range(coefficients.shape[1]):
        target = np.concatenate([coefficients[:, column], np.zeros(len(difference))])
        weight = np.ones(len(target))
        for _ in range(ROUNDS):
            table[:, column] = np.linalg.lstsq(
                terms * weight[:, None], target * weight, rcond=None
            )[0]
            residual = np.abs(terms @ table[:, column] - target)
            weight = 1 / np.sqrt(np.maximum(residual, LEAST_RESIDUAL))
    # Offset and lateral tilt vary between spines.
    table[:, [0, 2]] = 0
    return table
