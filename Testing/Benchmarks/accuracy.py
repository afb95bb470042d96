"""Measure the bundled model on real cases, and write the results into the pages.

``python Testing/Benchmarks/run.py accuracy`` segments each case of `CASES` in its own process, as a
user would, and compares the result with the labels. It rewrites ``results`` in the model's card
and the tables of README.md, benchmarks.md and MODEL_CARD.md. This takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bfloat16_rounding import rounded_labels
from card_tables import (
    NAMELESS,
    case_table,
    level_table,
    result_summary,
    result_table,
)
from generate import DOCS, README, write_section
from public_cases import is_trained_on, public_cases

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.evaluation.compare import compare
from spinemamba.evaluation.scores import Comparison
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.volume import Volume
from spinemamba.inference.precision import BFLOAT16, CHANGE, FLOAT32, has_bfloat16
from spinemamba.protocol.model_card import DEFAULT, find_model, read_card
from spinemamba.protocol.result import Result, read_result

CASES = ("verse012", "tptbox", "lidc0001", "ts_example", "tptbox_mr", "lidc0314")
"""Measured cases of the list of public cases, in the order of the tables."""


@dataclass(frozen=True)
class Run:
    """Cost and result of a run; the score is None without labels."""

    seconds: float
    gigabytes: float
    result: Result
    score: Comparison | None


def main(words: list[str]) -> int:
    """Measure all cases and write the results into the pages."""
    argparse.ArgumentParser("accuracy", description=__doc__).parse_args(words)
    data = public_cases()
    results, scores = {}, {}
    for name in CASES:
        paths = (data.image(name), data.label(name))
        run = measure(*paths)
        results[name] = numbers(name, run)
        if run.score is not None:
            scores[name] = run.score
            results[name][CHANGE] = change(run.score, in_bfloat16(*paths))
        sys.stdout.write(f"{name}: {json.dumps(results[name])}\n")
    folder = find_model(DEFAULT)
    replace(read_card(folder), results=results).write(folder)
    write_section(README, "results", result_summary(results))
    write_section(DOCS / "benchmarks.md", "measured", result_table(results))
    write_section(folder / "MODEL_CARD.md", "cases", case_table(scores))
    write_section(folder / "MODEL_CARD.md", "levels", level_table(scores))
    return 0


def measure(image: Path, labels: Path | None, precision: str = FLOAT32) -> Run:
    """Segment an image in another process and compare with its labels."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.nii.gz"
        words = ["segment", str(image), str(output), "--report", "--device", "cpu"]
        words += ["--precision", precision]
        started = time.monotonic()
        words = [sys.executable, "-m", "spinemamba", *words]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        if status:
            raise RuntimeError(f"{image.name} failed")
        score = compare(read_volume(output), reference(labels)) if labels else None
        return Run(seconds, gigabytes(usage), read_result(Path(folder) / "out_result.json"), score)


def reference(path: Path) -> Volume:
    """Return the labels of a case without discs and endplates, whose values are above those."""
    labels = read_labels(path)
    return labels.with_array(np.where(labels.array <= max(BY_VALUE), labels.array, 0))


def in_bfloat16(image: Path, labels: Path) -> Comparison:
    """Compare the labels in bfloat16, which is emulated on processors without it."""
    if has_bfloat16(torch.device("cpu")):
        return measure(image, labels, BFLOAT16).score
    return compare(rounded_labels(image), reference(labels))


def change(a: Comparison, b: Comparison) -> float:
    """Return the largest change of a Dice score, of all bone and of matched vertebrae."""
    pairs = ((a.bone_dice, b.bone_dice), (a.mean_dice, b.mean_dice))
    return round(max(abs(x - y) for x, y in pairs), 5)


def gigabytes(usage: resource.struct_rusage) -> float:
    """Return the peak memory of a process in GB; Linux reports kB, macOS bytes."""
    return usage.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)


def numbers(name: str, run: Run) -> dict[str, Any]:
    """Return the numbers of a case for the card."""
    out = {
        "in_training": is_trained_on(name),
        "vertebrae": [item.name for item in run.result.instances],
        "ambiguous": run.result.ambiguous,
        "seconds": round(run.seconds),
        "gigabytes": round(run.gigabytes, 1),
    }
    if run.score is None:
        return out
    found = [v for v in run.score.vertebrae if v.found_as]
    return out | {
        "bone_dice": round(run.score.bone_dice, 3),
        "bone_hd95_mm": round(run.score.bone_surface.hd95_mm, 1),
        "mean_dice": round(run.score.mean_dice, 3),
        "labelled": len(run.score.vertebrae),
        "found": len(found),
        "named_right": None if name in NAMELESS else run.score.named_right,
    }
