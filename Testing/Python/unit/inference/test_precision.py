"""Choice of the precision, and closeness of both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from spinemamba.common.errors import UserError
from spinemamba.inference import precision
from spinemamba.inference.model import load_model
from spinemamba.inference.precision import BFLOAT16, CHANGE, FLOAT32, choose_precision, has_bfloat16
from spinemamba.protocol.model_card import DEFAULT, find_model, read_card

CPU = torch.device("cpu")


@pytest.fixture
def card():
    return read_card(find_model(DEFAULT))


@pytest.mark.parametrize(
    ("results", "chosen"),
    [
        ({}, FLOAT32),
        ({"a": {"bone_dice": 0.9}}, FLOAT32),
        ({"a": {CHANGE: 0.0002}, "b": {CHANGE: 0.0009}}, BFLOAT16),
        ({"a": {CHANGE: 0.0002}, "b": {CHANGE: 0.0011}}, FLOAT32),
    ],
)
def test_auto_selects_bfloat16_only_if_dice_scores_were_measured_not_to_change(
    results, chosen, card, monkeypatch
):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    assert choose_precision("auto", CPU, replace(card, results=results)) == chosen


def test_auto_falls_back_to_float32_and_a_request_for_bfloat16_is_refused(card, monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    good = replace(card, results={"a": {CHANGE: 0.0}})
    assert choose_precision("auto", CPU, good) == FLOAT32
    with pytest.raises(UserError, match="'cpu' does not support bfloat16"):
        choose_precision(BFLOAT16, CPU, good)


def test_an_old_torch_without_the_hardware_checks_gets_float32(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not has_bfloat16(CPU)


@pytest.mark.skipif(not has_bfloat16(CPU), reason="this processor has no bfloat16")
def test_logits_in_bfloat16_are_close_to_those_in_float32():
    folder = find_model(DEFAULT)
    generator = torch.Generator().manual_seed(0)
    logits = []
    for name in (FLOAT32, BFLOAT16):
        model = load_model(folder, "cpu", name).coarse
        assert model.precision == name
        image = torch.randn(1, 1, *model.patch_vox, generator=generator.manual_seed(0))
        logits.append(model.logits(image))
    full, half = logits
    assert half.dtype == torch.float32
    assert not torch.equal(full, half)
    assert (half - full).norm() / full.norm() < 0.05
