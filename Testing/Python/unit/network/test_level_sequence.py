"""The level network: what the level of a vertebra depends on."""

from __future__ import annotations

import pytest
import torch

from spinemamba.imaging.vertebra_crops import CROP_VOX
from spinemamba.network.level_sequence import (
    NO_VERTEBRA,
    WITNESSES,
    LevelNetworkConfig,
    LevelSequenceNet,
    neighbour_gaps,
)

COUNT = 5


def network(layers: int, temperature: float = 1.0, readers: int = 0) -> LevelSequenceNet:
    torch.manual_seed(3)
    config = LevelNetworkConfig((8, 16, 16), 16, layers, 2, temperature, reader_layers=readers)
    return LevelSequenceNet(config).eval()


def spine() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    crops = torch.randn(COUNT, 4, *CROP_VOX, generator=generator)
    centres = torch.arange(COUNT)[:, None] * torch.tensor([[-25.0, 0.0, 0.0]])
    return crops, neighbour_gaps(centres)


def changed_rows(layers: int, row: int) -> set[int]:
    """Return the vertebrae whose levels change if one crop changes."""
    net, (crops, gaps) = network(layers), spine()
    with torch.inference_mode():
        before = net(crops, gaps).levels
        crops[row] = -crops[row]
        after = net(crops, gaps).levels
    return {k for k in range(COUNT) if not torch.allclose(before[k], after[k], atol=1e-5)}


@pytest.mark.parametrize("row", [0, 2, COUNT - 1])
def test_the_level_of_each_vertebra_depends_on_all_others(row: int):
    assert changed_rows(layers=2, row=row) == set(range(COUNT))


def test_without_layers_each_vertebra_is_read_alone():
    assert changed_rows(layers=0, row=2) == {2}


def test_a_single_vertebra_has_levels_and_witnesses():
    crops, _ = spine()
    logits = network(2)(crops[:1], neighbour_gaps(torch.zeros(1, 3)))
    assert logits.levels.shape == (1, NO_VERTEBRA + 1)
    assert logits.witnesses.shape == (1, WITNESSES)


def test_the_temperature_divides_the_logits_of_the_levels_only():
    crops, gaps = spine()
    with torch.inference_mode():
        sharp, soft = network(1)(crops, gaps), network(1, 2.0)(crops, gaps)
    torch.testing.assert_close(soft.levels, sharp.levels / 2)
    torch.testing.assert_close(soft.witnesses, sharp.witnesses)


def test_the_levels_read_the_witnesses_and_not_the_reverse():
    net, (crops, gaps) = network(1, readers=1), spine()
    with torch.inference_mode():
        before = net(crops, gaps)
        net.tell.weight.neg_()
        after = net(crops, gaps)
    assert torch.equal(before.witnesses, after.witnesses)
    assert not torch.allclose(before.levels, after.levels, atol=1e-4)


def test_a_witness_tells_the_levels_of_the_other_vertebrae():
    net = network(0, readers=1)
    vectors = torch.randn(COUNT, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = net.read(vectors).levels
        vectors[2] *= -1
        after = net.read(vectors).levels
    assert all(not torch.allclose(before[k], after[k], atol=1e-5) for k in range(COUNT))


def test_weights_without_a_reader_still_load_with_their_configuration():
    older = LevelNetworkConfig((8, 16, 16), 16, 1, 2).to_json()
    del older["reader_layers"]
    net = LevelSequenceNet(LevelNetworkConfig.from_json(older))
    net.load_state_dict(network(1).state_dict())
    assert not any(name.startswith(("tell", "reader")) for name in net.state_dict())
    with pytest.raises(RuntimeError, match="Missing key"):
        network(1, readers=1).load_state_dict(net.state_dict())


def test_gaps_to_the_neighbours_are_those_above_and_below():
    gaps = neighbour_gaps(torch.tensor([[0.0, 0, 0], [-25.0, 0, 0], [-75.0, 0, 0]]))
    wanted = [[0, 1, 0, 1], [1, 2, 1, 1], [2, 0, 1, 0]]
    torch.testing.assert_close(gaps, torch.tensor(wanted).float())


def test_a_configuration_is_read_as_it_was_written():
    config = LevelNetworkConfig((8, 16, 32), 64, 1, 4, 1.7)
    assert LevelNetworkConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"channels": [8, 16]}, "2 stages"),
        ({"layers": -1}, "layers"),
        ({"reader_layers": 2}, "reader_layers"),
        ({"temperature": 0.0}, "temperature"),
        ({"depth": 3}, "depth"),
    ],
)
def test_a_wrong_configuration_is_refused(wrong: dict, reason: str):
    with pytest.raises(ValueError, match=reason):
        LevelNetworkConfig.from_json(LevelNetworkConfig().to_json() | wrong)
