"""Every choice of the network in one frozen place; it travels with the weights."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from spinemamba.anatomy.labels import NETWORK_LEVELS

Triple = tuple[int, int, int]

CORE = len(NETWORK_LEVELS) + 1
"""Channel of the body core; background and the levels come before it, offsets after it."""

OFFSET_UNIT_VOX = 8.0
"""Offsets z, y, x to the centre of a vertebra's core are given in this unit: a few units at most,
as other outputs."""

MAY_BE_ZERO = ("encoder_rvm", "decoder_rvm", "vsp_stages", "detail_channels")
MOST = 4096
"""More of anything is a mistake in a file: a network of it would fit into no memory."""


@dataclass(frozen=True)
class NetworkConfig:
    """Shape and switches of the network.

    Behind each attribute stands where it comes from: [paper] the public abstract and highlights
    of SpineMamba, [LightM] LightM-UNet's text or code, whose wording its RVM layers re-use, [SPM]
    You et al., from whose module its shape prior derives, [Mamba] the state-space model itself,
    [ours] what no public source says or what the starter's speed asks for.

    Attributes:
        patch_vox: Window (z, y, x) for training and inference; the prior grid is tied to it [SPM].
        stem_stride: 1, or 2 to fold 2x2x2 voxels into channels first [ours]. A full-resolution
            stage is two thirds of a U-Net's cost on a CPU.
        channels: Channels of each stage, fine to coarse [ours, as nnU-Net]; multiples of 16 are
            twice as fast.
        encoder_rvm: Residual visual Mamba layers of each encoder stage: state-space layers in
            encoder and decoder [paper], how many and where [ours].
        decoder_rvm: The same for the decoder, without the coarsest stage.
        vsp_stages: Stages whose skip connection goes through a shape prior [SPM]; the prior is
            chained from the coarsest to the finest of them.
        prior_stride: Voxels of the patch per cell of the prior's grid, per axis [SPM].
        prior_heads: Attention heads of the prior's self-update [SPM].
        state_size: States S of each inner channel of the scan [Mamba: 16].
        expand: Inner channels per channel of a Mamba layer [Mamba].
        scan: Scan orders: "raster" [LightM: the only order of published RVM code], "bi" (and
            reversed), "tri" (raster, reversed, and slices last; as SegMamba), "cross" (each axis
            once as the fastest, both ways; VMamba's cross scan carried to three axes).
        local: Short-range mixing before the scan: "conv1d" along the tokens [Mamba], or "conv3d"
            on the grid [ours, as MedSegMamba].
        skip_scale: Scale of an RVM's residual: one number per "channel" [LightM's text] or one
            "scalar" [LightM's code].
        share_norm: True uses an RVM's first norm again as its last [LightM's code; its text has
            two].
        post_norm: True normalises what the scans give before it is gated [LightM's text; no
            public RVM code does].
        tied_decay: True ties the decay rates of an inner channel's states to multiples of one
            number [ours]: as Mamba starts, and fewer numbers to learn.
        affinity_scale: "sqrt_l" keeps the prior's affinity soft [ours]; "sqrt_n" is the published
            form [SPM], near one-hot from the start.
        rvm: False replaces every RVM by nothing (ablation).
        vsp: False passes every skip as it is (ablation).
        offsets: Whether the answer also says where each voxel's vertebra has its centre.
        detail_channels: Channels of a slim stage at full resolution that corrects bone, core and
            offsets where ``stem_stride`` is 2; 0 leaves it out.
    """

    patch_vox: Triple = (64, 64, 64)
    stem_stride: int = 2
    channels: tuple[int, ...] = (32, 64, 96, 128)
    encoder_rvm: tuple[int, ...] = (0, 1, 1, 2)
    decoder_rvm: tuple[int, ...] = (0, 0, 1)
    vsp_stages: tuple[int, ...] = (1, 2)
    prior_stride: int = 16
    prior_heads: int = 4
    state_size: int = 8
    expand: int = 2
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
    detail_channels: int = 0

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
    def prior_grid(self) -> Triple:
        """Cells of the shape prior along z, y, x."""
        z, y, x = (n // self.prior_stride for n in self.patch_vox)
        return z, y, x

    @property
    def prior_classes(self) -> int:
        """Classes N of the shape prior: background and each level."""
        return len(NETWORK_LEVELS) + 1

    @property
    def outputs(self) -> int:
        """Channels of the answer: background, each level, body core, and the offsets."""
        return CORE + 1 + (3 if self.offsets else 0)

    @property
    def scan_orders(self) -> int:
        """Number K of scan orders."""
        return {"raster": 1, "bi": 2, "tri": 3, "cross": 6}[self.scan]

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> NetworkConfig:
        """Return the configuration in a dictionary.

        Raises:
            ValueError: If a name is unknown or a value does not fit.
        """
        if unknown := set(values) - {f.name for f in fields(cls)}:
            raise ValueError(f"unknown network settings: {sorted(unknown)}")
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        kinds = get_type_hints(cls)
        for name, value in values.items():
            least = 0 if name in MAY_BE_ZERO else 1
            if not _is_of(kinds[name], value, least):
                raise ValueError(f"the network setting {name} cannot be {value!r}")
        return cls(**values)


def _is_of(kind: Any, value: Any, least: int) -> bool:
    """Return whether a value is of a field's type, its numbers from ``least`` to `MOST`."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        right = isinstance(value, tuple) and (kind != Triple or len(value) == 3)
        return right and all(_is_of(int, item, least) for item in value)
    return type(value) is kind and (kind is bool or least <= value <= MOST)


FINE = NetworkConfig(offsets=True, detail_channels=16)
"""Starter, 1.5 mm: a cube of 96 mm around a piece of the spine."""

COARSE = NetworkConfig(patch_vox=(80, 48, 48), prior_heads=3)
"""Starter, 4 mm: 320 x 192 x 192 mm, enough to see ribs, lungs and pelvis."""

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
"""The reconstruction of the paper's network, for whoever has a GPU to train it."""

SIZES = {"tiny coarse": COARSE, "tiny fine": FINE, "base": BASE}
"""The named sizes. Both tiny ones make up the starter model, which has to run on a laptop."""

TRAINED = {
    ("tiny", "coarse"): COARSE,
    ("tiny", "fine"): FINE,
    ("base", "coarse"): replace(
        BASE, patch_vox=COARSE.patch_vox, prior_heads=COARSE.prior_heads, offsets=False
    ),
    ("base", "fine"): BASE,
}
"""What can be trained, by size and pass; a coarse `base` sees as much as the starter does."""
