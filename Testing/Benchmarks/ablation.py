"""Train and compare SpineMamba, its ablations, and MONAI's DynUNet.

``python Testing/Benchmarks/run.py ablation FOLDER --dataset CASES`` trains each kind from scratch
on the same patches (cases, seed and number of steps), and segments the test cases with the coarse
network of the default model. It continues after an interruption and writes the table into the
model's MODEL_CARD.md. CASES is the folder ``cases`` of a training of the fine network.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from generate import write_section
from public_cases import public_cases, unseen_cases

from spinemamba.common.process_tuning import keep_freed_memory
from spinemamba.evaluation.compare import compare
from spinemamba.imaging.read import read_volume
from spinemamba.inference.model import LoadedNetwork, Model, load_model
from spinemamba.inference.precision import has_bfloat16
from spinemamba.network.config import FINE
from spinemamba.network.unet import parameter_count
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.segment import segment
from spinemamba.training.architectures import (
    KINDS,
    LEVEL_WEIGHT,
    SPACING_MM,
)
from spinemamba.training.baselines import build_network
from spinemamba.training.data.case_store import CaseStore
from spinemamba.training.data.gather import draw_weights
from spinemamba.training.data.patches import PatchOptions
from spinemamba.training.execution import training_precision
from spinemamba.training.loop import Trainer
from spinemamba.training.loss import LossWeights
from spinemamba.training.options import TrainOptions

NAMES = {
    "spinemamba": "SpineMamba",
    "no-rvm": "without RVM",
    "no-vsp": "without VSP",
    "plain": "without both",
    "dynunet": "DynUNet (MONAI)",
}


def main(words: list[str]) -> int:
    """Train and measure the kinds that have no result yet, then write the table."""
    parser = argparse.ArgumentParser("ablation", description=__doc__)
    parser.add_argument("folder", type=Path, help="where checkpoints and results are kept")
    parser.add_argument("--dataset", type=Path, required=True, help="cases of a fine network")
    parser.add_argument("--steps", type=int, default=800, help="steps of each training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    args = parser.parse_args(words)
    keep_freed_memory()
    torch.set_num_threads(1)
    for kind in args.kinds:
        path = args.folder / f"{kind}-{args.seed}.json"
        if not path.exists():
            row = measure(train(args, kind))
            path.write_text(json.dumps(row, indent=2), encoding="utf-8")
        sys.stdout.write(f"{kind}: {path.read_text(encoding='utf-8')}\n")
    rows = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(args.folder.glob("*.json"))]
    ratios = step_ratios()
    write_section(find_model(DEFAULT) / "MODEL_CARD.md", "ablation", table(rows, ratios))
    return 0


def train(args: argparse.Namespace, kind: str) -> Trainer:
    """Return a completed training."""
    cases = CaseStore(args.dataset, SPACING_MM["fine"]).read(sys.stderr.write)
    options = TrainOptions(
        minutes=None,
        steps=args.steps,
        loss=LossWeights(level=LEVEL_WEIGHT["fine"]),
        seed=args.seed,
        kind=kind,
        precision=training_precision("auto", torch.device("cpu")),
        patch=PatchOptions(FINE.patch_vox, spacing_mm=SPACING_MM["fine"]),
    )
    trainer = Trainer(FINE, cases, draw_weights(cases), options)
    folder = args.folder / f"{kind}-{args.seed}"
    trainer.resume(folder)
    trainer.run(folder, lambda text: sys.stdout.write(f"{kind} {text}\n"))
    return trainer


def measure(trainer: Trainer) -> dict[str, Any]:
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
        "parameters": parameter_count(network),
        "cases": {},
    }
    data = public_cases()
    for name in unseen_cases():
        image, labels = read_volume(data.image(name)), read_volume(data.label(name))
        started = time.monotonic()
        segmentation = segment(image, replace(model))
        score = compare(segmentation.labels, labels)
        row["cases"][name] = {
            "bone_dice": round(score.bone_dice, 3),
            "hd95_mm": round(score.bone_surface.hd95_mm, 1),
            "mean_dice": round(score.mean_dice, 3),
            "seconds": round(time.monotonic() - started, 1),
        }
    return row


def step_ratios(rounds: int = 4) -> dict[str, float]:
    """Return the time of a step of each network, relative to SpineMamba.

    The networks take turns in one run, and the fastest of several steps counts, so that other
    programs affect all networks equally.
    """
    networks = {kind: build_network(FINE, kind) for kind in NAMES}
    image = torch.randn(1, 1, *FINE.patch_vox)
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


def table(rows: list[dict[str, Any]], ratios: dict[str, float]) -> str:
    """Return the rows as a table, in the order of `NAMES`."""
    heads = ["network", "parameters", "seed", "steps", "time of a step"]
    for case in unseen_cases():
        heads += [f"{case}: bone Dice", "HD95 mm", "Dice per vertebra"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in sorted(rows, key=lambda r: (list(NAMES).index(r["kind"]), r["seed"])):
        cells = [NAMES[row["kind"]], f"{row['parameters'] / 1e6:.2f} M", row["seed"], row["steps"]]
        cells.append(f"{ratios[row['kind']]:.2f}")
        for case in unseen_cases():
            one = row["cases"][case]
            cells += [f"{one['bone_dice']:.3f}", one["hd95_mm"], f"{one['mean_dice']:.3f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
