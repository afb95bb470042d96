"""Measure the bundled model on the real cases, and write the results into the pages.

``python Testing/Benchmarks/accuracy.py`` segments every case of the data folder that has labels, in
a process of its own as a user would, and compares. It rewrites ``results`` in the model's card, and
the tables of README.md, of the page of benchmarks and of MODEL_CARD.md. Takes some minutes.
"""

from __future__ import annotations

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

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
PAGE = REPOSITORY / "Resources" / "Docs" / "benchmarks.md"
sys.path.insert(0, str(REPOSITORY / "SpineMambaSegment"))

import numpy as np  # noqa: E402
import torch  # noqa: E402 - the path is set just above
from bfloat16_rounding import rounded_labels  # noqa: E402
from card_tables import (  # noqa: E402
    NAMELESS,
    case_table,
    level_table,
    result_summary,
    result_table,
)
from markdown_blocks import write_block  # noqa: E402

from spinemamba.anatomy.labels import BY_VALUE  # noqa: E402
from spinemamba.evaluation.compare import compare  # noqa: E402
from spinemamba.evaluation.scores import Comparison  # noqa: E402
from spinemamba.imaging.read import read_labels, read_volume  # noqa: E402
from spinemamba.imaging.volume import Volume  # noqa: E402
from spinemamba.inference.precision import BFLOAT16, CHANGE, FLOAT32, has_bfloat16  # noqa: E402
from spinemamba.protocol.model_card import DEFAULT, find_model, read_card  # noqa: E402
from spinemamba.protocol.result import Result, read_result  # noqa: E402
from spinemamba.training.data.public_cases import TEST_ONLY  # noqa: E402

CASES = {
    "verse012": ("verse/verse012_ct.nii.gz", "verse/verse012_seg.nii.gz"),
    "tptbox": ("tptbox/ct.nii.gz", "tptbox/ct_vertebra_seg.nii.gz"),
    "lidc0001": ("lidc/lidc0001_ct.nii.gz", "lidc/lidc0001_seg.nii.gz"),
    "ts_example": (
        "totalsegmentator/ts_example_ct.nii.gz",
        "totalsegmentator/ts_example_seg.nii.gz",
    ),
    "tptbox_mr": ("tptbox/mr_t2w.nii.gz", "tptbox/mr_instance_seg.nii.gz"),
    "lidc0314": ("dicom/lidc0314", None),
}
"""Image and labels; None where there are no labels."""


@dataclass(frozen=True)
class Run:
    """What a run cost and found; no score without labels."""

    seconds: float
    gigabytes: float
    result: Result
    score: Comparison | None


def main() -> None:
    """Measure all cases and write the numbers down."""
    data = Path(os.environ.get("SPINEMAMBA_DATA", REPOSITORY.parent / "shared" / "data"))
    results, scores = {}, {}
    for name, (image, labels) in CASES.items():
        paths = (data / image, data / labels if labels else None)
        run = measure(*paths)
        results[name] = numbers(name, run)
        if run.score is not None:
            scores[name] = run.score
        if run.score is not None:
            results[name][CHANGE] = change(run.score, in_bfloat16(*paths))
        sys.stdout.write(f"{name}: {json.dumps(results[name])}\n")
    folder = find_model(DEFAULT)
    replace(read_card(folder), results=results).write(folder)
    write_block(README, "results", result_summary(results))
    write_block(PAGE, "measured", result_table(results))
    write_block(folder / "MODEL_CARD.md", "cases", case_table(scores))
    write_block(folder / "MODEL_CARD.md", "levels", level_table(scores))


def measure(image: Path, labels: Path | None, precision: str = FLOAT32) -> Run:
    """Segment an image in another process and compare with its labels."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "out.nii.gz"
        words = ["segment", str(image), str(output), "--report", "--device", "cpu"]
        words += ["--precision", precision]
        started = time.monotonic()
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "SpineMambaSegment")}
        words = [sys.executable, "-m", "spinemamba", *words]
        process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        if status:
            raise RuntimeError(f"{image.name} failed")
        score = compare(read_volume(output), reference(labels)) if labels else None
        return Run(seconds, gigabytes(usage), read_result(Path(folder) / "out_result.json"), score)


def reference(path: Path) -> Volume:
    """Return the labels of a case: vertebrae only, where discs and endplates have numbers too."""
    labels = read_labels(path)
    return labels.with_array(np.where(labels.array <= max(BY_VALUE), labels.array, 0))


def in_bfloat16(image: Path, labels: Path) -> Comparison:
    """Compare what bfloat16 gives, computed or, where the processor has none, by rounding."""
    if has_bfloat16(torch.device("cpu")):
        return measure(image, labels, BFLOAT16).score
    return compare(rounded_labels(image), reference(labels))


def change(a: Comparison, b: Comparison) -> float:
    """Return the largest change of a Dice score, of all bone and of matched vertebrae."""
    pairs = ((a.bone_dice, b.bone_dice), (a.mean_dice, b.mean_dice))
    return round(max(abs(x - y) for x, y in pairs), 5)


def gigabytes(usage: resource.struct_rusage) -> float:
    """Return the most memory that a process held; Linux counts in kB, macOS in bytes."""
    return usage.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)


def numbers(name: str, run: Run) -> dict[str, Any]:
    """Return the numbers of a case for the card."""
    out = {
        "in_training": learned_from(name),
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


def learned_from(name: str) -> bool:
    """Return whether a case was trained on."""
    return not name.startswith((*TEST_ONLY, "lidc0314"))


if __name__ == "__main__":
    main()
