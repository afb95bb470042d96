"""Gather the training cases: real ones, and phantoms that cover what real ones lack."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from spinemamba.errors import Code, UserError
from spinemamba.orientation import canonical
from spinemamba.phantom import ShapeBank, make_phantom, random_options
from spinemamba.training.bank import Case, load_bank, make_case, save_bank
from spinemamba.training.own import check_cases, find_cases, own_cases
from spinemamba.training.real import COMPLETE, MASKS, PAIRS, real_cases
from spinemamba.training.shapes import harvest_all, load_shapes, save_shapes

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

    A later call adds what the bank lacks, so that a run can go on with more cases.
    """
    path = args.out / "bank.safetensors"
    cases = load_bank(path) if path.exists() else []
    have = {case.name for case in cases}
    if args.real and not have.intersection(PAIRS):
        cases += real_cases(args.real, spacing_mm, report)
    if args.data:
        own = [case for case in find_cases(args.data) if case.name not in have]
        check_cases(own, report)
        cases += own_cases(own, spacing_mm, report)
    shapes = _shapes(args.real, args.out, report) if args.real and args.phantoms else None
    for seed in range(args.seed, args.seed + args.phantoms):
        designed = shapes is None or seed % DESIGNED_EVERY == 0
        if have.isdisjoint((f"phantom{seed}", f"composed{seed}")):
            cases.append(phantom_case(seed, spacing_mm, report, None if designed else shapes))
    save_bank(cases, spacing_mm, path)
    kept = _without(cases, args.leave_out)
    return kept, draw_weights(kept)


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


def _shapes(real: Path, out: Path, report: Callable[[str], None]) -> ShapeBank:
    """Return the real vertebrae, cut out at the first call and kept beside the checkpoints."""
    path = out / "shapes.safetensors"
    if not path.exists():
        save_shapes(harvest_all(real, report), path)
    return load_shapes(path)


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
