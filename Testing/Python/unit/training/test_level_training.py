"""Random chains of vertebrae for the level network: names, faults, crops, and the loop."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.cli.main import main
from spinemamba.common.errors import Cancelled, UserError
from spinemamba.common.exit_codes import ExitCode
from spinemamba.imaging.intensity import normalise
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.resample import grid_with_spacing, resample_box
from spinemamba.imaging.vertebra_crops import IMAGE, IN_VIEW, OTHERS, THIS, vertebra_crops
from spinemamba.imaging.volume import Volume
from spinemamba.inference.model import load_model
from spinemamba.network.level_sequence import (
    LAST_RIB,
    NO_VERTEBRA,
    RIB_LEFT,
    WITNESSES,
    LevelLogits,
    LevelNetworkConfig,
)
from spinemamba.phantom import PhantomOptions, Tissue, make_phantom
from spinemamba.protocol.model_card import LEVELS
from spinemamba.training.checkpoint import load_checkpoint, save_checkpoint
from spinemamba.training.data.dataset import make_case
from spinemamba.training.levels.chains import FOREIGN, MERGED, Chain, ChainOptions, draw_chain
from spinemamba.training.levels.crops import (
    CropOptions,
    ExampleOptions,
    LevelExample,
    draw_example,
)
from spinemamba.training.levels.loop import LevelTrainer, LevelTrainOptions
from spinemamba.training.levels.loss import level_loss
from spinemamba.training.levels.spines import SPACING_MM, Spine, spine_of
from spinemamba.training.pack_model import pack_model
from spinemamba.training.synthesis.options import SynthesisOptions

NO_FAULTS = ChainOptions(1.0, 0.0, (2, 14), 0.0, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0), 0.0)
PLAIN = CropOptions((1.0, 0.0), (0.0, 1.0, 1.0), 0.0, 0.0, 0.0, (0.0, 1.0, 1.0), (0.0, 1.0, 1.0))
PLAIN = replace(PLAIN, without_masks=0.0, leaking=(0.0, 1.0, 1.0), rough_masks=0.0, mirror=0.0)
AS_IT_IS = SynthesisOptions(*(0.0,) * 15)
STARTER = Path("starter")
SMALL = LevelNetworkConfig((8, 8, 8), 16, 1, 2)


@pytest.fixture(scope="module")
def scan() -> tuple[Volume, Volume]:
    """Return image and labels of a phantom from T9 to the sacrum."""
    phantom = make_phantom(3, PhantomOptions(first="T9", last="Sacrum", cut=True))
    return canonical(phantom.image)[0], canonical(phantom.labels)[0]


@pytest.fixture(scope="module")
def spine(scan: tuple[Volume, Volume]) -> Spine:
    image, labels = scan
    found = spine_of(make_case("phantom", labels, SPACING_MM, image=image))
    assert found is not None
    return found


def drawn(spine: Spine, seed: int, **changes: float) -> Chain:
    options = replace(NO_FAULTS, **changes)
    return draw_chain(spine, options, torch.Generator().manual_seed(seed))


def names(example: LevelExample) -> list[str]:
    rows = example.levels.argmax(dim=1)
    return ["-" if row == NO_VERTEBRA else NETWORK_LEVELS[row] for row in rows]


def plain_example(spine: Spine, seed: int = 0, **changes: float) -> LevelExample:
    options = ExampleOptions(replace(NO_FAULTS, **changes), PLAIN, AS_IT_IS)
    return draw_example(spine, options, torch.Generator().manual_seed(seed))


def test_a_spine_lists_its_vertebrae_and_which_are_complete(spine: Spine):
    assert spine.levels[-4:] == ("L3", "L4", "L5", "Sacrum")
    assert not spine.complete[0]
    first, stop = spine.usable
    assert all(spine.complete[first:stop])
    assert stop == len(spine.levels)


def test_two_vertebrae_of_one_channel_are_no_spine(scan: tuple[Volume, Volume]):
    image, labels = scan
    doubled = labels.with_array(np.where(labels.array == 24, 25, labels.array).astype(np.uint8))
    doubled.array[labels.array == 23] = 24  # L4 as L5, L5 as L6
    assert spine_of(make_case("doubled", doubled, SPACING_MM, image=image)) is None


def test_a_plain_example_is_the_crops_of_the_scan(spine: Spine, scan: tuple[Volume, Volume]):
    image, _ = scan
    example = plain_example(spine)
    first, _ = spine.usable
    assert names(example) == list(spine.levels[first:])
    grid = grid_with_spacing(image.geometry, SPACING_MM)
    hu = Volume(resample_box(image.array, image.geometry, grid), grid)
    numbers = Volume(spine.case.target.numpy(), grid)
    _, crops = vertebra_crops(hu.with_array(normalise(hu.array, "ct")), numbers)
    wanted = crops[first:]
    shown = (example.crops[:, IN_VIEW] > 0).numpy() & (wanted[:, IN_VIEW] > 0)
    assert shown.mean() > 0.5
    difference = np.abs(example.crops[:, IMAGE].numpy() - wanted[:, IMAGE])[shown]
    assert np.median(difference) < 0.1  # calibration and density are always varied
    for channel in (THIS, OTHERS):
        same = (example.crops[:, channel].numpy() == wanted[:, channel])[shown]
        assert same.mean() > 0.995


@pytest.mark.parametrize("seed", range(12))
def test_a_variant_removes_or_inserts_the_last_level_of_a_region(spine: Spine, seed: int):
    first, _ = spine.usable
    usual = spine.levels[first:]
    chain = drawn(spine, seed, variant=1.0)
    changed = set(chain.levels) ^ set(usual)
    assert changed in ({"T12"}, {"T13"}, {"L5"}, {"L6"}, set())
    assert len(chain.sources) == len(chain.levels) == chain.stop
    if "L6" in chain.levels:
        at = chain.levels.index("L6")
        assert chain.sources[at] == chain.sources[at - 1]


def test_beyond_a_removed_level_a_crop_shows_the_next_one(spine: Spine):
    for seed in range(40):
        chain = drawn(spine, seed, variant=1.0)
        if "L5" not in chain.levels and "T12" in chain.levels:
            break
    example = plain_example(spine, seed, variant=1.0)
    row = names(example).index("L4")
    lowest = example.crops[row, IMAGE][:6]
    usual = plain_example(spine)
    assert (lowest - usual.crops[names(usual).index("L4"), IMAGE][:6]).abs().mean() > 0.02


@pytest.mark.parametrize("seed", range(5))
def test_a_part_of_a_spine_is_contiguous(spine: Spine, seed: int):
    chain = drawn(spine, seed, whole=0.0, count=(2, 5))
    positions = [entry.position for entry in chain.entries]
    assert positions == list(range(chain.first, chain.stop))
    assert 2 <= len(positions) <= 5


def test_a_missed_vertebra_leaves_a_gap(spine: Spine):
    whole, missed = drawn(spine, 1), drawn(spine, 1, missed=1.0)
    assert len(missed.entries) == len(whole.entries) - 1
    assert missed.entries[0].position == 0
    assert missed.entries[-1].position == whole.entries[-1].position


def test_a_merged_instance_has_two_levels_and_no_witnesses(spine: Spine):
    for seed in range(9):
        example = plain_example(spine, seed, merged=1.0)
        halves = (example.levels == 0.5).any(dim=1)
        if halves.any():
            break
    row = int(halves.nonzero()[0])
    assert example.levels[row].sum() == 1
    assert (example.known[row] == 0).all()
    both = example.crops[row, THIS].sum()
    assert both > 1.4 * plain_example(spine).crops[row, THIS].sum()
    assert drawn(spine, seed, merged=1.0).entries[row].kind == MERGED


def test_a_foreign_instance_is_no_vertebra_and_never_below_the_sacrum(spine: Spine):
    for seed in range(30):
        chain = drawn(spine, seed, foreign=1.0)
        kinds = [entry.kind for entry in chain.entries]
        assert kinds.count(FOREIGN) == 1
        assert kinds[-1] != FOREIGN
    example = plain_example(spine, 0, foreign=1.0)
    assert names(example).count("-") == 1


def test_masks_leak_into_ribs_but_nowhere_else(scan: tuple[Volume, Volume]):
    image, labels = scan
    ribs = np.roll(labels.array > 0, 6, axis=2) & (labels.array == 0)
    tissues = np.where(ribs, Tissue.RIB, np.where(labels.array > 0, Tissue.TRABECULAR, Tissue.FAT))
    tissues = labels.with_array(tissues.astype(np.uint8))
    found = spine_of(make_case("ribs", labels, SPACING_MM, image=image, tissues=tissues))
    leaking = replace(PLAIN, leaking=(1.0, 6.0, 6.0))
    exact, leaked = (
        draw_example(found, ExampleOptions(NO_FAULTS, options, AS_IT_IS), torch.Generator())
        for options in (PLAIN, leaking)
    )
    grown = leaked.crops[:, THIS] - exact.crops[:, THIS]
    assert (grown >= 0).all()
    assert 0.02 < grown.sum() / exact.crops[:, THIS].sum() < 0.6


def test_the_witnesses_are_those_of_the_levels(spine: Spine):
    example = plain_example(spine)
    found = names(example)
    for row, name in enumerate(found):
        assert example.witnesses[row, RIB_LEFT] == name.startswith("T")
        assert example.witnesses[row, LAST_RIB] == (name == "T12")
    assert example.witnesses[found.index("L5"), WITNESSES - 1] == 1


def test_equal_seeds_draw_equal_examples(spine: Spine):
    options = ExampleOptions()
    one, other = (draw_example(spine, options, torch.Generator().manual_seed(7)) for _ in "ab")
    for a, b in zip(vars(one).values(), vars(other).values(), strict=True):
        assert torch.equal(a, b)


def test_the_loss_is_least_at_the_truth(spine: Spine):
    example = plain_example(spine)
    certain = LevelLogits(example.levels * 12, example.witnesses * 24 - 12)
    wrong = LevelLogits(example.levels.roll(1, dims=1) * 12, 12 - example.witnesses * 24)
    unsure = LevelLogits(torch.zeros_like(example.levels), torch.zeros_like(example.witnesses))
    losses = [float(level_loss(logits, example)[0]) for logits in (certain, unsure, wrong)]
    assert losses == sorted(losses)


def short(spine: Spine, steps: int = 3) -> LevelTrainer:
    """Return a training of few steps."""
    options = LevelTrainOptions(steps=steps, chains=1, example=ExampleOptions(NO_FAULTS))
    return LevelTrainer(SMALL, [spine], [1.0], options)


def test_training_continues_where_it_stopped(spine: Spine, tmp_path: Path):
    first = short(spine, 2)
    assert not first.resume(tmp_path)
    first.run(tmp_path, lambda message: None)
    second = short(spine)
    assert second.resume(tmp_path)
    assert second.step == 2
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name])
    second.run(tmp_path, lambda message: None)
    assert second.step == 3


def test_a_stopped_training_ends_with_the_weights_of_a_whole_one(spine: Spine, tmp_path: Path):
    short(spine).run(tmp_path / "whole", str)
    said: list[str] = []
    stopped = short(spine)
    learn = stopped.learn

    def learn_and_stop() -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return learn()

    stopped.learn = learn_and_stop
    with pytest.raises(Cancelled):
        stopped.run(tmp_path / "parts", said.append)
    assert said[-1].startswith("saved at step 1 of 3")
    again = short(spine)
    assert again.resume(tmp_path / "parts")
    again.run(tmp_path / "parts", said.append)
    assert said[-1].endswith("all steps are done")
    states = [load_checkpoint(tmp_path / name) for name in ("whole", "parts")]
    for part in ("network", "average"):
        one, other = (state[part] for state in states)
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_checkpoint_of_an_earlier_version_is_continued(spine: Spine, tmp_path: Path):
    trainer = short(spine, 1)
    trainer.run(tmp_path, str)
    state = load_checkpoint(tmp_path)
    for name in ("seconds", "scaler"):
        del state[name]
    save_checkpoint(state, tmp_path)
    again = short(spine)
    assert again.resume(tmp_path)
    assert (again.step, again.seconds) == (1, 0.0)


def test_a_checkpoint_of_another_network_is_refused(spine: Spine, tmp_path: Path):
    options = LevelTrainOptions(steps=1, chains=1)
    LevelTrainer(SMALL, [spine], [1.0], options).save(tmp_path)
    other = LevelTrainer(replace(SMALL, vector=8), [spine], [1.0], options)
    with pytest.raises(UserError, match="another network"):
        other.resume(tmp_path)


def test_a_packed_training_is_the_level_network_of_a_model(spine: Spine, tmp_path: Path):
    trainer = LevelTrainer(SMALL, [spine], [1.0], LevelTrainOptions(steps=1, chains=1))
    trainer.run(tmp_path / "training", lambda message: None)
    names = {"name": "mine", "version": "1"}
    pack_model(STARTER, STARTER, tmp_path / "model", levels=tmp_path / "training", **names)
    model = load_model(tmp_path / "model")
    assert model.levels.config == SMALL
    for name, value in model.levels.state_dict().items():
        torch.testing.assert_close(value, trainer.average[name], atol=1e-3, rtol=1e-3)
    again = pack_model(STARTER, STARTER, tmp_path / "kept", levels=tmp_path / "model", **names)
    assert again.networks[LEVELS].sha256 == model.card.networks[LEVELS].sha256


def test_a_model_without_a_level_network_cannot_give_one(tmp_path: Path):
    plain = tmp_path / "plain"
    pack_model(STARTER, STARTER, plain, name="plain", version="1")
    with pytest.raises(UserError, match="has no network 'levels'"):
        pack_model(STARTER, STARTER, tmp_path / "m", name="m", version="1", levels=plain)
    assert not (tmp_path / "m").exists() or not any((tmp_path / "m").iterdir())


def test_the_commands_train_a_level_network_and_add_it_to_a_model(tmp_path: Path, capsys):
    runs, model = str(tmp_path / "runs"), str(tmp_path / "model")
    words = ["train-levels", "--out", runs, "--phantoms", "2", "--steps", "1", "--threads", "1"]
    words += ["--device", "cpu", "--precision", "float32"]
    assert main(words) == 0
    assert "device cpu, convolutions in float32" in capsys.readouterr().out
    assert main([*words, "--steps", "2"]) == 0
    assert "resuming at step 1" in capsys.readouterr().out
    packed = ["pack", model, "--coarse", "starter", "--fine", "starter", "--levels", runs]
    assert main([*packed, "--name", "mine"]) == 0
    assert load_model(tmp_path / "model").levels is not None


def test_a_precision_that_the_device_lacks_is_refused(tmp_path: Path, capsys):
    words = ["train-levels", "--out", str(tmp_path / "runs"), "--phantoms", "1", "--steps", "1"]
    assert main([*words, "--device", "cpu", "--precision", "float16"]) == ExitCode.USER_ERROR
    assert "does not calculate fast in float16" in capsys.readouterr().err


def test_without_cases_there_is_nothing_to_train_on(tmp_path: Path, capsys):
    words = ["train-levels", "--out", str(tmp_path / "runs"), "--phantoms", "0"]
    assert main(words) == ExitCode.USER_ERROR
    assert "No case has two complete vertebrae" in capsys.readouterr().err
