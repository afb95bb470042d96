"""Each layout from the data set to the evaluation: train, stop, resume, validate, pack, segment."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from data_sets import IGNORE, LAYOUTS

from spinemamba.cli.main import main
from spinemamba.training.checkpoint import load_checkpoint
from spinemamba.training.layouts.find import find_dataset
from spinemamba.training.layouts.user_case import UserCase
from spinemamba.training.loop import Trainer
from spinemamba.training.validation.monitor import Monitor

pytestmark = pytest.mark.long

STEPS = int(os.environ.get("SPINEMAMBA_LONG_STEPS", "3"))
"""Steps of each training. A step takes about a second on two cores."""

STOPPED_AT = 2 * STEPS // 3


def train(layout: str, data: Path, out: Path, validate: UserCase) -> int:
    """Continue from the bundled weights, with one case to validate on."""
    words = ["train", "coarse", "--out", str(out), "--data", str(data), "--phantoms", "1"]
    words += ["--start-from", "starter", "--learning-rate", "0.00001", "--steps", str(STEPS)]
    words += ["--validate", validate.name, "--validate-every", str(STEPS), "--threads", "1"]
    for name in IGNORE.get(layout, ()):
        words += ["--ignore", name]
    return main(words)


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch):
    """Send SIGTERM to this process after a step, once."""
    after_step, done = Monitor.after_step, []

    def stop(self: Monitor, trainer: Trainer) -> bool:
        if trainer.step == STOPPED_AT and not done:
            done.append(trainer.step)
            os.kill(os.getpid(), signal.SIGTERM)
        return after_step(self, trainer)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Monitor, "after_step", stop)
    yield done
    signal.signal(signal.SIGTERM, before)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder)["average"]


def reference_labels(layout: str, folder: Path) -> list[str]:
    """Return the options with which `evaluate` reads the labels of a layout."""
    if layout != "SPINEPS":
        return []
    names = {"20": "L1", "21": "L2", "22": "L3", "120": "disc"}
    names |= {str(value): f"endplate {value}" for value in (220, 221, 222)}
    path = folder / "names.json"
    path.write_text(json.dumps(names))
    return ["--reference-labels", str(path)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_trained_resumed_validated_packed_and_evaluated(
    layout: str, tmp_path: Path, stopped: list[int], record_property: Callable[[str, object], None]
):
    data = LAYOUTS[layout](tmp_path / "data")
    cases = find_dataset(data, IGNORE.get(layout, ())).cases
    training = [case for case in cases if case.split == "training"]
    others = [case for case in training if case.subject != training[0].subject]
    kept = next(iter(others or [case for case in cases if case.split != "training"]))
    one, two = tmp_path / "stopped", tmp_path / "whole"
    assert train(layout, data, one, kept) == 3
    assert stopped == [STOPPED_AT]
    assert train(layout, data, one, kept) == 0
    assert train(layout, data, two, kept) == 0
    expected = weights(two)
    assert all(torch.equal(value, expected[name]) for name, value in weights(one).items())
    numbers = json.loads((one / "validation_last" / "evaluation.json").read_text())
    assert numbers["summary"]["vertebrae"] == 3
    record_property("summary", json.dumps(numbers["summary"]))
    record_property("minutes", load_checkpoint(two)["seconds"] / 60)
    model, labels = str(tmp_path / "model"), str(tmp_path / "spine.seg.nrrd")
    words = ["pack", model, "--coarse", str(one), "--fine", "starter", "--name", "m"]
    assert main([*words, "--checkpoint", "best"]) == 0
    words = ["segment", str(kept.image), labels, "--model", model, "--modality", kept.modality]
    # A phantom of 4 mm voxels is hard: whether something is found is not tested here.
    if main(words) == 0 and not kept.labels.is_dir() and kept.values is None:
        words = ["evaluate", labels, str(kept.labels), "--no-distances"]
        assert main([*words, *reference_labels(layout, tmp_path)]) == 0
