"""Official splits and folds: which cases are trained on, and which are kept for validation."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

import numpy as np

from spinemamba.common.errors import UserError
from spinemamba.training.layouts.user_case import PROTECTED, Split, UserCase, UserDataset

_FOLD = re.compile(r"(\d+)/(\d+)")
_MOST_FOLDS = 20
_SHUFFLE_SEED = 12345
"""Seed of the order of patients in folds."""


@dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation.

    Attributes:
        number: Its number, from 0, as in nnU-Net.
        count: Number of folds.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_fold(text: str) -> Fold:
    """Return the fold that a text such as ``0/5`` names.

    Raises:
        ValueError: If it names none.
    """
    match = _FOLD.fullmatch(text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (2 <= count <= _MOST_FOLDS and number < count):
        raise ValueError(f"'{text}' is not a fold; write 0/5 to 4/5")
    return Fold(number, count)


def with_safe_splits(cases: Iterable[UserCase], report: Callable[[str], None]) -> list[UserCase]:
    """Return the cases so that no patient is in two splits; the most protected split counts.

    Args:
        cases: Cases of one data set.
        report: Receives a sentence for each patient in several splits.
    """
    cases = list(cases)
    splits: dict[str, set[Split]] = {}
    for case in cases:
        splits.setdefault(case.subject, set()).add(case.split)
    chosen = {name: max(found, key=PROTECTED.index) for name, found in splits.items()}
    for name, found in sorted(splits.items()):
        if len(found) > 1:
            words = " and ".join(split or "no split" for split in sorted(found))
            report(f"{name}: the same patient in {words}; all its cases count as {chosen[name]}")
    return [replace(case, split=chosen[case.subject]) for case in cases]


def folds(cases: Iterable[UserCase], count: int) -> list[frozenset[str]]:
    """Return the names of the validation cases of each fold; patients are not divided.

    The same cases give the same folds, whatever their order.
    """
    by_patient: dict[str, list[str]] = {}
    for case in cases:
        by_patient.setdefault(case.subject, []).append(case.name)
    patients = sorted(by_patient)
    if len(patients) < count:
        raise UserError(
            f"{len(patients)} patients cannot be divided into {count} folds.",
            "Choose fewer folds, or name cases with --validate.",
        )
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(patients))
    return [
        frozenset(name for k in order[number::count] for name in by_patient[patients[k]])
        for number in range(count)
    ]


@dataclass(frozen=True)
class Selection:
    """Cases of a data set by their use.

    Attributes:
        training: Cases to train on.
        validation: Cases to validate on.
        unused: Cases of other splits.
    """

    training: tuple[UserCase, ...]
    validation: tuple[UserCase, ...]
    unused: tuple[UserCase, ...] = ()


def select(
    dataset: UserDataset,
    report: Callable[[str], None],
    *,
    fold: Fold | None = None,
    validate: Collection[str] = (),
    train_on: Collection[Split] = ("training",),
) -> Selection:
    """Divide the cases of a data set.

    With official splits, only those of ``train_on`` are trained on, and those of the validation
    split are validated on. A fold or names replace the official validation split.

    Args:
        dataset: The data set.
        report: Receives a sentence for each patient in several splits.
        fold: Fold of a cross-validation within the training cases.
        validate: Names of cases to validate on.
        train_on: Official splits to train on.

    Raises:
        UserError: If a name does not occur, both a fold and names are given, there are fewer
            patients than folds, or no case is left to train on.
    """
    if fold is not None and validate:
        raise UserError(
            f"--fold {fold} and --validate both choose the validation cases.", "Give one of them."
        )
    cases = with_safe_splits(dataset.cases, report)
    if unknown := sorted(set(validate) - {case.name for case in cases}):
        raise UserError(
            f"There is no case {', '.join(unknown)} to validate on.",
            f"The cases are {', '.join(case.name for case in cases)}.",
        )
    trained = [case for case in cases if case.split in ("", *train_on)]
    if fold is not None:
        kept = _stated_folds(dataset, trained, fold)[fold.number]
    else:
        kept = frozenset(validate)
    patients = {case.subject for case in cases if case.name in kept}
    if not kept:
        validation = [c for c in cases if c.split == "validation" and c not in trained]
    else:
        validation = [case for case in cases if case.name in kept]
    training = [case for case in trained if case.subject not in patients]
    for case in trained:
        if case.subject in patients and case.name not in kept:
            report(f"{case.name}: not trained on, because its patient is validated on")
    if not training:
        raise UserError(
            "No case is left to train on.", "Choose fewer cases with --validate or --fold."
        )
    used = {case.name for case in (*training, *validation)}
    return Selection(
        tuple(training), tuple(validation), tuple(c for c in cases if c.name not in used)
    )


def _stated_folds(dataset: UserDataset, cases: list[UserCase], fold: Fold) -> list[frozenset[str]]:
    """Return the folds that the data set states, if there are as many; else our own."""
    if len(dataset.folds) == fold.count:
        names = {case.name for case in cases}
        return [kept & names for kept in dataset.folds]
    return folds(cases, fold.count)
