"""Loading models, and refusing invalid model cards and weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import CONFIG

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import Code, UserError
from spinemamba.inference.model import load_model, save_weights
from spinemamba.inference.predict import predict
from spinemamba.network.unet import SpineMambaNet
from spinemamba.protocol.model_card import ModelCard, NetworkCard, find_model, read_card
from spinemamba.training.pack_model import pack_model

NETWORKS = ("coarse", "fine")


def write_model(folder: Path) -> ModelCard:
    folder.mkdir(exist_ok=True)
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


def test_a_saved_model_is_loaded_with_its_card_and_weights(tmp_path: Path):
    card = write_model(tmp_path)
    model = load_model(tmp_path)
    assert read_card(tmp_path).hash() == card.hash()
    assert model.coarse.spacing_mm == 4.0
    assert model.fine.patch_vox == (16, 16, 16)
    torch.manual_seed(0)
    fresh = SpineMambaNet(CONFIG).state_dict()
    for name, value in model.fine.network.state_dict().items():
        torch.testing.assert_close(value, fresh[name], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.3])
def test_bone_threshold_of_the_card_becomes_a_probability_of_a_half(
    tmp_path: Path, threshold: float
):
    card = write_model(tmp_path)
    fine = replace(card.networks["fine"], bone_threshold=threshold)
    replace(card, networks={**card.networks, "fine": fine}).write(tmp_path)
    model = load_model(tmp_path)
    assert (model.coarse.bone_threshold, model.fine.bone_threshold) == (0.5, threshold)
    image = torch.linspace(-1, 1, 16**3).reshape(16, 16, 16)
    box = (slice(0, 16),) * 3
    plain, fitted = (
        predict(each, image, [box], lambda stage, fraction: None, "segment")
        for each in (replace(model.fine, bone_threshold=0.5), model.fine)
    )
    assert torch.equal(fitted.bone > 0.5, plain.bone > threshold)
    assert torch.equal(fitted.core, plain.core)


def test_a_card_without_a_bone_threshold_has_the_usual_one(tmp_path: Path):
    write_model(tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    for entry in content["networks"].values():
        del entry["bone_threshold"]
    edit_card(tmp_path, networks=content["networks"])
    assert load_model(tmp_path).fine.bone_threshold == 0.5


def test_compact_weights_differ_by_half_a_step_at_most(tmp_path: Path):
    write_model(tmp_path / "m")
    pack_model(
        tmp_path / "m", tmp_path / "m", tmp_path / "small", name="a", version="1", compact=["fine"]
    )
    whole, small = load_model(tmp_path / "m"), load_model(tmp_path / "small")
    sizes = [(tmp_path / "small" / f"{kind}.safetensors").stat().st_size for kind in NETWORKS]
    assert sizes[1] < 0.7 * sizes[0]
    states = [model.fine.network.state_dict() for model in (whole, small)]
    for name, value in states[0].items():
        if value.ndim == 5:
            step = value.abs().amax(dim=(1, 2, 3, 4), keepdim=True) / 127
            assert ((states[1][name] - value).abs() <= 0.501 * step).all()
            assert (states[1][name] != value).any()
        else:
            assert torch.equal(states[1][name], value)
    for name, value in whole.coarse.network.state_dict().items():
        assert torch.equal(small.coarse.network.state_dict()[name], value)


def test_weights_with_a_flipped_bit_are_refused(tmp_path: Path):
    write_model(tmp_path)
    path = tmp_path / "w.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="damaged") as caught:
        load_model(tmp_path)
    assert caught.value.code is Code.MODEL_BAD


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 99}, "schema 99"),
        ({"labels": ["C1", "C2"]}, "other levels"),
        ({"networks": {}}, "coarse and fine"),
        ({"surprise": 1}, "not a model card"),
    ],
)
def test_an_invalid_card_is_refused_with_the_reason(tmp_path: Path, changes: dict, reason: str):
    write_model(tmp_path)
    edit_card(tmp_path, **changes)
    with pytest.raises(UserError, match=reason) as caught:
        load_model(tmp_path)
    assert caught.value.code is Code.MODEL_BAD


DIGEST = "0" * 64
WRONG_ENTRIES = {
    "spacing_mm": [0, -1.5, 1e-3, 1e3, float("nan"), float("inf"), "4", None, True, [4], 10**40],
    "sha256": ["", "abc", DIGEST.replace("0", "g"), None, 5],
    "file": ["", None, 7, ["w"], "/etc/passwd", "a/b"],
    "config": [None, [], "x", 3],
    "training": [None, [], 3],
}
WRONG_FIELDS = {
    "name": ["", " ", None, 3],
    "version": ["", None, 0.6, True],
    "networks": [None, [], 3, "fine", {"coarse": 1, "fine": 2}, {"coarse": {}, "fine": {}}],
    "labels": [None, 3, "C1", {}, [1, 2]],
    "normalisation": [None, [], "x", {"ct_window_hu": [0, 1000]}, {"gamma": 2}],
    "data": [None, "VerSe", [1], {"a": "b"}],
    "licence": [None, 3],
    "results": [None, [], 3, {"case": 3}],
    "intended_use": [None, 3],
    "schema": [True, "1", None, 1.5],
}
WRONG_SETTINGS = {
    "patch_vox": [[16, 16], [16, 16, 16.0], ["16"] * 3, 16, [0, 0, 0], [10**9] * 3],
    "channels": [[], [16, 0], [16, -16], [16, 10**7], "16", [True, True]],
    "prior_stride": [0, -8, float("nan"), "8"],
    "prior_heads": [0, None],
    "state_size": [0, 2.0, 10**9],
    "scan": ["sideways", 3, None],
    "vsp_stages": [[7], [-1]],
    "rvm": [1, "yes"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(k, v) for k, values in WRONG_ENTRIES.items() for v in values]
)
def test_a_network_entry_of_wrong_type_or_range_is_refused(tmp_path, name, value):
    card = write_model(tmp_path)
    entry = {**card.networks["fine"].__dict__, name: value}
    refuse(tmp_path, networks={"coarse": card.networks["coarse"].__dict__, "fine": entry})


@pytest.mark.parametrize(
    ("name", "value"), [(k, v) for k, values in WRONG_FIELDS.items() for v in values]
)
def test_a_card_field_of_wrong_type_or_range_is_refused(tmp_path, name, value):
    write_model(tmp_path)
    refuse(tmp_path, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [(k, v) for k, values in WRONG_SETTINGS.items() for v in values]
)
def test_a_network_setting_of_wrong_type_or_range_is_refused(tmp_path, name, value):
    card = write_model(tmp_path)
    entry = {**card.networks["fine"].__dict__, "config": {**CONFIG.to_json(), name: value}}
    refuse(tmp_path, networks={"coarse": card.networks["coarse"].__dict__, "fine": entry})


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{", "[" * 100_000, "{}", "\udcff"])
def test_a_file_that_is_not_a_model_card_is_refused(tmp_path: Path, text: str):
    write_model(tmp_path)
    (tmp_path / "model.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    refuse(tmp_path)


def refuse(folder: Path, **changes: object) -> None:
    """Expect a short MODEL_BAD message for a changed card."""
    if changes:
        edit_card(folder, **changes)
    with pytest.raises(UserError) as caught:
        load_model(folder)
    assert caught.value.code is Code.MODEL_BAD
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("stop", ["weights", "names"])
def test_an_interrupted_pack_leaves_the_old_model_unchanged(tmp_path, monkeypatch, stop):
    folder = tmp_path / "m"
    options = {"name": "mine", "version": "1"}
    pack_model(Path("starter"), Path("starter"), folder, **options)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match="already exist"):
        pack_model(Path("starter"), Path("starter"), folder, **options)

    calls = iter(range(9))
    replace = Path.replace

    def stopped(self: Path, target: Path) -> Path:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return replace(self, target)

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    if stop == "names":
        monkeypatch.setattr(Path, "replace", stopped)
    else:
        monkeypatch.setattr(ModelCard, "text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack_model(
            Path("starter"), Path("starter"), folder, name="other", version="2", overwrite=True
        )
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert read_card(folder).name == "mine"


def test_a_card_cannot_refer_to_files_outside_its_folder(tmp_path: Path):
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
