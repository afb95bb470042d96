"""Measure re-segmentation and splitting of vertebrae with simulated errors.

``python Testing/Benchmarks/run.py resegmentation add --seeds 0 1 2`` removes every inner vertebra
from the labels of phantoms, adds it again by a click into the centre of its body, and prints its
Dice. The neighbours are those of the ground truth, or with ``--whole`` those of a run over the
whole image (then with the Dice to the vertebra of that run, too). ``... split`` merges neighbours
and separates them by two clicks, and by a plane halfway between. ``--data`` uses lidc0001 and
ts_example of the public cases, whose labels are automatic and belong to the training data.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator

import numpy as np
from public_cases import public_cases
from scipy import ndimage

from spinemamba.anatomy.labels import BY_NAME, BY_VALUE
from spinemamba.common.errors import UserError
from spinemamba.editing.resegment import TargetVertebra, resegment_vertebra
from spinemamba.editing.split import split_by_seeds
from spinemamba.imaging.curved_planar import trace_spine
from spinemamba.imaging.masks import (
    above_plane,
    dice,
)
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.resample import crop_geometry
from spinemamba.imaging.volume import Volume
from spinemamba.inference.model import Model, load_model
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.segment import segment

PHANTOMS = {
    "review": PhantomOptions(first="T10", last="Sacrum", spacing_mm=(1.5, 1.2, 1.2), tight=True),
    "lumbar": PhantomOptions(first="T9", last="Sacrum", cut=True, spacing_mm=(1.5, 1.0, 1.0)),
    "chest": PhantomOptions(first="T3", last="T9", cut=True, spacing_mm=(2.0, 1.0, 1.0)),
    "whole": PhantomOptions(spacing_mm=(2.0, 1.5, 1.5)),
}
"""Phantoms of the review test and of the measurement hard_cases."""

REAL = ("lidc0001", "ts_example")
"""Cases of the list of public cases."""

LEAST_ML = 4.0
"""Vertebrae with a smaller volume are treated as truncated."""

Case = tuple[str, Volume, Volume]


def main(words: list[str]) -> int:
    """Run the measurement that the command line selects."""
    parser = argparse.ArgumentParser("resegmentation", description=__doc__)
    parser.add_argument("what", choices=("add", "split"))
    parser.add_argument("--cases", nargs="+", choices=PHANTOMS, default=list(PHANTOMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--levels", nargs="+", default=[], help="only these; otherwise all")
    parser.add_argument("--data", action="store_true", help="real cases instead of phantoms")
    parser.add_argument("--whole", action="store_true", help="neighbours of a whole run as well")
    args = parser.parse_args(words)
    if args.what == "split":
        for name, _, truth in cases(args):
            split(name, truth)
        return 0
    model = load_model(find_model(DEFAULT))
    for name, image, truth in cases(args):
        add((f"{name}, true neighbours", image, truth), truth, model, args.levels)
        if args.whole:
            found = canonical(segment(image, model).labels)[0]
            case = (f"{name}, neighbours of a whole run", image, truth)
            add(case, found, model, args.levels)
    return 0


def cases(args: argparse.Namespace) -> Iterator[Case]:
    """Yield name, image and true labels of each case, in canonical orientation."""
    if not args.data:
        for name, seed in itertools.product(args.cases, args.seeds):
            phantom = make_phantom(seed, PHANTOMS[name])
            labels = phantom.labels.with_array(phantom.labels.array.astype(np.uint8))
            yield f"{name} {seed}", phantom.image, labels
        return
    data = public_cases()
    for name in REAL:
        yield (
            name,
            canonical(read_volume(data.image(name)))[0],
            canonical(read_labels(data.label(name)))[0],
        )


def inner(labels: Volume) -> list[int]:
    """Return the label values from the head down, without first, last and truncated ones."""
    sizes = np.bincount(labels.array.ravel(), minlength=max(BY_VALUE) + 1)
    voxel_ml = labels.geometry.voxel_ml
    order = [v for v in BY_VALUE if sizes[v] * voxel_ml > LEAST_ML]
    return [v for v in order[1:-1] if v != BY_NAME["Sacrum"].value]


def add(case: Case, existing: Volume, model: Model, levels: list[str]) -> None:
    """Print the Dice of each vertebra that is removed and added again by a click."""
    name, image, truth = case
    values = [v for v in inner(truth) if not levels or BY_VALUE[v].name in levels]
    bodies_mm = trace_spine(truth).bodies_mm
    rows = []
    for value in values:
        own = truth.array == value
        hit = np.bincount(existing.array[own])
        before = int(hit[1:].argmax()) + 1 if hit[1:].any() else 0
        labels = existing.with_array(np.where(existing.array == before, 0, existing.array))
        place = truth.geometry.to_lps_mm(bodies_mm[value] / np.asarray(truth.spacing_mm))
        target = TargetVertebra(tuple(map(float, place)))
        try:
            mask = resegment_vertebra(image, labels, target, (model.fine, "ct")).mask.array > 0
        except UserError:
            mask = np.zeros_like(own)
        found = existing.array == before if before else np.zeros_like(own)
        rows.append((BY_VALUE[value].name, dice(mask, own), dice(mask, found), dice(found, own)))
        level, new, same, old = rows[-1]
        say(f"  {level} {new:.3f}; to the removed one {same:.3f}, which had {old:.3f}")
    print_scores(name, [new for _, new, _, _ in rows])


def split(name: str, truth: Volume) -> None:
    """Print the Dice of neighbours that are merged and split again."""
    spacing_mm, bodies_mm = np.asarray(truth.spacing_mm), trace_spine(truth).bodies_mm
    by_seeds, by_plane = [], []
    for upper, lower in itertools.pairwise(inner(truth)):
        both = np.isin(truth.array, (upper, lower))
        box = ndimage.find_objects(both.astype(np.uint8))[0]
        inside, labels = both[box], truth.array[box]
        seeds = np.stack([bodies_mm[v] / spacing_mm for v in (upper, lower)])
        part = Volume(inside, crop_geometry(truth.geometry, box))
        parts = split_by_seeds(part, truth.geometry.to_lps_mm(seeds))
        seeds -= [s.start for s in box]
        gradient = (seeds[0] - seeds[1]) * spacing_mm**2
        cut = above_plane(inside, seeds.mean(axis=0), gradient)
        halves = (labels == upper, labels == lower)
        by_seeds.append(min(dice(parts == 1, halves[0]), dice(parts == 2, halves[1])))
        by_plane.append(min(dice(cut, halves[0]), dice(inside & ~cut, halves[1])))
    print_scores(f"{name}, split by seeds", by_seeds)
    print_scores(f"{name}, split by a plane", by_plane)


def print_scores(name: str, scores: list[float]) -> None:
    """Print a summary of scores."""
    words = " ".join(f"{score:.3f}" for score in scores)
    below = sum(score < 0.95 for score in scores)
    say(f"{name}: n {len(scores)}, mean {np.mean(scores):.3f}, least {min(scores):.3f}, "
        f"{below} below 0.95: {words}")  # fmt: skip


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
