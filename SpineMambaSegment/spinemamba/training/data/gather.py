"""Gather the training cases: those of a data list, the user's, and phantoms for the rest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from spinemamba.common.atomic_files import sha256
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.orientation import canonical
from spinemamba.inference.model import sha256_of
from spinemamba.phantom import ShapeBank, make_phantom, random_options
from spinemamba.training.data.data_list import DataList, ListedCase
from spinemamba.training.data.dataset import Case, load_dataset, make_case, save_dataset
from spinemamba.training.data.listed_cases import load_listed_cases
from spinemamba.training.data.origin import PHANTOM_SOURCE, PREFIX, Origin
from spinemamba.training.data.read_dataset import (
    USER,
    check_cases,
    load_user_cases,
    with_keys,
)
from spinemamba.training.data.vertebra_shapes import (
    extract_all_shapes,
    load_shapes,
    save_shapes,
)
from spinemamba.training.layouts.find import find_cases

_LISTED, _PHANTOM = "list:", "phantom:"
"""Beginnings of the keys of cases of a data list, and of phantoms; `USER` is that of the user's."""

_DATASET, _SHAPES = "bank.safetensors", "shapes.safetensors"

SHARE = {
    "user": 12.0,
    "complete": 5.0,
    "part": 3.0,
    "mask": 1.0,
    "composed": 6.0,
    "phantom": 2.5,
}
"""Relative sampling weight of each kind of case, divided among the cases of that kind.

"user" are the user's cases; "complete" and "part" are listed cases in which all or some visible
vertebrae are labelled; "mask" are label maps without an image; "composed" are phantoms with real
vertebral shapes.
"""

_FINEST_PHANTOM_MM = 1.5

_DESIGNED_EVERY = 4
"""If real shapes are available, every fourth phantom still has designed shapes: there are few real
shapes, and none of them is unusual."""


@dataclass(frozen=True)
class DataOptions:
    """Sources of the training cases.

    Attributes:
        folder: Folder of the training, for the dataset cache.
        listed: Data list with training cases; None for none.
        user: Folder of the user's cases, in a layout of `layouts.find`; None for none.
        ignore: Names of labels of the user's cases that become background.
        unused: Names of the user's cases that are not trained on: other splits and folds.
        leave_out: Names of cases that are kept for testing.
        phantoms: Number of phantoms.
        seed: Seed of the first phantom; the others have the following numbers.
        shares: Relative sampling weight of each kind of case.
    """

    folder: Path
    listed: DataList | None = None
    user: Path | None = None
    ignore: tuple[str, ...] = ()
    unused: frozenset[str] = frozenset()
    leave_out: tuple[str, ...] = ()
    phantoms: int = 12
    seed: int = 0
    shares: Mapping[str, float] = field(default_factory=lambda: dict(SHARE))


def gather_cases(
    options: DataOptions, spacing_mm: float, report: Callable[[str], None]
) -> tuple[list[Case], list[float]]:
    """Return the cases and their sampling weights; the cases are cached beside the checkpoint.

    A later call adds the cases that the cache lacks, so that a training can continue with more
    cases. Listed and user cases whose files have changed are read again. User cases that are no
    longer in their folder are removed from the cache.

    Args:
        options: Sources of the cases.
        spacing_mm: Voxel spacing of the network.
        report: Receives messages about progress and changed cases.

    Raises:
        UserError: If a case cannot be used, the cache belongs to the other network, or it cannot
            be written.
    """
    path = options.folder / _DATASET
    cached = _cached(path, spacing_mm, report)
    cases = list(cached)
    sources = ((options.listed, "--data-list", _LISTED), (options.user, "--data", USER))
    for source, option, kind in sources:
        if count := sum(case.key.startswith(kind) and not source for case in cases):
            report(f"{count} cases of an earlier call's {option} are used unchanged")
    if options.listed:
        cases = _with_listed_cases(cases, options.listed, spacing_mm, report)
    if options.user:
        cases = _with_user_cases(cases, options, spacing_mm, report)
    cases = _with_phantoms(cases, options, spacing_mm, report)
    if [id(case) for case in cases] != [id(case) for case in cached]:
        save_dataset(cases, spacing_mm, path)
    cases = _without(cases, options.leave_out)
    return cases, draw_weights(cases, options.shares)


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


def _with_listed_cases(
    cases: list[Case], data: DataList, spacing_mm: float, report: Callable[[str], None]
) -> list[Case]:
    """Return the cases with those of a list; changed ones are read again."""
    try:
        keys = {entry.name: _LISTED + _listed_digest(data, entry) for entry in data.training}
    except OSError as error:
        raise UserError(
            f"{error.filename}, which {data.path} lists, cannot be read: {error.strerror}.",
            "Check the list and the folder after --data-root.",
        ) from error
    old_keys = {case.name: case.key for case in cases if case.key.startswith(_LISTED)}
    names = [name for name, key in keys.items() if old_keys.get(name) != key]
    cases = [
        replace(case, name=f"{PREFIX}{case.name}")
        if case.name in keys and case.key.startswith(USER)
        else case
        for case in cases
    ]
    for name in names:
        if name in old_keys:
            report(f"{name}: its files or its entry have changed since the last call; read again")
    new = {c.name: c for c in load_listed_cases(data, spacing_mm, names, report)}
    new = {name: replace(case, key=keys[name]) for name, case in new.items()}
    return _replaced(cases, new)


def _listed_digest(data: DataList, entry: ListedCase) -> str:
    """Return a digest of the files of a case, and of what the list says about it.

    Raises:
        OSError: If a file cannot be read.
    """
    said = json.dumps([asdict(entry), data.origin(entry).source])
    return sha256((said + _files_digest(data.root / path for path in entry.files)).encode())


def _files_digest(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the SHA-256s of several files, in their order."""
    return sha256(" ".join(map(sha256_of, paths)).encode())


def _with_user_cases(
    cases: list[Case], options: DataOptions, spacing_mm: float, report: Callable[[str], None]
) -> list[Case]:
    """Return the cases with exactly the user's cases of a folder; only new files are read."""
    old = {case.name: case for case in cases if case.key.startswith(USER)}
    other_names = {case.name for case in cases if case.name not in old}
    found = find_cases(options.user, options.ignore)
    chosen = [case for case in found if case.name not in options.unused]
    entries = with_keys(chosen, other_names, report)
    by_key = {case.key: case for case in old.values() if case.key != USER}
    missing = [entry for entry in entries if entry.key not in by_key]
    for entry in missing:
        if entry.name in old:
            report(f"{entry.name}: its files have changed since the last call; they are read again")
    for name in old.keys() - {entry.name for entry in entries}:
        report(f"{name}: no longer in {options.user}; left out")
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
    shapes, key, data = None, _PHANTOM, options.listed
    if data is not None and data.donors and options.phantoms:
        shapes, digest = _shapes(data, options.folder, report)
        key += digest
    cached = {case.name: case for case in cases}
    new = {}
    seeds = range(options.seed, options.seed + options.phantoms)
    names = {f"{kind}{seed}" for kind in ("phantom", "composed") for seed in seeds}
    if count := sum(case.key.startswith(_PHANTOM) and case.name not in names for case in cases):
        report(f"{count} phantoms of earlier calls are also used")
    for seed in seeds:
        designed = shapes is None or seed % _DESIGNED_EVERY == 0
        composed = cached.get(f"composed{seed}")
        if f"phantom{seed}" in cached or (composed and (designed or composed.key == key)):
            continue
        case = phantom_case(seed, spacing_mm, report, None if designed else shapes)
        if not designed:
            origin = replace(case.origin, source=data.shapes_source())
            case = replace(case, origin=origin)
        new[case.name] = replace(case, key=_PHANTOM if designed else key)
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


def draw_weights(cases: list[Case], kinds: Mapping[str, float] = SHARE) -> list[float]:
    """Return the relative sampling weight of each case, by its kind and the levels in it."""
    totals = dict.fromkeys(SHARE, 0.0)
    for case in cases:
        totals[case.origin.kind] += case.origin.weight
    shares = [
        kinds.get(c.origin.kind, 0.0) * c.origin.weight / totals[c.origin.kind] for c in cases
    ]
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


def _shapes(data: DataList, folder: Path, report: Callable[[str], None]) -> tuple[ShapeBank, str]:
    """Return the real vertebral shapes, and the digest of their source files.

    They are extracted at the first call, cached beside the checkpoint, and extracted again if
    their source files have changed.
    """
    path = folder / _SHAPES
    # gather_cases has read these files before, so they can be read.
    said = json.dumps([asdict(donor) for donor in data.donors])
    digest = _files_digest(data.label(donor.case) for donor in data.donors)
    digest = sha256((said + digest).encode())
    if os.path.lexists(path):
        try:
            return load_shapes(path, digest), digest
        except UserError as error:
            report(f"{error.message} It is rebuilt.")
    save_shapes(extract_all_shapes(data, report), path, digest)
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
    step_mm = max(_FINEST_PHANTOM_MM, spacing_mm / 2)
    options = random_options(np.random.default_rng(seed), (step_mm,) * 3)
    phantom = make_phantom(seed, options, shapes)
    labels, _ = canonical(phantom.labels)
    image, _ = canonical(phantom.image)
    tissues, _ = canonical(phantom.tissues)
    case = make_case(f"{kind}{seed}", labels, spacing_mm, image=image, tissues=tissues)
    return replace(case, origin=Origin(kind, PHANTOM_SOURCE))
