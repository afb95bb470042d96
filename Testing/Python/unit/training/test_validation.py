"""Validation in training: scores of whole cases, best weights, early end, curves, evaluation."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from time import sleep
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from data_sets import phantom, save
from tiny_training import CONFIG, lumbar_case, trainer

from spinemamba.cli.main import main
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.read import read_labels
from spinemamba.inference.model import LoadedNetwork, Model, load_model
from spinemamba.network.unet import SpineMambaNet
from spinemamba.protocol.model_card import find_model, read_card
from spinemamba.segment import Segmentation
from spinemamba.training.data.dataset import Case
from spinemamba.training.layouts.user_case import IGNORED, UserCase
from spinemamba.training.loop import Trainer
from spinemamba.training.monitoring import MetricsLog
from spinemamba.training.pack_model import pack_model
from spinemamba.training.validation import scoring
from spinemamba.training.validation.monitor import Monitor, ValidationOptions, load_best
from spinemamba.training.validation.scoring import Scores, model_in_training, score_case
from spinemamba.training.validation.table import Row, best_row, read_rows, write_rows

VALUES = {0: 0, 20: 20, 21: 21, 22: 22}


@pytest.fixture(scope="module")
def case() -> Case:
    return lumbar_case()


@pytest.fixture(scope="module")
def partner() -> Model:
    """Two untrained networks with the card of the bundled model."""
    loaded = LoadedNetwork(SpineMambaNet(CONFIG).eval(), 4.0, torch.device("cpu"))
    return Model(read_card(find_model("starter")), loaded, loaded)


@pytest.fixture
def whole(tmp_path: Path) -> UserCase:
    image = save(phantom(1).image, tmp_path / "data" / "a_ct.nii.gz")
    labels = save(phantom(1).labels, tmp_path / "data" / "a_seg.nii.gz")
    return UserCase("a", image, labels, VALUES)


@pytest.fixture
def segmented(monkeypatch: pytest.MonkeyPatch):
    """Let `segment` return the labels of the phantom, changed by the functions in a list."""
    changes: list = []

    def fake(volume, model, options):
        assert options.modality == "ct"
        labels = phantom(1).labels.array.copy()
        if changes and (labels := changes.pop(0)(labels)) is None:
            raise UserError("No spine found.", "", Code.NO_SPINE)
        return Segmentation(volume.with_array(labels), None)

    monkeypatch.setattr(scoring, "segment", fake)
    return changes


def without_l3(labels: np.ndarray) -> np.ndarray:
    return np.where(labels == 22, 0, labels).astype(np.uint8)


def nothing(labels: np.ndarray) -> None:
    return None


def scores(value: float) -> Scores:
    return Scores(value, value, value, value, 0)


def test_scores_are_those_of_the_evaluation(whole: UserCase, partner: Model, segmented):
    assert scoring.validate([whole], partner, print) == Scores(1, 1, 1, 1, 0)
    segmented.append(without_l3)
    found = scoring.validate([whole], partner, print)
    assert found.level_accuracy == found.vertebra_dice == pytest.approx(2 / 3)
    assert found.missed == 1
    assert 0.5 < found.bone_dice < 0.9
    segmented.append(nothing)
    assert scoring.validate([whole], partner, print) == Scores(0, 0, 0, 0, 3)


def test_a_case_that_fails_counts_as_missed_and_does_not_end_the_training(
    whole: UserCase, partner: Model, segmented
):
    def fail(labels: np.ndarray) -> np.ndarray:
        raise IndexError("a bug")

    said: list[str] = []
    segmented += [fail, np.copy]
    found = scoring.validate([whole, replace(whole, name="b")], partner, said.append)
    assert found.missed == 3
    assert found.level_accuracy == 0.5
    assert said == ["warning: a was not segmented in the validation: IndexError"]


@pytest.mark.usefixtures("segmented")
def test_scores_are_written_for_tensorboard_where_it_is_installed(
    case: Case, whole: UserCase, partner: Model, tmp_path: Path, monkeypatch
):
    written: list[tuple] = []

    class Writer:
        def __init__(self, folder: str):
            assert folder == str(tmp_path / "tensorboard")

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            written.append(("closed",))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

    module = SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    one = trainer(case)
    one.learn()
    watched(tmp_path, whole, partner, [], every_steps=1).after_step(one)
    assert ("validation/bone_dice", 1.0, 1) in written
    assert written[-1] == ("closed",)


def test_voxels_that_the_data_set_leaves_out_do_not_count(
    whole: UserCase, partner: Model, segmented
):
    ignored = replace(whole, values=VALUES | {22: IGNORED})
    score, labels = score_case(ignored, partner)
    assert score.bone_dice == 1
    assert set(np.unique(labels.array)) == {0, 20, 21}


def test_the_network_in_training_takes_its_place_in_the_model(case: Case, partner: Model):
    one = trainer(case)
    model = model_in_training(one, one.average, "fine", partner)
    assert model.coarse is partner.coarse
    assert model.fine.spacing_mm == 1.5
    for name, value in model.fine.network.state_dict().items():
        assert torch.equal(value, one.average[name])
    assert model.fine.network is not one.network


def watched(
    folder: Path, whole: UserCase, partner: Model, said: list[str], **changes: int
) -> Monitor:
    options = ValidationOptions((whole,), "fine", **changes)
    return Monitor(folder, options, partner, said.append)


def test_validations_do_not_change_the_training(
    case: Case, whole: UserCase, partner: Model, segmented, tmp_path: Path
):
    alone, other = trainer(case), trainer(case)
    watch = watched(tmp_path, whole, partner, [], every_steps=1)
    for _ in range(3):
        alone.learn()
        other.learn()
        assert not watch.after_step(other)
    for name, value in alone.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name])
    assert [row.step for row in read_rows(tmp_path)] == [1, 2, 3]
    assert (tmp_path / "progress.png").stat().st_size > 1000


def test_the_best_weights_are_kept_and_packed(
    case: Case, whole: UserCase, partner: Model, segmented, tmp_path: Path
):
    said: list[str] = []
    segmented += [without_l3, np.copy, without_l3]
    one = trainer(case)
    watch = watched(tmp_path, whole, partner, said, every_steps=1)
    for _ in range(3):
        one.learn()
        if one.step == 2:
            best = {name: value.clone() for name, value in one.average.items()}
        watch.after_step(one)
    one.save(tmp_path)
    weights, about = load_best(tmp_path)
    assert about["step"] == 2
    assert about["score"] == 1
    assert all(torch.equal(weights[name], best[name]) for name in best)
    assert "the best so far" in said[1]
    assert "best 1.000" in said[2]
    packed = pack_model(
        tmp_path, tmp_path, tmp_path / "m", name="m", version="1", best=True
    ).networks["fine"]
    assert packed.training["steps_done"] == 2
    assert packed.training["validation"]["score"] == 1
    loaded = load_model(tmp_path / "m").fine.network.state_dict()
    assert all(torch.equal(loaded[name], best[name].half().float()) for name in best)


def test_best_weights_need_a_validation(case: Case, tmp_path: Path):
    trainer(case).save(tmp_path)
    with pytest.raises(UserError, match="has no validation yet"):
        pack_model(tmp_path, tmp_path, tmp_path / "m", name="m", version="1", best=True)


def test_training_ends_when_the_score_no_longer_improves(
    case: Case, whole: UserCase, partner: Model, segmented, tmp_path: Path
):
    said: list[str] = []
    segmented += [without_l3, np.copy] + [without_l3] * 5
    one = trainer(case)
    watch = watched(tmp_path, whole, partner, said, every_steps=2, patience=2)
    one.run(tmp_path, said.append, after_step=watch.after_step)
    assert one.step == 8
    assert "no better score in 2 validations" in said[-2]
    assert "validations no longer improve" in said[-1]
    again = watched(tmp_path, whole, partner, said, every_steps=2, patience=2)
    assert not again.exhausted
    again.resume(8)
    assert again.exhausted
    again.resume(6)  # stopped before the checkpoint of step 8
    assert not again.exhausted
    assert trainer(case).resume(tmp_path)


def test_the_time_of_a_validation_is_not_that_of_the_training(
    case: Case, tmp_path: Path, monkeypatch
):
    one = trainer(case)

    def slow(done: Trainer) -> bool:
        sleep(1.5)
        return done.step == 2

    one.run(tmp_path, lambda text: None, after_step=slow)
    plain = trainer(case)
    plain.run(tmp_path / "b", lambda text: None, after_step=lambda done: done.step == 2)
    assert one.seconds < plain.seconds + 2.5


def test_the_last_weights_are_evaluated_as_by_the_command(
    case: Case, whole: UserCase, partner: Model, segmented, tmp_path: Path
):
    said: list[str] = []
    segmented += [np.copy, without_l3, without_l3, np.copy]
    one = trainer(case)
    watch = watched(tmp_path, whole, partner, said, every_steps=1)
    for _ in range(2):
        one.learn()
        watch.after_step(one)
    watch.finish(one)
    for folder, missed in (("validation_last", 1), ("validation_best", 0)):
        content = json.loads((tmp_path / folder / "evaluation.json").read_text())
        assert content["summary"]["missed"] == missed
        assert (tmp_path / folder / "evaluation.html").is_file()
        assert read_labels(tmp_path / folder / "labels" / "a.nii.gz").array.any()
    assert "all levels right in 0 of 1" in said[-2]


def test_a_table_of_validations_is_read_back(tmp_path: Path):
    rows = [Row(1, 0.5, scores(0.1)), Row(2, 1.0, Scores(0.3, float("nan"), 0.3, 0.3, 2))]
    write_rows(rows, tmp_path)
    first, second = read_rows(tmp_path)
    assert first == rows[0]
    assert np.isnan(second.scores.vertebra_dice)
    with (tmp_path / "validation.csv").open("a") as file:
        file.write("3,1.5,0.1")
    assert len(read_rows(tmp_path)) == 2
    assert read_rows(tmp_path / "none") == []


def test_the_best_row_is_the_first_of_equals():
    rows = [Row(k, 0, scores(value)) for k, value in enumerate((0.1, 0.5, 0.5, 0.2))]
    assert best_row(rows) is rows[1]
    assert best_row([]) is None


def test_a_row_of_metrics_says_how_much_time_is_left(tmp_path: Path):
    said: list[str] = []
    log = MetricsLog(tmp_path, said.append)
    log.add(50, {"bone": 0.5}, 600.0, 0.25)
    log.add(100, {"bone": 0.5}, 600.0)
    log.close()
    assert said[-2] == "step 50 bone 0.500 (10.0 min, 25.0 % done, 30 min left)"
    assert said[-1] == "step 100 bone 0.500 (10.0 min)"


@pytest.mark.long
def test_a_dynunet_is_trained_validated_packed_and_segments_from_the_shell(tmp_path: Path):
    pytest.importorskip("monai")
    for name, seed in (("a", 1), ("b", 2)):
        save(phantom(seed).image, tmp_path / "data" / f"{name}_ct.nii.gz")
        save(phantom(seed).labels, tmp_path / "data" / f"{name}_seg-vert_msk.nii.gz")
    words = ["train", "fine", "--out", str(tmp_path / "run"), "--data", str(tmp_path / "data")]
    words += ["--kind", "dynunet", "--phantoms", "0", "--steps", "2", "--threads", "1"]
    words += ["--validate", "b", "--validate-every", "2"]
    assert main(words) == 0
    assert (tmp_path / "run" / "validation_last" / "evaluation.json").is_file()
    model = str(tmp_path / "model")
    words = ["pack", model, "--coarse", "starter", "--fine", str(tmp_path / "run"), "--name", "d"]
    assert main(words) == 0
    assert load_model(Path(model)).fine.network.config.architecture == "dynunet"
    image, out = str(tmp_path / "data" / "a_ct.nii.gz"), str(tmp_path / "a.seg.nrrd")
    # Two steps teach nothing: the network runs, and what it finds is no vertebra.
    assert main(["segment", image, out, "--model", model, "--device", "cpu"]) in (0, 2)
