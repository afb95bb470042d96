"""Level network: reads the vertebrae of a spine as a sequence, from head to tail.

A small convolutional network turns the crop of each vertebra (`imaging.vertebra_crops`) into a
vector. Residual visual Mamba layers then scan the vectors along the spine in both directions, so
that the level of each vertebra depends on all others: on ribs, the sacrum or the dens several
vertebrae away, and on how shapes change from one vertebra to the next. The witnesses (ribs, the
ends of the regions) are read first. A last layer, the reader, scans the vectors together with these
witnesses before the levels are read, so that names and ribs agree.

Symbols: N vertebrae, C channels of the vector of a vertebra.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import Code
from spinemamba.common.json_schema import JsonFormat, Limits
from spinemamba.network.blocks import Conv3d, ResBlock, fold
from spinemamba.network.config import NetworkConfig
from spinemamba.network.rvm import RVM

NO_VERTEBRA = len(NETWORK_LEVELS)
"""Output of an instance that is not a vertebra, after those of the levels."""

RIB_LEFT, RIB_RIGHT, FIRST_RIB, LAST_RIB, ABOVE_SACRUM = range(5)
"""Witnesses: a rib on either side, the first and the last vertebra with ribs, and the last one
above the sacrum."""

WITNESSES = 5

GAP_UNIT_MM = 25.0
"""Unit of the distances between neighbours, which are then of the order of one."""

_STEP_SIZES = (0.03, 0.3)
"""Range of the initial step sizes of the scans."""

_STATE_GAIN = 8.0
"""Factor of the initial input and output weights of the state, and of the projection after it."""

_WITNESS_GAIN = 0.5
"""Factor of the initial weights of the witnesses: at first, the crops matter more."""

_INPUTS = 4
_STRIDE = 2
_COORDINATES = 3


@dataclass(frozen=True)
class LevelNetworkConfig:
    """Architecture of the level network.

    Attributes:
        channels: Channels of the convolutions at 4, 8 and 16 mm.
        vector: Channels C of the vector of a vertebra.
        layers: Number of residual visual Mamba layers along the spine; 0 to look at each vertebra
            alone (ablation).
        state_size: States of each inner channel of the scan.
        temperature: Divisor of the logits of the levels, fitted to chains outside of the training.
        modalities: Modalities of the images that it has learned from; those of other images keep
            the levels of the voxels.
        reader_layers: Number of such layers that read the witnesses before the levels: 1, or 0 in
            networks of earlier versions, which read levels and witnesses at once.
    """

    channels: tuple[Annotated[int, Limits(1, 1024)], ...] = (24, 48, 96)
    vector: Annotated[int, Limits(1, 1024)] = 128
    layers: Annotated[int, Limits(0, 16)] = 2
    state_size: Annotated[int, Limits(1, 256)] = 8
    temperature: Annotated[float, Limits(0.01, 100.0)] = 1.0
    modalities: tuple[Literal["ct", "mr"], ...] = ("ct",)
    reader_layers: Annotated[int, Limits(0, 1)] = 0

    def __post_init__(self) -> None:
        if len(self.channels) != 3:
            raise ValueError(f"{len(self.channels)} stages instead of 3")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-compatible dictionary, the inverse of `from_json`."""
        return LEVEL_NETWORK_CONFIG.to_json(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> LevelNetworkConfig:
        """Return the configuration given by a dictionary.

        Raises:
            ValueError: If a name is unknown or a value has a wrong type or range.
        """
        return LEVEL_NETWORK_CONFIG.parse(values)


TRAINED_LEVELS = LevelNetworkConfig(reader_layers=1)
"""Configuration of new level networks."""

LEVEL_NETWORK_CONFIG = JsonFormat(
    LevelNetworkConfig,
    "the configuration of a level network",
    "Choose another model.",
    Code.MODEL_BAD,
    # Networks of earlier versions have fewer settings.
    defaults=True,
)
"""Format of the configuration, a part of other files."""


class LevelLogits(NamedTuple):
    """Outputs for the vertebrae of one spine.

    Attributes:
        levels: Each of `NETWORK_LEVELS` and `NO_VERTEBRA`, (N, 26).
        witnesses: `RIB_LEFT` to `ABOVE_SACRUM`, (N, 5).
    """

    levels: Tensor
    witnesses: Tensor


class LevelSequenceNet(nn.Module):
    """Level network; see the module."""

    def __init__(self, config: LevelNetworkConfig):
        super().__init__()
        self.config = config
        first, second, third = config.channels
        self.stem = nn.Sequential(
            Conv3d(_INPUTS * _STRIDE**3 + _COORDINATES, first, 3, padding=1, bias=False),
            nn.InstanceNorm3d(first, affine=True),
            nn.LeakyReLU(0.01),
        )
        self.body = nn.Sequential(
            ResBlock(first, second, 2), ResBlock(second, third, 2), ResBlock(third, third)
        )
        # Mean and maximum: how much of something there is, and whether it is anywhere.
        self.vector = nn.Linear(2 * third + _GAPS, config.vector)
        scan = NetworkConfig(scan="bi", state_size=config.state_size)
        self.sequence = nn.ModuleList(RVM(config.vector, scan) for _ in range(config.layers))
        for layer in self.sequence:
            _open_state(layer)
        if config.reader_layers:
            self.tell = nn.Linear(WITNESSES, config.vector, bias=False)
            self.reader = RVM(config.vector, scan)
            _open_state(self.reader)
            with torch.no_grad():
                self.tell.weight *= _WITNESS_GAIN
        self.head = nn.Sequential(
            nn.LayerNorm(config.vector),
            nn.Linear(config.vector, NO_VERTEBRA + 1 + WITNESSES),
        )

    def forward(self, crops: Tensor, gaps: Tensor) -> LevelLogits:
        """Map the crops of one spine to levels and witnesses.

        Args:
            crops: (N, 4, D, H, W), from top to bottom.
            gaps: Result of `neighbour_gaps`, (N, 4).
        """
        return self.read(self.look(crops, gaps))

    def look(self, crops: Tensor, gaps: Tensor) -> Tensor:
        """Return the vector of each crop by itself, (N, C)."""
        x = fold(crops, _STRIDE)
        x = self.stem(torch.cat([x, _coordinates(x)], dim=1))
        x = self.body(x).float()
        pooled = torch.cat([x.mean(dim=(2, 3, 4)), x.amax(dim=(2, 3, 4)), gaps], dim=1)
        return self.vector(pooled)

    def read(self, vectors: Tensor) -> LevelLogits:
        """Read the vectors (N, C) of one spine from head to tail and back."""
        t = vectors.T[None, :, :, None, None]  # (1, C, N, 1, 1)
        for layer in self.sequence:
            t = t + layer(t)
        levels, witnesses = self._logits(t)
        if self.config.reader_layers:
            # From -1 (certainly not) to 1 (certainly): an unsure witness adds nothing.
            told = self.tell(witnesses.sigmoid() * 2 - 1)
            t = t + told.T[None, :, :, None, None]
            levels, _ = self._logits(t + self.reader(t))
        return LevelLogits(levels / self.config.temperature, witnesses)

    def _logits(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of levels (N, 26) and witnesses (N, 5) of vectors (1, C, N, 1, 1)."""
        levels, witnesses = self.head(t[0, :, :, 0, 0].T).split((NO_VERTEBRA + 1, WITNESSES), dim=1)
        return levels, witnesses


_GAPS = 4


def _open_state(layer: RVM) -> None:
    """Initialise the scans of a layer so that each vertebra reads the others, in place.

    Mamba's step sizes, from 1e-3 to 0.1, and input and output weights are for thousands of tokens,
    which add up in the state. With these, one of twenty vertebrae changes the output of its
    neighbours by less than a percent of its own, and training takes long to find the others.
    """
    low, high = (math.log(size) for size in _STEP_SIZES)
    for direction in layer.mixer.directions:
        step = torch.exp(torch.empty_like(direction.step.bias).uniform_(low, high))
        with torch.no_grad():
            direction.step.bias.copy_(step + torch.log(-torch.expm1(-step)))
            direction.select.weight[layer.mixer.rank :] *= _STATE_GAIN
    with torch.no_grad():
        layer.mixer.project.weight *= _STATE_GAIN


def neighbour_gaps(centres_mm: Tensor) -> Tensor:
    """Return the distances to the neighbours above and below and whether they exist, (N, 4).

    Args:
        centres_mm: Centres of the vertebral bodies from top to bottom, (N, 3).
    """
    step = (centres_mm[1:] - centres_mm[:-1]).norm(dim=1) / GAP_UNIT_MM
    none, exists = centres_mm.new_zeros(1), torch.ones_like(step)
    columns = [torch.cat(pair) for row in (step, exists) for pair in ((none, row), (row, none))]
    return torch.stack(columns, dim=1)


def _coordinates(x: Tensor) -> Tensor:
    """Return the position of each voxel from -1 to 1 along each axis, (N, 3, D, H, W).

    A convolution with norms and pooling alone does not know where in the crop it is.
    """
    axes = [torch.linspace(-1, 1, n, device=x.device, dtype=x.dtype) for n in x.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return grid.expand(x.shape[0], *grid.shape)
