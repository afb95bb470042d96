"""Configuration of the network, stored with the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from spinemamba.anatomy.labels import NETWORK_LEVELS
from spinemamba.common.errors import Code
from spinemamba.common.json_schema import JsonFormat, Limits

_Triple = tuple[int, int, int]

CORE = len(NETWORK_LEVELS) + 1
"""Output channel of the body core, after background and the levels and before the offsets."""

OFFSET_UNIT_VOX = 8.0
"""Unit, in voxels, of the predicted offsets (z, y, x) to the centre of a vertebra's core. Offsets
are then a few units at most, like other outputs."""

_MAX_NUMBER = 4096
"""Largest valid number in a file; a network with larger ones would not fit into memory."""

_Count = Annotated[int, Limits(1, _MAX_NUMBER)]
_CountOrZero = Annotated[int, Limits(0, _MAX_NUMBER)]


@dataclass(frozen=True)
class NetworkConfig:
    """Architecture of the network.

    The origin of each setting is given in brackets: [paper] the public abstract and highlights of
    SpineMamba, [LightM] the text or code of LightM-UNet, whose RVM layers SpineMamba follows by its
    wording, [SPM] You et al., whose module the shape prior derives from, [Mamba] the state-space
    model, [ours] settings that no public source gives, or that are chosen for speed.

    Attributes:
        patch_vox: Size (z, y, x) of the input in training and inference, which determines the grid
            of the shape prior [SPM].
        stem_stride: 1, or 2 to fold 2x2x2 voxels into channels first [ours]. A stage at full
            resolution takes two thirds of the time of a U-Net on a CPU.
        channels: Channels of each stage, fine to coarse [ours, as nnU-Net]. Multiples of 16 are
            twice as fast.
        encoder_rvm: Number of residual visual Mamba layers of each encoder stage. State-space
            layers are in encoder and decoder [paper]; number and position are [ours].
        decoder_rvm: The same for the decoder, without the coarsest stage.
        vsp_stages: Stages whose skip connection has a shape prior [SPM]; the prior is passed from
            the coarsest to the finest of them.
        prior_stride: Voxels per cell of the shape prior's grid, along each axis [SPM].
        prior_heads: Attention heads in the self-update of the shape prior [SPM].
        state_size: States S of each inner channel of the scan [Mamba: 16].
        expand: Inner channels per channel of a Mamba layer [Mamba].
        scan: Scan orders: "raster" [LightM: the only order in published RVM code]; "bi", raster
            and reversed; "tri", raster, reversed and slices last, as SegMamba; "cross", each axis
            once as the fastest in both directions, the cross scan of VMamba in three dimensions.
        local: Short-range mixing before the scan: "conv1d" along the tokens [Mamba], or "conv3d"
            on the grid [ours, as MedSegMamba].
        skip_scale: Scale of the residual of an RVM: one number per "channel" [LightM, text] or one
            "scalar" [LightM, code].
        share_norm: True to use the first norm of an RVM as the last one, too [LightM, code; the
            text has two norms].
        post_norm: True to normalise the output of the scans before the gate [LightM, text; not in
            public RVM code].
        tied_decay: True to tie the decay rates of an inner channel's states to multiples of one
            parameter [ours]. Mamba is initialised like this, and there are fewer parameters.
        affinity_scale: "sqrt_l" keeps the affinity of the shape prior soft [ours]; "sqrt_n" is the
            published form [SPM], which is nearly one-hot at the start of the training.
        rvm: False to remove every RVM (ablation).
        vsp: False to use the skip connections without shape prior (ablation).
        offsets: True to predict the offset from each voxel to the centre of its vertebra's core.
        architecture: "spinemamba", or "dynunet" for MONAI's DynUNet, a network for comparison,
            which uses the patch and the outputs only.
        detail_channels: Channels of a small stage at full resolution that corrects background, core
            and offsets if ``stem_stride`` is 2; 0 to omit the stage.
    """

    patch_vox: tuple[_Count, _Count, _Count] = (64, 64, 64)
    stem_stride: _Count = 2
    channels: tuple[_Count, ...] = (32, 64, 96, 128)
    encoder_rvm: tuple[_CountOrZero, ...] = (0, 1, 1, 2)
    decoder_rvm: tuple[_CountOrZero, ...] = (0, 0, 1)
    vsp_stages: tuple[_CountOrZero, ...] = (1, 2)
    prior_stride: _Count = 16
    prior_heads: _Count = 4
    state_size: _Count = 8
    expand: _Count = 2
    scan: Literal["raster", "bi", "tri", "cross"] = "bi"
    local: Literal["conv1d", "conv3d"] = "conv1d"
    skip_scale: Literal["channel", "scalar"] = "channel"
    share_norm: bool = False
    post_norm: bool = False
    tied_decay: bool = False
    affinity_scale: Literal["sqrt_l", "sqrt_n"] = "sqrt_l"
    rvm: bool = True
    vsp: bool = True
    offsets: bool = False
    detail_channels: _CountOrZero = 0
    architecture: Literal["spinemamba", "dynunet"] = "spinemamba"

    def __post_init__(self) -> None:
        stages = len(self.channels)
        if len(self.encoder_rvm) != stages or len(self.decoder_rvm) != stages - 1:
            raise ValueError(f"{stages} stages need {stages} encoder and {stages - 1} decoder RVMs")
        step = self.stem_stride * 2 ** (stages - 1)
        for length in self.patch_vox:
            if length % step or length % self.prior_stride:
                raise ValueError(
                    f"patch {self.patch_vox} is not a multiple of {step} and {self.prior_stride}"
                )
        if math.prod(self.prior_grid) % self.prior_heads:
            raise ValueError(f"{self.prior_heads} heads do not divide the grid {self.prior_grid}")

    @property
    def prior_grid(self) -> _Triple:
        """Size (z, y, x) of the grid of the shape prior."""
        z, y, x = (n // self.prior_stride for n in self.patch_vox)
        return z, y, x

    @property
    def prior_classes(self) -> int:
        """Number N of classes of the shape prior: background and each level."""
        return len(NETWORK_LEVELS) + 1

    @property
    def outputs(self) -> int:
        """Number of output channels: background, each level, body core, and the offsets."""
        return CORE + 1 + (3 if self.offsets else 0)

    @property
    def scan_orders(self) -> int:
        """Number K of scan orders."""
        return {"raster": 1, "bi": 2, "tri": 3, "cross": 6}[self.scan]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-compatible dictionary, the inverse of `from_json`."""
        return NETWORK_CONFIG.to_json(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> NetworkConfig:
        """Return the configuration given by a dictionary.

        Raises:
            ValueError: If a name is unknown or a value has a wrong type or range.
        """
        return NETWORK_CONFIG.parse(values)


NETWORK_CONFIG = JsonFormat(
    NetworkConfig,
    "the configuration of a network",
    "Choose another model.",
    Code.MODEL_BAD,
    # Weights of earlier versions have fewer settings; the defaults are what they were made with.
    defaults=True,
)
"""Format of the configuration of a network, a part of other files."""

FINE = NetworkConfig(offsets=True, detail_channels=16)
"""Fine network of the bundled model, at 1.5 mm: a cube of 96 mm."""

COARSE = NetworkConfig(patch_vox=(80, 48, 48), prior_heads=3)
"""Coarse network of the bundled model, at 4 mm: 320 x 192 x 192 mm, which shows ribs, lungs and
pelvis."""

FULL = NetworkConfig(
    stem_stride=1,
    channels=(16, 32, 64, 96, 128),
    encoder_rvm=(0, 0, 1, 1, 2),
    decoder_rvm=(0, 0, 0, 1),
    vsp_stages=(2, 3),
    offsets=True,
)
"""Fine network with a whole stage at full resolution: closer outlines at twice the time."""

BASE = NetworkConfig(
    patch_vox=(128, 160, 96),
    stem_stride=1,
    channels=(32, 64, 128, 256, 320),
    encoder_rvm=(0, 1, 2, 2, 4),
    decoder_rvm=(0, 1, 1, 1),
    vsp_stages=(1, 2, 3),
    prior_heads=6,
    state_size=16,
    scan="raster",
    offsets=True,
)
"""Reconstruction of the network of the paper. Training it requires a GPU."""

SAGITTAL_COARSE = NetworkConfig(
    patch_vox=(80, 48, 16),
    stem_stride=1,
    channels=(16, 24, 32, 48),
    encoder_rvm=(0, 0, 1, 2),
    vsp_stages=(2,),
    prior_heads=3,
)
"""Coarse network of the bundled MR model, at 4 mm: 64 mm wide, as a sagittal stack."""

SAGITTAL_FINE = NetworkConfig(
    patch_vox=(96, 64, 32),
    stem_stride=1,
    channels=(16, 24, 32, 48, 48),
    encoder_rvm=(0, 0, 0, 1, 2),
    decoder_rvm=(0, 0, 0, 1),
    vsp_stages=(3,),
    offsets=True,
)
"""Fine network of the bundled MR model, at 1.5 mm."""

SIZES = {"tiny coarse": COARSE, "tiny fine": FINE, "base": BASE}
"""Named sizes. The bundled model consists of both tiny networks, which run on a laptop."""

TRAINED = {
    ("tiny", "coarse"): COARSE,
    ("tiny", "fine"): FINE,
    ("full", "coarse"): COARSE,
    ("full", "fine"): FULL,
    ("sagittal", "coarse"): SAGITTAL_COARSE,
    ("sagittal", "fine"): SAGITTAL_FINE,
    ("base", "coarse"): replace(
        BASE, patch_vox=COARSE.patch_vox, prior_heads=COARSE.prior_heads, offsets=False
    ),
    ("base", "fine"): BASE,
}
"""Configurations to train, by size and stage. A coarse `base` has the patch of `COARSE`."""
