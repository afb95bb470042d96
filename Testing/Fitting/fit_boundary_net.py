"""Teach the small network that parts neighbours by the shape of bone
(spinemamba/instances/boundary_net.py).

``python Testing/Fitting/fit_boundary_net.py`` writes ``spinemamba/weights/parting.safetensors``;
``... --hold-out CASE`` leaves a case out instead, and prints how it is then divided, given as
nothing but bone and cores. It learns from the label maps that lend their shapes to made-up spines
(`spinemamba.training.data.vertebra_shapes.DONORS`), ts_example, and made-up necks, which the others
lack; never from a case kept for testing. Every case is seen clean and with a rough rim, with its
surfaces fitted well, badly and not at all, since that is how a division meets it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from scipy import ndimage
from torch import nn

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "SpineMambaSegment"))

from instance_separation import FINE_MM, divided, report  # noqa: E402

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS  # noqa: E402
from spinemamba.imaging.orientation import canonical  # noqa: E402
from spinemamba.imaging.read import read_labels  # noqa: E402
from spinemamba.imaging.resample import grid_with_spacing  # noqa: E402
from spinemamba.imaging.volume import Volume  # noqa: E402
from spinemamba.instances.boundary_net import (  # noqa: E402
    FARTHEST,
    REACH,
    STEEPNESS,
    WEIGHTS,
    Neighbours,
    Parting,
    deepest_mm,
    surround,
)
from spinemamba.instances.cut_surfaces import fit_surfaces, frames, usual_coefficients  # noqa: E402
from spinemamba.instances.geodesic import nearest_seed  # noqa: E402
from spinemamba.instances.spine_coordinate import chain_curve, core_middles, core_places  # noqa: E402
from spinemamba.phantom import PhantomOptions, make_phantom  # noqa: E402
from spinemamba.training.data.dataset import body_cores, sample_nearest  # noqa: E402
from spinemamba.training.data.public_cases import PAIRS  # noqa: E402
from spinemamba.training.data.vertebra_shapes import DONORS  # noqa: E402

FILES = {name: path for name, (path, _, _) in DONORS.items()}
FILES["ts_example"] = PAIRS["ts_example"][1]
WEIGHT = {"lidc0001": 0.5, "ts_example": 0.3}
"""Automatic labels are worth less than an expert's, and so are made-up necks."""

NECKS, NECK_WEIGHT = 8, 0.3
PER_PAIR = 4000
FAR_MM = 20.0
"""Further from the rim nothing is roughened."""

ROUGH_MM = 0.7
PLACE_ERROR = 1.0
HIDDEN, EPOCHS, BATCH, RATE, DECAY = 96, 12, 1024, 3e-3, 1e-2
BLUR = 0.05
"""Noise on the standardised features while learning."""

SACRUM = BY_NAME["Sacrum"].value


@dataclass(frozen=True)
class Case:
    """A label map on the fine network's grid: number of each vertebra from the head, and cores."""

    numbers: np.ndarray
    seeds: np.ndarray
    count: int


@dataclass(frozen=True)
class Sample:
    """Features (n, f), whether each point belongs to the lower one (n,), and its weight (n,)."""

    features: np.ndarray
    lower: np.ndarray
    weight: np.ndarray


def main() -> None:
    """Fit, and write or print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hold-out", nargs="+", default=[], choices=sorted(FILES), metavar="CASE")
    held = parser.parse_args().hold_out
    data = Path(os.environ.get("SPINEMAMBA_DATA", REPOSITORY.parent / "shared" / "data"))
    rng = np.random.default_rng(0)
    samples = []
    for name, path in FILES.items():
        if name not in held:
            case = case_of(canonical(read_labels(data / path))[0])
            samples.append(sample_of(case, WEIGHT.get(name, 1.0), rng))
            sys.stderr.write(f"{name}: {len(samples[-1].lower)} points\n")
    for seed in range(NECKS):
        samples.append(sample_of(case_of(neck(seed)), NECK_WEIGHT, rng))
    parting = fit(samples)
    if not held:
        save(parting, WEIGHTS)
    for name in held:
        report(name, divided(data / FILES[name], parting))


def neck(seed: int) -> Volume:
    """Return the labels of a made-up neck, on the fine network's grid, most joints closed."""
    spacing = (FINE_MM,) * 3
    options = PhantomOptions("C1", "T2", spacing_mm=spacing, tight=True, arthrosis=0.8)
    return make_phantom(seed, options).labels


def case_of(labels: Volume) -> Case:
    """Return a label map with vertebrae counted from the head; those without a core are left out.

    A sacrum counts as one more below them; it has no core.
    """
    labels = labels.with_array(labels.array.astype(np.uint8))
    grid = grid_with_spacing(labels.geometry, FINE_MM)
    core, truth = (
        sample_nearest(labels.with_array(body_cores(labels)), grid),
        sample_nearest(labels, grid),
    )
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
    """Return points near the cuts of a case, clean and rough."""
    rough_case = roughened(case, rng)
    parts = []
    for given in (case, rough_case):
        bone = given.numbers > 0
        first = nearest_seed(given.seeds, bone, (FINE_MM,) * 3)
        for guess in (given.numbers, first):
            parts += points_of(given, guess[bone], rng)
    features, lower = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Sample(features, lower, np.full(len(lower), weight, np.float32))


def roughened(case: Case, rng: np.random.Generator) -> Case:
    """Return a case whose rim is as wavy as a network's, and now and then too far in or out."""
    about = surround(case.numbers > 0, (FINE_MM,) * 3, FAR_MM)
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
    """Return features and truth of points near each cut, the own surfaces fitted to a guess."""
    bone = case.numbers > 0
    voxels = np.argwhere(bone)
    points, truth = voxels * FINE_MM, case.numbers[bone]
    middles = core_middles(points, case.seeds[bone], case.count)
    pairs = frames(middles)
    places = core_places(middles, np.zeros(case.count))[:-1]
    usual = usual_coefficients(places)
    own = fit_surfaces(points, guess, pairs, usual)
    about = chain_curve(middles).at(points)
    depth = surround(bone, (FINE_MM,) * 3, deepest_mm(pairs))
    out = []
    for k, frame in enumerate(pairs, start=1):
        place = places[k - 1] + rng.normal(scale=PLACE_ERROR)
        pair = Neighbours(frame, usual[k - 1], own[k - 1], place)
        near = np.abs(about - k - 0.5) < FARTHEST
        near &= np.abs(pair.beyond(points)) < REACH
        chosen = np.flatnonzero(near)
        chosen = rng.choice(chosen, min(PER_PAIR, len(chosen)), replace=False)
        out.append((pair.features(points[chosen], depth), truth[chosen] > k))
    return out


def fit(samples: list[Sample]) -> Parting:
    """Return the network that says best to which side points belong."""
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
        seen = (features[chosen] - mean) / spread
        seen = seen + BLUR * torch.randn_like(seen)
        logit = network(seen)[:, 0] + STEEPNESS * features[chosen, 2]
        loss = nn.functional.binary_cross_entropy_with_logits(logit, lower[chosen], weight[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    # Its first layer takes features as they are: what centres and scales them becomes part of it.
    with torch.no_grad():
        layers[0].weight /= spread
        layers[0].bias -= layers[0].weight @ mean
    return Parting(tuple((a.weight.detach().numpy(), a.bias.detach().numpy()) for a in layers))


def save(parting: Parting, path: Path) -> None:
    """Write weights for `spinemamba.instances.boundary_net.load_parting`."""
    tensors = {}
    for k, (weight, bias) in enumerate(parting.layers):
        tensors |= {f"{k}.weight": weight, f"{k}.bias": bias}
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)


if __name__ == "__main__":
    main()
