"""Gather the training cases: those of a data list, the user's, and phantoms for the rest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.atomic_files import sha256
from spinemamba.common.errors import Code, UserError
from spinemamba.common.processes import process_map
from spinemamba.training.centres.cases import CENTRES, with_centre_cases
from spinemamba.training.data.case_maker import CaseMaker, replaced, unheard
from spinemamba.training.data.case_store import (
    CaseStore,
    StoredCase,
    TrainingCase,
    files_digest,
    renamed,
)
from spinemamba.training.data.data_list import DataList, ListedCase
from spinemamba.training.data.listed_cases import load_listed_cases
from spinemamba.training.data.origin import PREFIX
from spinemamba.training.data.phantom_cases import with_phantoms
from spinemamba.training.data.read_dataset import (
    USER,
    check_cases,
    load_user_cases,
    with_keys,
)
from spinemamba.training.layouts.find import find_cases
from spinemamba.training.layouts.user_case import UserCase

_LISTED = "list:"
"""Beginning of the keys of cases of a data list; `USER` and `PHANTOM` are those of the others."""

CASES = "cases"
"""Folder of the cases, in that of a training."""

_FORMER_CACHE = "bank.safetensors"

SHARE = {
    "user": 12.0,
    "centres": 12.0,
    "complete": 5.0,
    "part": 3.0,
    "mask": 1.0,
    "body": 6.0,
    "composed": 6.0,
    "phantom": 2.5,
}
"""Relative sampling weight of each kind of case, divided among the cases of that kind.

"user" are the user's cases; "centres" are MR volumes with centres of bodies; "complete" and "part"
are listed cases in which all or some visible vertebrae are labelled; "mask" are label maps without
an image; "body" are label maps with the structures of the whole body; "composed" are phantoms with
real vertebral shapes.
"""


@dataclass(frozen=True)
class DataOptions:
    """Sources of the training cases.

    Attributes:
        folder: Folder of the training; its cases are kept there.
        listed: Data list with training cases; None for none.
        user: Folder of the user's cases, in a layout of `layouts.find`; None for none.
        ignore: Names of labels of the user's cases that become background.
        unused: Names of the user's cases that are not trained on: other splits and folds.
        leave_out: Names of cases that are kept for testing.
        phantoms: Number of phantoms.
        seed: Seed of the first phantom; the others have the following numbers.
        shares: Relative sampling weight of each kind of case.
        prepared: Folders of cases that `spinemamba prepare` has made for the network.
        workers: Processes that check and make cases.
        centres: Folder of MR volumes with centres, see `centres.read`; None for none.
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
    prepared: tuple[Path, ...] = ()
    workers: int = 1
    centres: Path | None = None

    @property
    def shape_donors(self) -> DataList | None:
        """The data list for phantoms, which must not show the shapes of a case left out."""
        return None if self.listed is None else self.listed.without_donors(self.leave_out)


def gather_cases(
    options: DataOptions, spacing_mm: float, report: Callable[[str], None]
) -> tuple[list[StoredCase], list[float]]:
    """Return the cases and their sampling weights; each is kept in a file beside the checkpoint.

    A later call adds the cases that are missing, so that a training can continue with more cases,
    and an interrupted one goes on with its data. Listed and user cases whose files have changed are
    read again. User cases that are no longer in their folder are removed.

    Args:
        options: Sources of the cases.
        spacing_mm: Voxel spacing of the network.
        report: Receives messages about progress and changed cases.

    Raises:
        UserError: If a case cannot be used, the cases in the folder belong to the other network, or
            a file cannot be written.
    """
    if os.path.lexists(options.folder / _FORMER_CACHE):
        report(
            f"{options.folder / _FORMER_CACHE} is a cache of an earlier version, which is no "
            "longer read. Delete it."
        )
    store = CaseStore(options.folder / CASES, spacing_mm)
    before = store.read(report)
    cases = list(before)
    sources = (
        (options.listed, "--data-list", _LISTED),
        (options.user, "--data", USER),
        (options.centres, "--centres", CENTRES),
    )
    for source, option, kind in sources:
        if count := sum(case.key.startswith(kind) and not source for case in cases):
            report(f"{count} cases of an earlier call's {option} are used unchanged")
    with process_map(options.workers) as each:
        maker = CaseMaker(store, report, each)
        if options.listed:
            cases = _with_listed_cases(cases, options.listed, maker)
        if options.user:
            cases = _with_user_cases(cases, options, maker)
        if options.centres:
            cases = with_centre_cases(cases, options.centres, maker)
        seeds = range(options.seed, options.seed + options.phantoms)
        cases = store.in_order(with_phantoms(cases, seeds, options.shape_donors, maker))
    if cases != before:
        store.write(cases)
    for folder in reversed(options.prepared):
        prepared = _prepared(folder, spacing_mm, report)
        # Those that are validated on may have been prepared as well.
        kept = [case for case in prepared if case.name not in options.unused]
        names = {case.name for case in cases}
        prefix = f"{folder.parent.name}/"
        cases = [renamed(c, prefix + c.name) if c.name in names else c for c in kept] + cases
    cases = _without(cases, options.leave_out)
    return cases, draw_weights(cases, options.shares)


def _prepared(folder: Path, spacing_mm: float, report: Callable[[str], None]) -> list[StoredCase]:
    """Return the cases of a prepared folder.

    Raises:
        UserError: If there are none, or a file is damaged (INPUT_BAD).
    """
    problems: list[str] = []
    cases = CaseStore(folder / CASES, spacing_mm).read(problems.append)
    if problems or not cases:
        raise UserError(
            "\n".join([*problems, f"{folder} does not hold whole prepared cases."]),
            "Prepare them with: spinemamba prepare DATA FOLDER",
            Code.INPUT_BAD,
        )
    report(f"{len(cases)} prepared cases of {folder}")
    return cases


def _with_listed_cases(
    cases: list[StoredCase], data: DataList, maker: CaseMaker
) -> list[StoredCase]:
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
            maker.report(
                f"{name}: its files or its entry have changed since the last call; read again"
            )
    make = partial(_make_listed, data, keys, maker.store)
    return replaced(cases, maker.made(make, names))


def _make_listed(
    data: DataList, keys: Mapping[str, str], store: CaseStore, name: str
) -> StoredCase:
    """Make a listed case, unless an interrupted call has made it."""
    path = store.path_of(name, keys[name])
    if (found := store.find(name, path)) is not None:
        return found
    (case,) = load_listed_cases(data, store.spacing_mm, [name], unheard)
    return store.add(replace(case, key=keys[name]), path)


def _listed_digest(data: DataList, entry: ListedCase) -> str:
    """Return a digest of the files of a case, and of what the list says about it.

    Raises:
        OSError: If a file cannot be read.
    """
    said = json.dumps([asdict(entry), data.origin(entry).source])
    return sha256((said + files_digest(data.root / path for path in entry.files)).encode())


def _with_user_cases(
    cases: list[StoredCase], options: DataOptions, maker: CaseMaker
) -> list[StoredCase]:
    """Return the cases with exactly the user's cases of a folder; only new files are read."""
    old = {case.name: case for case in cases if case.key.startswith(USER)}
    other_names = {case.name for case in cases if case.name not in old}
    own = find_cases(options.user, options.ignore)
    chosen = [case for case in own if case.name not in options.unused]
    entries = with_keys(chosen, other_names, maker.report)
    by_key = {case.key: case for case in old.values() if case.key != USER}
    missing = [entry for entry in entries if entry.key not in by_key]
    for entry in missing:
        if entry.name in old:
            maker.report(
                f"{entry.name}: its files have changed since the last call; they are read again"
            )
    for name in old.keys() - {entry.name for entry in entries}:
        maker.report(f"{name}: no longer in {options.user}; left out")
    found = {entry.name: _find_user(maker.store, entry) for entry in missing}
    new = {name: case for name, case in found.items() if case is not None}
    missing = [entry for entry in missing if entry.name not in new]
    check_cases(missing, maker.report, maker.each)
    new |= maker.made(partial(_make_user, maker.store), missing)
    for entry in entries:
        if entry.name not in new:
            new[entry.name] = renamed(by_key[entry.key], entry.name)
    remaining = [case for case in cases if case.name not in old or case.name in new]
    return replaced(remaining, {entry.name: new[entry.name] for entry in entries})


def _user_file(store: CaseStore, entry: UserCase) -> Path:
    """Return the file of a user's case; only its content counts, so that it can be renamed."""
    return store.path_of(entry.name if entry.key == USER else "", entry.key)


def _find_user(store: CaseStore, entry: UserCase) -> StoredCase | None:
    """Return the case that an interrupted call has made from the same files, or None."""
    return None if entry.key == USER else store.find(entry.name, _user_file(store, entry))


def _make_user(store: CaseStore, entry: UserCase) -> StoredCase:
    (case,) = load_user_cases([entry], store.spacing_mm, unheard)
    return store.add(case, _user_file(store, entry))


def _without(cases: list[StoredCase], names: tuple[str, ...]) -> list[StoredCase]:
    """Return the cases without those that are kept for testing."""
    if unknown := sorted(set(names) - {case.name for case in cases}):
        raise UserError(
            f"There is no case {', '.join(unknown)} to leave out.",
            f"The cases are {', '.join(case.name for case in cases)}.",
            Code.INPUT_BAD,
        )
    return [case for case in cases if case.name not in names]


def draw_weights(cases: Sequence[TrainingCase], kinds: Mapping[str, float] = SHARE) -> list[float]:
    """Return the relative sampling weight of each case, by its kind and the levels in it."""
    totals = dict.fromkeys(SHARE, 0.0)
    for case in cases:
        totals[case.origin.kind] += case.origin.weight
    shares = [
        kinds.get(c.origin.kind, 0.0) * c.origin.weight / totals[c.origin.kind] for c in cases
    ]
    present = torch.zeros(len(cases), len(NETWORK_LEVELS))  # (cases, levels)
    for row, case in zip(present, cases, strict=True):
        row[[channel - 1 for channel in case.levels]] = 1
    frequency = (torch.tensor(shares)[:, None] * present).sum(dim=0).clamp_min(1e-6)
    return [s * _rarity(row > 0, frequency) for s, row in zip(shares, present, strict=True)]


def _rarity(levels: torch.Tensor, frequency: torch.Tensor) -> float:
    """Return a factor from 0.5 to 3, high if the levels of a case are rare, as cervical ones.

    Args:
        levels: Whether each level is in the case, bool (levels,).
        frequency: Sum of the shares of the cases with each level, (levels,).
    """
    if not levels.any():
        return 1.0
    typical = frequency[frequency > 1e-3].median()
    return float((typical / frequency[levels]).mean().clamp(0.5, 3.0))
