"""MR with a contrast that is the opposite of what a network has learned."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.local_mean import inverse
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.model import LoadedNetwork
from spinemamba.inference.polarity import coarse_stage_of_either

BODY = np.zeros((16, 16, 16), bool)
BODY[4:12, 4:12, 4:12] = True


class Bright(torch.nn.Module):
    """Voxels above a threshold are bodies; the brighter, the more certain it is."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(patch_vox=(16, 16, 16), outputs=len(NETWORK_LEVELS) + 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        odds = 4 * (image - 0.1)
        levels = odds.expand(-1, len(NETWORK_LEVELS), -1, -1, -1) - 3
        return torch.cat([torch.zeros_like(image), levels, odds], dim=1)


MODEL = LoadedNetwork(Bright(), 4.0, torch.device("cpu"))


def read(inside: float, outside: float):
    """Read an image with one value in a body and another one around it."""
    grid = Geometry(BODY.shape, (4.0,) * 3, (0.0,) * 3, np.eye(3))
    image = Volume(np.where(BODY, inside, outside).astype(np.float32), grid)
    calls = []
    reading = coarse_stage_of_either(image, MODEL, lambda *each: calls.append(each))
    assert calls[-1] == ("locate", 1.0)
    return reading


def test_inverse_exchanges_dark_and_bright_and_leaves_air_and_the_mean():
    image = np.array([-1.0, -0.95, -0.8, -0.2, 0.4, 1.5, 2.0], np.float32)
    expected = [-1.0, -0.95, 0.4, -0.2, -0.8, -1.0, -1.0]
    np.testing.assert_allclose(inverse(image), expected, atol=1e-6)
    assert inverse(image).dtype == np.float32


@pytest.mark.parametrize(
    ("inside", "outside", "inverted"),
    [(0.8, -0.3, False), (-0.8, -0.3, True), (0.7, -0.7, False)],
)
def test_the_more_certain_reading_is_used(inside: float, outside: float, inverted: bool):
    reading = read(inside, outside)
    assert reading.inverted == inverted
    assert (reading.image.array[BODY] > 0).all()
    assert reading.prediction.spine[BODY].all()


def test_a_spine_in_the_inverse_alone_is_found():
    assert read(-0.8, -0.3).inverted


def test_no_spine_in_either_is_an_error():
    with pytest.raises(UserError, match="No spine") as caught:
        read(-0.2, -0.2)
    assert caught.value.code is Code.NO_SPINE
