"""The level network of a model: loading, and reading the vertebrae of a scan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.level_stage import level_stage
from spinemamba.inference.model import load_model, save_weights
from spinemamba.network.config import NetworkConfig
from spinemamba.network.level_sequence import LevelNetworkConfig, LevelSequenceNet
from spinemamba.network.unet import SpineMambaNet
from spinemamba.protocol.model_card import LEVELS, ModelCard, NetworkCard

VOXELS = NetworkConfig((16, 16, 16), 2, (16, 16), (0, 1), (0,), (0,), 8, 2, 2)
SEQUENCE = LevelNetworkConfig((8, 8, 8), 16, 1, 2, 1.5)


def write_model(folder: Path, config: dict | None = None) -> None:
    """Write a model of small networks; with a level network if its configuration is given."""
    torch.manual_seed(0)
    digest = save_weights(SpineMambaNet(VOXELS).state_dict(), folder / "w.safetensors")
    entry = NetworkCard("w.safetensors", digest, 4.0, VOXELS.to_json(), {})
    networks = {"coarse": entry, "fine": replace(entry, spacing_mm=1.5)}
    if config is not None:
        digest = save_weights(LevelSequenceNet(SEQUENCE).state_dict(), folder / "l.safetensors")
        networks[LEVELS] = NetworkCard("l.safetensors", digest, 2.0, config, {})
    ModelCard("tiny", "1", networks, NETWORK_LEVELS, {}, (), "CC0-1.0", {}, "").write(folder)


def scan() -> tuple[Volume, Volume]:
    """Return an image and the numbers of three blocks in it."""
    geometry = Geometry((60, 50, 60), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3))
    numbers = np.zeros(geometry.shape, np.uint8)
    for k, start in enumerate((42, 26, 10), start=1):
        numbers[start : start + 9, 15:30, 22:38] = k
    return Volume((numbers > 0) * np.float32(1.2) - 0.6, geometry), Volume(numbers, geometry)


def test_a_model_without_a_level_network_has_none(tmp_path: Path):
    write_model(tmp_path)
    assert load_model(tmp_path).levels is None


def test_the_level_network_of_a_model_is_loaded_with_its_temperature(tmp_path: Path):
    write_model(tmp_path, SEQUENCE.to_json())
    network = load_model(tmp_path).levels
    assert network.config == SEQUENCE
    assert not network.training


def test_a_level_network_of_another_size_is_refused(tmp_path: Path):
    write_model(tmp_path, replace(SEQUENCE, vector=8).to_json())
    with pytest.raises(UserError, match=r"l\.safetensors do not fit") as caught:
        load_model(tmp_path)
    assert caught.value.code is Code.MODEL_BAD


def test_each_vertebra_has_probabilities_that_sum_to_one():
    torch.manual_seed(1)
    found = level_stage(*scan(), LevelSequenceNet(SEQUENCE).eval())
    assert found.numbers == (1, 2, 3)
    assert found.levels.shape == (3, len(NETWORK_LEVELS))
    np.testing.assert_allclose(found.levels.sum(axis=1), 1)
    assert ((found.no_vertebra > 0) & (found.no_vertebra < 1)).all()
    assert found.witnesses.shape == (3, 5)


def test_a_scan_without_vertebrae_has_no_evidence():
    image, numbers = scan()
    empty = numbers.with_array(np.zeros_like(numbers.array))
    assert level_stage(image, empty, LevelSequenceNet(SEQUENCE).eval()).numbers == ()
