"""Train the boundary network (spinemamba/instances/boundary_net.py).

``python Testing/Benchmarks/run.py fit_boundary_net`` writes ``weights/boundary_net.safetensors`` of
the package. ``... --hold-out CASE`` leaves a case out, and prints the accuracy of its separation
from bone and cores alone. The training data are the donors of vertebral shapes
(``vertebra_shapes`` in public_cases.json), ts_example, and cervical phantoms, because the
label maps have few cervical vertebrae; cases kept for testing are not used. Every case is used
unchanged and with an irregular surface, each with cut surfaces that fit well and badly, as they
occur in the method.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from instance_separation import FINE_MM, report, separation_scores
from public_cases import public_cases
from safetensors.numpy import save_file
from scipy import ndimage
from torch import nn

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.resample import grid_with_spacing
from spinemamba.imaging.volume import Volume
from spinemamba.instances.boundary_net import (
    BASELINE_SLOPE,
    PAIR_RANGE,
    UNCERTAIN_RANGE,
    WEIGHTS,
    BoundaryNet,
    NeighbourPair,
    bone_depth,
    depth_limit_mm,
)
from spinemamba.instances.cut_surfaces import fit_surfaces, frames, mean_coefficients
from spinemamba.instances.geodesic import nearest_seed
from spinemamba.instances.spine_coordinate import core_centroids, level_positions, spine_curve
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.training.data.dataset import body_cores, sample_nearest

WEIGHT = {"lidc0001": 0.5, "ts_example": 0.3}
"""Weights of cases with automatic labels; label maps of experts have weight 1."""

CERVICAL_PHANTOMS, CERVICAL_WEIGHT = 8, 0.3
PER_PAIR = 4000
FAR_MM = 20.0
"""Largest distance to the bone surface at which the surface is modified."""

ROUGH_MM = 0.7
PLACE_ERROR = 1.0
HIDDEN, EPOCHS, BATCH, RATE, DECAY = 96, 12, 1024, 3e-3, 1e-2
BLUR = 0.05
"""Standard deviation of the noise on standardised features during training."""

SACRUM = BY_NAME["Sacrum"].value


@dataclass(frozen=True)
class Case:
    """A label map at the spacing of the fine network: numbers of vertebrae from the head, cores."""

    numbers: np.ndarray
    seeds: np.ndarray
    count: int


@dataclass(frozen=True)
class Sample:
    """Features (n, f), whether each point belongs to the lower vertebra (n,), and weights (n,)."""

    features: np.ndarray
    lower: np.ndarray
    weight: np.ndarray


def main(words: list[str]) -> int:
    """Fit the network; write it, or print the accuracy of held-out cases."""
    data = public_cases()
    names = [*(donor.case for donor in data.donors), "ts_example"]
    parser = argparse.ArgumentParser("fit_boundary_net", description=__doc__)
    parser.add_argument("--hold-out", nargs="+", default=[], choices=sorted(names), metavar="CASE")
    held_out = parser.parse_args(words).hold_out
    rng = np.random.default_rng(0)
    samples = []
    for name in names:
        if name not in held_out:
            case = case_of(canonical(read_labels(data.label(name)))[0])
            samples.append(sample_of(case, WEIGHT.get(name, 1.0), rng))
            sys.stderr.write(f"{name}: {len(samples[-1].lower)} points\n")
    for seed in range(CERVICAL_PHANTOMS):
        samples.append(sample_of(case_of(cervical_phantom(seed)), CERVICAL_WEIGHT, rng))
    boundary_net = fit(samples)
    if not held_out:
        save(boundary_net, WEIGHTS)
    for name in held_out:
        report(name, separation_scores(data.label(name), boundary_net))
    return 0


def cervical_phantom(seed: int) -> Volume:
    """Return the labels of a cervical phantom; most of its facet joints have no joint space."""
    spacing = (FINE_MM,) * 3
    options = PhantomOptions("C1", "T2", spacing_mm=spacing, tight=True, arthrosis=0.8)
    return make_phantom(seed, options).labels


def case_of(labels: Volume) -> Case:
    """Return a label map with vertebrae numbered from the head; those without a core are left out.

    The sacrum, which has no core, gets the number after the last vertebra.
    """
    labels = labels.with_array(labels.array.astype(np.uint8))
    grid = grid_with_spacing(labels.geometry, FINE_MM)
    core = sample_nearest(labels.with_array(body_cores(labels)), grid)
    truth = sample_nearest(labels, grid)
    order = [BY_NAME[name].value for name in NETWORK_LEVELS[:-1]]
    order = [value for value in order if ((truth == value) & (core > 0)).any()]
    lookup = np.zeros(256, np.int32)
    lookup[order] = np.arange(1, len(order) + 1)
    if (truth == SACRUM).any():
        lookup[SACRUM] = len(order) + 1
    numbers = lookup[truth]
    seeds = np.where((core > 0) & (numbers <= len(order)), numbers, 0)
    return Case(numbers, seeds, len(order))


def sample_of(case: Case, weight: float, rng: np.random.Generator) -> Sample:
    """Return points near the boundaries of a case, with the original and an irregular surface."""
    rough_case = roughened(case, rng)
    parts = []
    for variant in (case, rough_case):
        bone = variant.numbers > 0
        first = nearest_seed(variant.seeds, bone, (FINE_MM,) * 3)
        for guess in (variant.numbers, first):
            parts += points_of(variant, guess[bone], rng)
    features, lower = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Sample(features, lower, np.full(len(lower), weight, np.float32))


def roughened(case: Case, rng: np.random.Generator) -> Case:
    """Return a case with an irregular bone surface, which is also shifted inwards or outwards."""
    about = bone_depth(case.numbers > 0, (FINE_MM,) * 3, FAR_MM)
    wave = ndimage.gaussian_filter(rng.standard_normal(case.numbers.shape), 1.5)
    depth = about.depth_mm + ROUGH_MM * (wave / wave.std() + rng.normal())
    bone = (depth > 0) | (case.seeds > 0)
    nearest_bone = ndimage.distance_transform_edt(
        case.numbers == 0, return_distances=False, return_indices=True
    )
    return Case(np.where(bone, case.numbers[tuple(nearest_bone)], 0), case.seeds, case.count)


def points_of(
    case: Case, guess: np.ndarray, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return features and true side of points near each boundary, with fitted surfaces."""
    bone = case.numbers > 0
    voxels = np.argwhere(bone)
    points, truth = voxels * FINE_MM, case.numbers[bone]
    middles = core_centroids(points, case.seeds[bone], case.count)
    pairs = frames(middles)
    places = level_positions(middles, np.zeros(case.count))[:-1]
    usual = mean_coefficients(places)
    own = fit_surfaces(points, guess, pairs, usual)
    about = spine_curve(middles).at(points)
    depth = bone_depth(bone, (FINE_MM,) * 3, depth_limit_mm(pairs))
    out = []
    for k, frame in enumerate(pairs, start=1):
        place = places[k - 1] + rng.normal(scale=PLACE_ERROR)
        pair = NeighbourPair(frame, usual[k - 1], own[k - 1], place)
        near = np.abs(about - k - 0.5) < PAIR_RANGE
        near &= np.abs(pair.beyond(points)) < UNCERTAIN_RANGE
        chosen = np.flatnonzero(near)
        chosen = rng.choice(chosen, min(PER_PAIR, len(chosen)), replace=False)
        out.append((pair.features(points[chosen], depth), truth[chosen] > k))
    return out


def fit(samples: list[Sample]) -> BoundaryNet:
    """Return a boundary network trained to predict the side of each point."""
    torch.manual_seed(0)
    features = torch.from_numpy(np.concatenate([s.features for s in samples]))
    lower = torch.from_numpy(np.concatenate([s.lower for s in samples]).astype(np.float32))
    weight = torch.from_numpy(np.concatenate([s.weight for s in samples]))
    mean, spread = features.mean(dim=0), features.std(dim=0) + 1e-3
    sizes = (features.shape[1], HIDDEN, HIDDEN, 1)
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    network = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    steps = EPOCHS * (len(lower) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        if step % (steps // EPOCHS) == 0:
            order = torch.randperm(len(lower))
        chosen = order[(step % (steps // EPOCHS)) * BATCH :][:BATCH]
        inputs = (features[chosen] - mean) / spread
        inputs = inputs + BLUR * torch.randn_like(inputs)
        logit = network(inputs)[:, 0] + BASELINE_SLOPE * features[chosen, 2]
        loss = nn.functional.binary_cross_entropy_with_logits(logit, lower[chosen], weight[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    # The standardisation of the features becomes part of the first layer.
    with torch.no_grad():
        layers[0].weight /= spread
        layers[0].bias -= layers[0].weight @ mean
    return BoundaryNet(tuple((a.weight.detach().numpy(), a.bias.detach().numpy()) for a in layers))


def save(boundary_net: BoundaryNet, path: Path) -> None:
    """Write weights for `spinemamba.instances.boundary_net.load_boundary_net`."""
    tensors = {}
    for k, (weight, bias) in enumerate(boundary_net.layers):
        tensors |= {f"{k}.weight": weight, f"{k}.bias": bias}
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
