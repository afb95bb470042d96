"""Whole trainings: kinds of networks, checkpoints, curves and packing."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from tiny_training import CONFIG, lumbar_case, trainer

from spinemamba.cli import train
from spinemamba.common.errors import Code, UserError
from spinemamba.inference.model import load_model
from spinemamba.network.config import BASE, COARSE, TRAINED
from spinemamba.protocol.model_card import find_model, read_card
from spinemamba.training.architectures import KINDS, SIZES, SPACING_MM
from spinemamba.training.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from spinemamba.training.data.dataset import Case
from spinemamba.training.data.origin import Origin
from spinemamba.training.folder import working_in
from spinemamba.training.loop import Trainer
from spinemamba.training.monitoring import MetricsLog
from spinemamba.training.options import TrainOptions
from spinemamba.training.pack_model import pack_model


@pytest.fixture(scope="module")
def case() -> Case:
    return lumbar_case()


def test_an_interrupted_training_resumes_with_the_same_steps(tmp_path: Path, case: Case):
    whole = trainer(case)
    expected = [whole.learn() for _ in range(4)][-1]
    first = trainer(case)
    for _ in range(2):
        first.learn()
    first.save(tmp_path)
    second = trainer(case)
    assert second.resume(tmp_path)
    second.learn()
    assert second.learn() == pytest.approx(expected, rel=1e-5)
    assert second.step == whole.step


def test_training_stops_at_its_last_step_and_packs_into_a_model(tmp_path: Path, case: Case):
    for kind in ("coarse", "fine"):
        one = Trainer(CONFIG, [case], [1.0], TrainOptions(steps=2))
        one.run(tmp_path / kind, lambda text: None)
        assert one.step == 2
    folders = [tmp_path / name for name in ("coarse", "fine", "model")]
    card = pack_model(*folders, name="tiny", version="0")
    assert card.licence == "Apache-2.0"
    assert card.data == ("synthetic spines of this package, Apache-2.0.",)
    assert find_model(str(tmp_path / "model")) == tmp_path / "model"


def test_licence_and_credit_of_listed_cases_reach_the_model_card(tmp_path: Path, case: Case):
    source = "VerSe, CC BY-SA 4.0 (Sekuboyina et al.)"
    for kind, name in (("coarse", "a"), ("fine", "b")):
        listed = replace(case, name=name, origin=Origin("complete", source))
        Trainer(CONFIG, [listed], [1.0], TrainOptions(steps=1)).save(tmp_path / kind)
    folders = [tmp_path / name for name in ("coarse", "fine", "model")]
    card = pack_model(*folders, name="tiny", version="0")
    assert card.licence == "CC-BY-SA-4.0"
    assert card.data == (f"{source}: a.", f"{source}: b.")


def test_packing_keeps_the_network_that_was_not_trained(tmp_path: Path, case: Case):
    one = Trainer(CONFIG, [case], [1.0], TrainOptions(steps=1))
    one.run(tmp_path / "coarse", lambda text: None)
    starter = read_card(find_model("starter"))
    made = pack_model(tmp_path / "coarse", Path("starter"), tmp_path / "m", name="m", version="1")
    assert made.networks["fine"] == starter.networks["fine"]
    assert made.networks["coarse"].training["steps_done"] == 1
    assert set(made.data) >= set(starter.data)
    assert made.licence == starter.licence
    load_model(tmp_path / "m")
    with pytest.raises(UserError, match="neither a training"):
        pack_model(tmp_path / "no", Path("starter"), tmp_path / "m2", name="m", version="1")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_network_draws_the_same_patches(case: Case, kind: str):
    if kind == "dynunet":
        pytest.importorskip("monai")
    # DynUNet halves a patch four times and cannot normalise a single voxel.
    config = replace(CONFIG, patch_vox=(32, 32, 32), prior_stride=16)
    one, other = trainer(case, config, kind=kind), trainer(case, config)
    for mine, theirs in zip(one.examples(2), other.examples(2), strict=True):
        assert torch.equal(mine[0], theirs[0])
    assert all(math.isfinite(value) for value in one.learn().values())
    other.learn()
    assert torch.equal(one.draw()[0], other.draw()[0])


def test_both_networks_can_be_trained_in_every_size(case: Case):
    assert set(TRAINED) == set(product(SIZES, SPACING_MM))
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    for name, patch_vox in (("coarse", COARSE.patch_vox), ("fine", BASE.patch_vox)):
        args = parser.parse_args([name, "--out", "unused", "--size", "base"])
        config = TRAINED[args.size, args.network]
        assert (config.channels, config.patch_vox) == (BASE.channels, patch_vox)
    assert TRAINED["full", "fine"].stem_stride == 1
    assert TRAINED["full", "coarse"] == TRAINED["tiny", "coarse"]


def test_a_checkpoint_is_one_file_that_is_replaced(tmp_path: Path):
    state = {"network": {"w": torch.randn(100)}, "step": 3}
    assert not has_checkpoint(tmp_path)
    save_checkpoint(state, tmp_path)
    save_checkpoint(state | {"step": 4}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    loaded = load_checkpoint(tmp_path)
    assert loaded["step"] == 4
    assert torch.equal(loaded["network"]["w"], state["network"]["w"])


def test_a_checkpoint_with_any_changed_byte_is_refused(tmp_path: Path):
    save_checkpoint({"network": {"w": torch.zeros(3)}, "step": 1}, tmp_path)
    content = (tmp_path / "checkpoint.pt").read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / "checkpoint.pt").write_bytes(changed)
        with pytest.raises(UserError, match="is damaged"):
            load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["checkpoint", "checkpoint.before"])
def test_a_checkpoint_in_several_files_is_refused(tmp_path: Path, case: Case, name: str):
    (tmp_path / name).mkdir()
    (tmp_path / name / "000").touch()
    uses = (
        has_checkpoint,
        load_checkpoint,
        trainer(case).resume,
        lambda folder: working_in(folder, COARSE, "spinemamba").__enter__(),
    )
    for use in uses:
        with pytest.raises(UserError, match=f"{name} is a checkpoint of an earlier") as caught:
            use(tmp_path)
        assert caught.value.code == Code.MODEL_BAD
        assert "delete" in caught.value.remedy
    assert (tmp_path / name / "000").exists()
    save_checkpoint({"step": 1}, tmp_path)
    assert load_checkpoint(tmp_path)["step"] == 1


def test_metrics_are_means_of_fifty_steps_appended_to_one_file(tmp_path: Path):
    said: list[str] = []
    for part in (0, 1):
        curves = MetricsLog(tmp_path, said.append)
        for step in range(1, 51):
            curves.add(50 * part + step, {"bone": float(step)}, seconds=60.0)
        curves.close()
    rows = (tmp_path / "curves.csv").read_text(encoding="utf-8").splitlines()
    assert rows == ["step,minutes,bone", "50,1,25.5", "100,1,25.5"]
    assert "step 100 bone 25.500 (1.0 min)" in said


def test_preview_patches_do_not_change_the_training(case: Case):
    looked, not_looked = trainer(case), trainer(case)
    looked.examples(5)
    assert looked.learn() == not_looked.learn()
