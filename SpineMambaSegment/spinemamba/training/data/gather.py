"""Gather the training cases: public ones, the user's, and phantoms for what these lack."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.orientation import canonical
from spinemamba.phantom import ShapeBank, make_phantom, random_options
from spinemamba.training.data.cache import (
    PHANTOM,
    PREFIX,
    PUBLIC,
    USER,
    files_digest,
    with_keys,
)
from spinemamba.training.data.dataset import Case, load_dataset, make_case, save_dataset
from spinemamba.training.data.public_cases import (
    COMPLETE,
    MASKS,
    PAIRS,
    load_public_cases,
    public_files,
)
from spinemamba.training.data.read_dataset import check_cases, find_cases, load_user_cases
from spinemamba.training.data.vertebra_shapes import (
    DONORS,
    extract_all_shapes,
    load_shapes,
    save_shapes,
)

DATASET, SHAPES = "bank.safetensors", "shapes.safetensors"

SHARE = {
    "own": 12.0,
    "complete": 5.0,
    "part": 3.0,
    "mask": 1.0,
    "composed": 6.0,
    "phantom": 2.5,
}
"""Relative sampling weight of each kind of case, divided among the cases of that kind.

"own" are the user's cases, "composed" are phantoms with real vertebral shapes.
"""

FINEST_PHANTOM_MM = 1.5

DESIGNED_EVERY = 4
"""If real shapes are available, every fourth phantom still has designed shapes: there are few real
shapes, and none of them is unusual."""


@dataclass(frozen=True)
class DataOptions:
    """Sources of the training cases.

    Attributes:
        folder: Folder of the training, for the dataset cache.
        public: Folder of the public cases, as `public_cases` describes it; None for none.
        user: Folder of the user's cases, as `read_dataset` describes it; None for none.
        leave_out: Names of cases that are kept for testing.
        phantoms: Number of phantoms.
        seed: Seed of the first phantom; the others have the following numbers.
    """

    folder: Path
    public: Path | None = None
    user: Path | None = None
    leave_out: tuple[str, ...] = ()
    phantoms: int = 12
    seed: int = 0


def gather_cases(
    options: DataOptions, spacing_mm: float, report: Callable[[str], None]
) -> tuple[list[Case], list[float]]:
    """Return the cases and their sampling weights; the cases are cached beside the checkpoint.

    A later call adds the cases that the cache lacks, so that a training can continue with more
    cases. Public and user cases whose files have changed are read again. User cases that are no
    longer in their folder are removed from the cache.

    Args:
        options: Sources of the cases.
        spacing_mm: Voxel spacing of the network.
        report: Receives messages about progress and changed cases.

    Raises:
        UserError: If a case cannot be used, the cache belongs to the other network, or it cannot
            be written.
    """
    path = options.folder / DATASET
    cached = _cached(path, spacing_mm, report)
    cases = list(cached)
    sources = ((options.public, "--real", PUBLIC), (options.user, "--data", USER))
    for folder, option, kind in sources:
        if count := sum(case.key.startswith(kind) and not folder for case in cases):
            report(f"{count} cases of an earlier call's {option} are used unchanged")
    if options.public:
        cases = _with_public_cases(cases, options.public, spacing_mm, report)
    if options.user:
        cases = _with_user_cases(cases, options.user, spacing_mm, report)
    cases = _with_phantoms(cases, options, spacing_mm, report)
    if [id(case) for case in cases] != [id(case) for case in cached]:
        save_dataset(cases, spacing_mm, path)
    cases = _without(cases, options.leave_out)
    return cases, draw_weights(cases)


def _cached(path: Path, spacing_mm: float, report: Callable[[str], None]) -> list[Case]:
    """Return the cases of earlier calls; an empty list if there is no cache, or a damaged one."""
    if not os.path.lexists(path):
        return []
    try:
        return load_dataset(path, spacing_mm)
    except UserError as error:
        if error.code != Code.MODEL_BAD:
            raise
        report(f"{error.message} It is rebuilt from the data of this call.")
        return []


def _with_public_cases(
    cases: list[Case], folder: Path, spacing_mm: float, report: Callable[[str], None]
) -> list[Case]:
    """Return the cases with the public ones; those with changed files are read again."""
    try:
        keys = {name: PUBLIC + files_digest(files) for name, files in public_files(folder).items()}
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read: {error.strerror}.",
            "Check the path after --real; training/data/public_cases.py lists the files.",
        ) from error
    old_keys = {case.name: case.key for case in cases if case.key.startswith(PUBLIC)}
    names = [name for name, key in keys.items() if old_keys.get(name) != key]
    cases = [
        replace(case, name=f"{PREFIX}{case.name}")
        if case.name in keys and case.key.startswith(USER)
        else case
        for case in cases
    ]
    for name in names:
        if name in old_keys:
            report(f"{name}: its files have changed since the last call; they are read again")
    new = {c.name: c for c in load_public_cases(folder, spacing_mm, names, report)}
    new = {name: replace(case, key=keys[name]) for name, case in new.items()}
    return _replaced(cases, new)


def _with_user_cases(
    cases: list[Case], folder: Path, spacing_mm: float, report: Callable[[str], None]
) -> list[Case]:
    """Return the cases with exactly the user's cases of a folder; only new files are read."""
    old = {case.name: case for case in cases if case.key.startswith(USER)}
    other_names = {case.name for case in cases if case.name not in old}
    entries = with_keys(find_cases(folder), other_names, report)
    by_key = {case.key: case for case in old.values() if case.key != USER}
    missing = [entry for entry in entries if entry.key not in by_key]
    for entry in missing:
        if entry.name in old:
            report(f"{entry.name}: its files have changed since the last call; they are read again")
    for name in old.keys() - {entry.name for entry in entries}:
        report(f"{name}: no longer in {folder}; left out")
    check_cases(missing, report)
    new = {case.name: case for case in load_user_cases(missing, spacing_mm, report)}
    for entry in entries:
        if entry.name not in new:
            same = by_key[entry.key]
            new[entry.name] = same if same.name == entry.name else replace(same, name=entry.name)
    remaining = [case for case in cases if case.name not in old or case.name in new]
    return _replaced(remaining, {entry.name: new[entry.name] for entry in entries})


def _replaced(cases: list[Case], new: dict[str, Case]) -> list[Case]:
    """Return the cases with new ones in place of those of the same name, and others at the end.

    The order determines which patches a training draws.
    """
    names = {case.name for case in cases}
    added = [case for name, case in new.items() if name not in names]
    return [new.get(case.name, case) for case in cases] + added


def _with_phantoms(
    cases: list[Case], options: DataOptions, spacing_mm: float, report: Callable[[str], None]
) -> list[Case]:
    """Return the cases with the phantoms that this call asks for."""
    shapes, key = None, PHANTOM
    if options.public and options.phantoms:
        shapes, digest = _shapes(options.public, options.folder, report)
        key += digest
    cached = {case.name: case for case in cases}
    new = {}
    seeds = range(options.seed, options.seed + options.phantoms)
    names = {f"{kind}{seed}" for kind in ("phantom", "composed") for seed in seeds}
    if count := sum(case.key.startswith(PHANTOM) and case.name not in names for case in cases):
        report(f"{count} phantoms of earlier calls are also used")
    for seed in seeds:
        designed = shapes is None or seed % DESIGNED_EVERY == 0
        composed = cached.get(f"composed{seed}")
        if f"phantom{seed}" in cached or (composed and (designed or composed.key == key)):
            continue
        case = phantom_case(seed, spacing_mm, report, None if designed else shapes)
        new[case.name] = replace(case, key=PHANTOM if designed else key)
    return _replaced(cases, new)


def _without(cases: list[Case], names: tuple[str, ...]) -> list[Case]:
    """Return the cases without those that are kept for testing."""
    if unknown := sorted(set(names) - {case.name for case in cases}):
        raise UserError(
            f"There is no case {', '.join(unknown)} to leave out.",
            f"The cases are {', '.join(case.name for case in cases)}.",
            Code.INPUT_BAD,
        )
    return [case for case in cases if case.name not in names]


def draw_weights(cases: list[Case]) -> list[float]:
    """Return the relative sampling weight of each case, by its kind and the levels in it."""
    kinds = [_kind(case) for case in cases]
    shares = [SHARE[kind] / kinds.count(kind) for kind in kinds]
    return [s * _rarity(case, cases, shares) for s, case in zip(shares, cases, strict=True)]


def _rarity(case: Case, cases: list[Case], shares: list[float]) -> float:
    """Return a factor from 0.5 to 3, high if the levels of a case are rare, as cervical ones."""
    present = torch.stack([c.centres[1:, 0].isfinite() for c in cases]).float()  # (cases, levels)
    frequency = (torch.tensor(shares)[:, None] * present).sum(dim=0).clamp_min(1e-6)
    levels = case.centres[1:, 0].isfinite()
    if not levels.any():
        return 1.0
    typical = frequency[frequency > 1e-3].median()
    return float((typical / frequency[levels]).mean().clamp(0.5, 3.0))


def _shapes(public: Path, folder: Path, report: Callable[[str], None]) -> tuple[ShapeBank, str]:
    """Return the real vertebral shapes, and the digest of their source files.

    They are extracted at the first call, cached beside the checkpoint, and extracted again if
    their source files have changed.
    """
    path = folder / SHAPES
    # gather_cases has read these files before, so they can be read.
    digest = files_digest(public / file for file, *_ in DONORS.values())
    if os.path.lexists(path):
        try:
            return load_shapes(path, digest), digest
        except UserError as error:
            report(f"{error.message} It is rebuilt.")
    save_shapes(extract_all_shapes(public, report), path, digest)
    return load_shapes(path, digest), digest


def phantom_case(
    seed: int, spacing_mm: float, report: Callable[[str], None], shapes: ShapeBank | None = None
) -> Case:
    """Return a phantom as a training case.

    Args:
        seed: Seed of the phantom.
        spacing_mm: Voxel spacing of the network.
        report: Receives the name of the phantom.
        shapes: Real vertebral shapes; None for designed ones.

    Returns:
        The case, named "composed" and the seed with real shapes, else "phantom" and the seed.
    """
    kind = "phantom" if shapes is None else "composed"
    report(f"{kind} {seed}")
    step_mm = max(FINEST_PHANTOM_MM, spacing_mm / 2)
    options = random_options(np.random.default_rng(seed), (step_mm,) * 3)
    phantom = make_phantom(seed, options, shapes)
    labels, _ = canonical(phantom.labels)
    image, _ = canonical(phantom.image)
    tissues, _ = canonical(phantom.tissues)
    return make_case(f"{kind}{seed}", labels, spacing_mm, image=image, tissues=tissues)


def _kind(case: Case) -> str:
    for kind in ("phantom", "composed"):
        if case.name.startswith(kind):
            return kind
    if case.name in MASKS:
        return "mask"
    if case.name in PAIRS:
        return "complete" if case.name in COMPLETE else "part"
    return "own"
