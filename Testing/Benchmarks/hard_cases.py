"""Segment difficult phantoms with the default model.

``python Testing/Benchmarks/run.py hard_cases`` writes the table into the model's MODEL_CARD.md and
the pictures of the three worst cases into Resources/.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from card_tables import markdown
from generate import REPOSITORY, write_section

from spinemamba.common.errors import UserError
from spinemamba.common.process_tuning import keep_freed_memory
from spinemamba.evaluation.compare import compare
from spinemamba.inference.model import load_model
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.protocol.model_card import DEFAULT, find_model_for
from spinemamba.report.run_picture import write_run_picture
from spinemamba.segment import SegmentOptions, segment

SEED = 0
LUMBAR = PhantomOptions(first="T9", last="Sacrum", cut=True, spacing_mm=(1.5, 1.0, 1.0))
WHOLE = PhantomOptions(spacing_mm=(2.0, 1.5, 1.5))
CASES = {
    "usual": LUMBAR,
    "whole spine": WHOLE,
    "scoliosis of 60 degrees": replace(WHOLE, scoliosis_deg=60.0),
    "kyphosis, twice the usual": replace(WHOLE, kyphosis=2.0),
    "child, 60 % of adult size": replace(WHOLE, scale=0.6),
    "osteoporosis and noise": replace(LUMBAR, density=0.0, noise_hu=80.0),
    "slices of 5 mm": replace(LUMBAR, spacing_mm=(5.0, 0.8, 0.8)),
    "13 thoracic, 6 lumbar": replace(WHOLE, thoracic=13, lumbar=6),
    "chest alone": PhantomOptions(first="T3", last="T9", cut=True, spacing_mm=(2.0, 1.0, 1.0)),
    "MR": replace(LUMBAR, modality="mr"),
}
PICTURES = 3


def main(words: list[str]) -> int:
    """Segment all cases and write the table and pictures."""
    argparse.ArgumentParser("hard_cases", description=__doc__).parse_args(words)
    keep_freed_memory()
    models = {kind: load_model(find_model_for(DEFAULT, kind)) for kind in ("ct", "mr")}
    rows, worst = [], []
    for name, options in CASES.items():
        phantom = make_phantom(SEED, options)
        try:
            kind = options.modality
            found = segment(phantom.image, models[kind], SegmentOptions(modality=kind))
        except UserError as error:
            rows.append((name, "none", "", "", error.message, ""))
            continue
        score = compare(found.labels, phantom.labels)
        count = len(score.vertebrae)
        rows.append(
            (
                name,
                f"{count - score.missed} of {count}",
                f"{score.bone_dice:.3f}",
                f"{score.mean_dice:.3f}",
                f"{score.named_right} of {count}",
                "yes" if found.result.ambiguous else "no",
            )
        )
        sys.stdout.write(" | ".join(rows[-1]) + "\n")
        worst.append((score.mean_named_dice, name, phantom, found))
    pictures = []
    for number, (_, name, phantom, found) in enumerate(sorted(worst, key=lambda w: w[0]), start=1):
        if number <= PICTURES:
            file = f"model-hard-{number}.png"
            write_run_picture(
                phantom.image, found.labels, found.result, REPOSITORY / "Resources" / file
            )
            pictures.append(f"![{name}](../../../../Resources/{file})\n\n*{name}*")
    heads = ("case", "found", "bone Dice", "Dice per vertebra", "named right", "ambiguous")
    content = "\n\n".join([markdown(heads, rows), *pictures])
    write_section(find_model_for(DEFAULT, "ct") / "MODEL_CARD.md", "hard", content)
    return 0
