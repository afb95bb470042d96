"""Gather the training cases: real ones, and phantoms that cover what real ones lack."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.orientation import canonical
from spinemamba.phantom import ShapeBank, make_phantom, random_options
from spinemamba.training.data.cache import MADE_UP, OWN, PREFIX, REAL, digest_of, with_keys
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

BANK, SHAPES = "bank.safetensors", "shapes.safetensors"

SHARE = {
    "own": 12.0,
    "complete": 5.0,
    "part": 3.0,
    "mask": 1.0,
    "composed": 6.0,
    "phantom": 2.5,
}
"""How often each kind of case is drawn, relative; shared among the cases of a kind."""

FINEST_PHANTOM_MM = 1.5

DESIGNED_EVERY = 4
"""Where there are real shapes, every fourth made-up spine is designed all the same: real ones are
few, and none of them is odd."""


def prepare(
    args: argparse.Namespace, spacing_mm: float, report: Callable[[str], None]
) -> tuple[list[Case], list[float]]:
    """Return the cases and how often each is drawn; kept in a bank beside the checkpoints.

    A later call adds what the bank lacks, so that a run can go on with more cases. Own and real
    cases whose files have changed are read again; own cases that their folder no longer holds
    leave the bank.

    Raises:
        UserError: If a case cannot be used, the bank belongs to the other network, or it cannot
            be written.
    """
    path = args.out / BANK
    before = _bank(path, spacing_mm, report)
    cases = list(before)
    for given, option, kind in ((args.real, "--real", REAL), (args.data, "--data", OWN)):
        if count := sum(case.key.startswith(kind) and not given for case in cases):
            report(f"{count} cases of an earlier call's {option} are used as they were then")
    if args.real:
        cases = _with_real(cases, args.real, spacing_mm, report)
    if args.data:
        cases = _with_user_cases(cases, args.data, spacing_mm, report)
    cases = _with_made_up(cases, args, spacing_mm, report)
    if [id(case) for case in cases] != [id(case) for case in before]:
        save_dataset(cases, spacing_mm, path)
    kept = _without(cases, args.leave_out)
    return kept, draw_weights(kept)


def _bank(path: Path, spacing_mm: float, report: Callable[[str], None]) -> list[Case]:
    """Return the cases of earlier calls; none if the bank has to be made again."""
    if not os.path.lexists(path):
        return []
    try:
        return load_dataset(path, spacing_mm)
    except UserError as error:
        if error.code != Code.MODEL_BAD:
            raise
        report(f"{error.message} It is made again, from what this call gives.")
        return []


def _with_real(
    cases: list[Case], folder: Path, spacing_mm: float, report: Callable[[str], None]
) -> list[Case]:
    """Return the cases with those of the data folder, read again where files have changed."""
    try:
        keys = {name: REAL + digest_of(files) for name, files in public_files(folder).items()}
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read: {error.strerror}.",
            "Check the path after --real; training/real.py says what the folder holds.",
        ) from error
    have = {case.name: case.key for case in cases if case.key.startswith(REAL)}
    names = [name for name, key in keys.items() if have.get(name) != key]
    cases = [
        replace(case, name=f"{PREFIX}{case.name}")
        if case.name in keys and case.key.startswith(OWN)
        else case
        for case in cases
    ]
    for name in names:
        if name in have:
            report(f"{name}: its files have changed since the bank was made; read again")
    made = {c.name: c for c in load_public_cases(folder, spacing_mm, names, report)}
    made = {name: replace(case, key=keys[name]) for name, case in made.items()}
    return _replaced(cases, made)


def _with_user_cases(
    cases: list[Case], folder: Path, spacing_mm: float, report: Callable[[str], None]
) -> list[Case]:
    """Return the cases with exactly the own cases of a folder, read where the bank lacks them."""
    old = {case.name: case for case in cases if case.key.startswith(OWN)}
    others = [case for case in cases if case.name not in old]
    wanted = with_keys(find_cases(folder), {case.name for case in others}, report)
    by_key = {case.key: case for case in old.values() if case.key != OWN}
    missing = [case for case in wanted if case.key not in by_key]
    for case in missing:
        if case.name in old:
            report(f"{case.name}: its files have changed since the bank was made; read again")
    for name in old.keys() - {case.name for case in wanted}:
        report(f"{name}: no longer in {folder}; left out")
    check_cases(missing, report)
    made = {case.name: case for case in load_user_cases(missing, spacing_mm, report)}
    for case in wanted:
        if case.name not in made:
            same = by_key[case.key]
            made[case.name] = same if same.name == case.name else replace(same, name=case.name)
    stay = [case for case in cases if case.name not in old or case.name in made]
    return _replaced(stay, {case.name: made[case.name] for case in wanted})


def _replaced(cases: list[Case], new: dict[str, Case]) -> list[Case]:
    """Return the cases with new ones in the place of those of the same name, others at the end.

    The order decides which patches a training draws.
    """
    have = {case.name for case in cases}
    added = [case for name, case in new.items() if name not in have]
    return [new.get(case.name, case) for case in cases] + added


def _with_made_up(
    cases: list[Case], args: argparse.Namespace, spacing_mm: float, report: Callable[[str], None]
) -> list[Case]:
    """Return the cases with the made-up spines that this call asks for."""
    shapes, key = None, MADE_UP
    if args.real and args.phantoms:
        shapes, digest = _shapes(args.real, args.out, report)
        key += digest
    have = {case.name: case for case in cases}
    made = {}
    seeds = range(args.seed, args.seed + args.phantoms)
    asked = {f"{kind}{seed}" for kind in ("phantom", "composed") for seed in seeds}
    if more := sum(case.key.startswith(MADE_UP) and case.name not in asked for case in cases):
        report(f"{more} made-up spines of earlier calls are used, too")
    for seed in seeds:
        designed = shapes is None or seed % DESIGNED_EVERY == 0
        composed = have.get(f"composed{seed}")
        if f"phantom{seed}" in have or (composed and (designed or composed.key == key)):
            continue
        case = phantom_case(seed, spacing_mm, report, None if designed else shapes)
        made[case.name] = replace(case, key=MADE_UP if designed else key)
    return _replaced(cases, made)


def _without(cases: list[Case], names: list[str]) -> list[Case]:
    """Return the cases that are not kept for testing."""
    if unknown := sorted(set(names) - {case.name for case in cases}):
        raise UserError(
            f"There is no case {', '.join(unknown)} to leave out.",
            f"The cases are {', '.join(case.name for case in cases)}.",
            Code.INPUT_BAD,
        )
    return [case for case in cases if case.name not in names]


def draw_weights(cases: list[Case]) -> list[float]:
    """Return how often each case is drawn, relative: by its kind, and by what it shows."""
    kinds = [_kind(case) for case in cases]
    shares = [SHARE[kind] / kinds.count(kind) for kind in kinds]
    return [s * _rarity(case, cases, shares) for s, case in zip(shares, cases, strict=True)]


def _rarity(case: Case, cases: list[Case], shares: list[float]) -> float:
    """Return how much rarer than others the levels of a case are: necks are rarely in view."""
    seen = torch.stack([c.centres[1:, 0].isfinite() for c in cases]).float()  # (cases, levels)
    often = (torch.tensor(shares)[:, None] * seen).sum(dim=0).clamp_min(1e-6)
    own = case.centres[1:, 0].isfinite()
    if not own.any():
        return 1.0
    typical = often[often > 1e-3].median()
    return float((typical / often[own]).mean().clamp(0.5, 3.0))


def _shapes(real: Path, out: Path, report: Callable[[str], None]) -> tuple[ShapeBank, str]:
    """Return the real vertebrae and the digest of what they are cut from.

    They are cut out at the first call, kept beside the checkpoints, and cut out again if their
    files have changed.
    """
    path = out / SHAPES
    # prepare has read these files already.
    digest = digest_of(real / file for file, *_ in DONORS.values())
    if os.path.lexists(path):
        try:
            return load_shapes(path, digest), digest
        except UserError as error:
            report(f"{error.message} It is made again.")
    save_shapes(extract_all_shapes(real, report), path, digest)
    return load_shapes(path, digest), digest


def phantom_case(
    seed: int, spacing_mm: float, report: Callable[[str], None], shapes: ShapeBank | None = None
) -> Case:
    """Return a made-up spine as a training case; its name says whether its shapes are real."""
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
