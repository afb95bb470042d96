"""Train and compare SpineMamba, its ablations, and MONAI's DynUNet.

``python Testing/Benchmarks/run.py ablation FOLDER --dataset CASES`` trains each network from
scratch, once for each seed, on the same cases, for the same number of steps, and segments the test
cases with the coarse network of the default model: the unseen cases of the data list, and those of
--left-out. It continues after an interruption, and several calls can share the work by --kinds and
--seeds. It writes mean and standard deviation over the seeds into the model's MODEL_CARD.md.

CASES is the folder ``cases`` of a training of the fine network without the cases of --left-out:
``spinemamba train fine --data-list LIST --leave-out CASE ... --steps 1 --out OUT`` makes it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from generate import write_section
from public_cases import public_cases, unseen_cases

from spinemamba.common.errors import Code, UserError
from spinemamba.common.process_tuning import keep_freed_memory
from spinemamba.evaluation.compare import compare
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.volume import Volume
from spinemamba.inference.model import LoadedNetwork, Model, load_model
from spinemamba.inference.precision import has_bfloat16
from spinemamba.network.unet import parameter_count
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.segment import segment
from spinemamba.training.architectures import KINDS, SPACING_MM
from spinemamba.training.baselines import build_network
from spinemamba.training.data.case_store import CaseStore
from spinemamba.training.data.gather import draw_weights
from spinemamba.training.execution import training_precision
from spinemamba.training.loop import Trainer
from spinemamba.training.recipe import Recipe, recipe_of
from spinemamba.training.synthesis.options import CT_ONLY

NAMES = {
    "spinemamba": "SpineMamba",
    "no-rvm": "without RVM",
    "no-vsp": "without VSP",
    "plain": "without both",
    "dynunet": "DynUNet (MONAI)",
}

SCORES = {
    "bone_dice": ("bone Dice", 3),
    "hd95_mm": ("HD95 mm", 1),
    "mean_dice": ("per vertebra", 3),
}
"""Scores of a case: heading and decimals in the table."""


def main(words: list[str]) -> int:
    """Train and measure the networks that have no result yet, then write the table."""
    parser = argparse.ArgumentParser("ablation", description=__doc__)
    parser.add_argument("folder", type=Path, help="where checkpoints and results are kept")
    parser.add_argument("--dataset", type=Path, required=True, help="cases of a fine network")
    parser.add_argument("--steps", type=int, default=600, help="steps of each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--size", choices=("tiny", "full"), default="full")
    parser.add_argument("--left-out", nargs="*", default=["verse008", "ts_example"])
    parser.add_argument("--only-train", action="store_true", help="write no table")
    args = parser.parse_args(words)
    keep_freed_memory()
    torch.set_num_threads(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    for seed, kind in product(args.seeds, args.kinds):
        path = args.folder / f"{kind}-{seed}.json"
        if not path.exists():
            row = measure(train(args, kind, seed), args.left_out)
            path.write_text(json.dumps(row, indent=2), encoding="utf-8")
        sys.stdout.write(f"{kind} {seed}: {path.read_text(encoding='utf-8')}\n")
        sys.stdout.flush()
    if not args.only_train:
        rows = [json.loads(p.read_text(encoding="utf-8")) for p in args.folder.glob("*.json")]
        text = table(rows, step_ratios(args.size))
        write_section(find_model(DEFAULT) / "MODEL_CARD.md", "ablation", text)
    return 0


def recipe(kind: str, size: str, steps: int, seed: int) -> Recipe:
    """Return the recipe of ``spinemamba train fine --contrast ct --steps STEPS``."""
    start = recipe_of("fine", size=size, kind=kind)
    return replace(
        start,
        appearance=CT_ONLY,
        schedule=replace(start.schedule, minutes=0, steps=steps),
        seeds=replace(start.seeds, training=seed),
    )


def train(args: argparse.Namespace, kind: str, seed: int) -> Trainer:
    """Return a completed training."""
    cases = CaseStore(args.dataset, SPACING_MM["fine"]).read(sys.stderr.write)
    cases = [case for case in cases if case.name not in args.left_out]
    chosen = recipe(kind, args.size, args.steps, seed)
    options = chosen.train_options(training_precision("auto", torch.device("cpu")))
    trainer = Trainer(chosen.network, cases, draw_weights(cases), options)
    folder = args.folder / f"{kind}-{seed}"
    trainer.resume(folder)
    trainer.run(folder, lambda text: sys.stdout.write(f"{kind} {text}\n"))
    return trainer


def measure(trainer: Trainer, left_out: Sequence[str]) -> dict[str, Any]:
    """Return the size of a network and its scores on the test cases, with averaged weights."""
    network = trainer.network
    network.load_state_dict(trainer.average)
    bundled = load_model(find_model(DEFAULT))
    fine = LoadedNetwork(network.eval(), SPACING_MM["fine"], torch.device("cpu"))
    model = Model(bundled.card, bundled.coarse, fine)
    row: dict[str, Any] = {
        "kind": trainer.options.kind,
        "seed": trainer.options.seed,
        "steps": trainer.step,
        "training_s": round(trainer.seconds),
        "parameters": parameter_count(network),
        "cases": {},
    }
    data = public_cases()
    for name in (*unseen_cases(), *left_out):
        image, labels = read_volume(data.image(name)), read_volume(data.label(name))
        started = time.monotonic()
        row["cases"][name] = scores(image, labels, model)
        row["cases"][name]["seconds"] = round(time.monotonic() - started, 1)
    return row


def scores(image: Volume, labels: Volume, model: Model) -> dict[str, float | None]:
    """Return the scores of a case; a network that finds no vertebra has a Dice of 0."""
    try:
        score = compare(segment(image, model).labels, labels)
    except UserError as error:
        if error.code is not Code.NO_SPINE:
            raise
        return {"bone_dice": 0.0, "hd95_mm": None, "mean_dice": 0.0}
    return {
        "bone_dice": score.bone_dice,
        "hd95_mm": score.bone_surface.hd95_mm,
        "mean_dice": score.mean_dice,
    }


def step_ratios(size: str, rounds: int = 4) -> dict[str, float]:
    """Return the time of a step of each network, relative to SpineMamba.

    The networks take turns in one run, and the fastest of several steps counts, so that other
    programs affect all networks equally.
    """
    config = recipe_of("fine", size=size).network
    networks = {kind: build_network(config, kind) for kind in NAMES}
    image = torch.randn(1, 1, *config.patch_vox)
    half = has_bfloat16(torch.device("cpu"))
    best = dict.fromkeys(NAMES, float("inf"))
    for _ in range(rounds):
        for kind, network in networks.items():
            started = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                logits = network(image)
            logits.float().square().mean().backward()
            best[kind] = min(best[kind], time.perf_counter() - started)
    return {kind: seconds / best["spinemamba"] for kind, seconds in best.items()}


def table(rows: Sequence[dict[str, Any]], ratios: dict[str, float]) -> str:
    """Return the mean and standard deviation over the seeds, by network and case."""
    names = list(rows[0]["cases"])
    heads = ["network", "parameters", "seeds", "steps", "time of a step", "mean: bone Dice"]
    heads += ["mean: per vertebra"]
    heads += [f"{name}: {heading}" for name in names for heading, _ in SCORES.values()]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for kind, title in NAMES.items():
        own = [row for row in rows if row["kind"] == kind]
        if not own:
            continue
        cells = [title, f"{own[0]['parameters'] / 1e6:.2f} M", str(len(own)), str(own[0]["steps"])]
        cells.append(f"{ratios[kind]:.2f}")
        for score in ("bone_dice", "mean_dice"):
            cells.append(_spread(own, lambda row, s=score: _mean_of_cases(row, s), 3))
        for name, (score, (_, digits)) in product(names, SCORES.items()):
            cells.append(_spread(own, lambda row, n=name, s=score: row["cases"][n][s], digits))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean_of_cases(row: dict[str, Any], score: str) -> float:
    return statistics.fmean(case[score] for case in row["cases"].values())


def _spread(
    rows: Sequence[dict[str, Any]], value: Callable[[dict[str, Any]], float | None], digits: int
) -> str:
    """Return mean and standard deviation of a value over the rows that have it."""
    values = [each for each in map(value, rows) if each is not None]
    if not values:
        return "none"
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{spread}"
