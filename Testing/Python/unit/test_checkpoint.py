from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from spinemamba.checkpoint import load_model, save_weights
from spinemamba.errors import Code, UserError
from spinemamba.labels import NETWORK_LEVELS
from spinemamba.models import ModelCard, NetworkCard, find_model, read_card
from spinemamba.network.config import NetworkConfig
from spinemamba.network.unet import SpineMambaNet

CONFIG = NetworkConfig(
    patch_vox=(16, 16, 16),
    channels=(16, 16),
    encoder_rvm=(0, 1),
    decoder_rvm=(0,),
    vsp_stages=(0,),
    prior_stride=8,
    prior_heads=2,
    state_size=2,
)


def write_model(folder: Path) -> ModelCard:
    torch.manual_seed(0)
    network = SpineMambaNet(CONFIG)
    digest = save_weights(network.state_dict(), folder / "w.safetensors")
    entry = NetworkCard("w.safetensors", digest, 4.0, CONFIG.to_json(), {})
    networks = {"coarse": entry, "fine": replace(entry, spacing_mm=1.5)}
    card = ModelCard("tiny", "1", networks, NETWORK_LEVELS, {}, (), "CC0-1.0", {}, "Tests.")
    card.write(folder)
    return card


def edit_card(folder: Path, **changes: object) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_model_comes_back_with_its_card_and_weights(tmp_path: Path):
    card = write_model(tmp_path)
    model = load_model(tmp_path)
    assert read_card(tmp_path).hash() == card.hash()
    assert model.coarse.spacing_mm == 4.0
    assert model.fine.patch_vox == (16, 16, 16)
    torch.manual_seed(0)
    fresh = SpineMambaNet(CONFIG).state_dict()
    for name, value in model.fine.network.state_dict().items():
        torch.testing.assert_close(value, fresh[name], atol=1e-3, rtol=1e-3)


def test_a_flipped_byte_in_the_weights_is_noticed(tmp_path: Path):
    write_model(tmp_path)
    path = tmp_path / "w.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="damaged") as caught:
        load_model(tmp_path)
    assert caught.value.code is Code.MODEL_BAD


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": 99}, "schema 99"),
        ({"labels": ["C1", "C2"]}, "other levels"),
        ({"networks": {}}, "coarse and fine"),
        ({"surprise": 1}, "not a model card"),
    ],
)
def test_a_foreign_card_is_refused_with_the_reason(tmp_path: Path, changes: dict, says: str):
    write_model(tmp_path)
    edit_card(tmp_path, **changes)
    with pytest.raises(UserError, match=says) as caught:
        load_model(tmp_path)
    assert caught.value.code is Code.MODEL_BAD


def test_a_card_cannot_reach_outside_its_folder(tmp_path: Path):
    card = write_model(tmp_path)
    entry = {**card.networks["fine"].__dict__, "file": "../w.safetensors"}
    edit_card(tmp_path, networks={"coarse": entry, "fine": entry})
    with pytest.raises(UserError, match="outside its folder"):
        read_card(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path: Path):
    card = write_model(tmp_path)
    other = replace(CONFIG, state_size=4).to_json()
    entry = {**card.networks["fine"].__dict__, "config": other}
    edit_card(tmp_path, networks={"coarse": entry, "fine": entry})
    with pytest.raises(UserError, match="do not fit"):
        load_model(tmp_path)


def test_a_missing_model_names_the_bundled_ones(tmp_path: Path):
    with pytest.raises(UserError, match="nowhere") as caught:
        find_model("nowhere")
    assert caught.value.code is Code.MODEL_MISSING
    write_model(tmp_path)
    assert find_model(str(tmp_path)) == tmp_path
    assert find_model(str(tmp_path / "model.json")) == tmp_path
