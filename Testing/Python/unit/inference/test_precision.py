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
def test_half_precision_is_taken_where_it_was_measured_to_change_nothing(
    results, chosen, card, monkeypatch
):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    assert choose_precision("auto", CPU, replace(card, results=results)) == chosen


def test_a_processor_without_it_computes_in_full_precision_or_says_that_it_cannot(
    card, monkeypatch
):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    good = replace(card, results={"a": {CHANGE: 0.0}})
    assert choose_precision("auto", CPU, good) == FLOAT32
    with pytest.raises(UserError, match="'cpu' does not compute in bfloat16"):
        choose_precision(BFLOAT16, CPU, good)


def test_an_old_torch_that_does_not_tell_gets_full_precision(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not has_bfloat16(CPU)


@pytest.mark.skipif(not has_bfloat16(CPU), reason="this processor has no bfloat16")
def test_a_network_in_half_precision_answers_nearly_the_same():
    folder = find_model(DEFAULT)
    generator = torch.Generator().manual_seed(0)
    answers = []
    for name in (FLOAT32, BFLOAT16):
        model = load_model(folder, "cpu", name).coarse
        assert model.precision == name
        image = torch.randn(1, 1, *model.patch_vox, generator=generator.manual_seed(0))
        answers.append(model.answer(image))
    full, half = answers
    assert half.dtype == torch.float32
    assert not torch.equal(full, half)
    assert (half - full).norm() / full.norm() < 0.05
