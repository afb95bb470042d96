"""Options of exported surfaces."""

from __future__ import annotations

from dataclasses import dataclass

FORMATS = ("stl", "ply", "obj", "glb")
SPACES = ("LPS", "RAS")
SMOOTHING = 0.4
"""Default strength of the windowed sinc filter. On four masks with slices of 1 to 2.5 mm, it moved
95 % of the surface by less than 0.7 mm; spheres and tori stayed within half a voxel diagonal."""


CRUMBS_MM3 = 100.0
"""Loose pieces below this volume are left out by default: about 6 mm across, they are errors of the
label at the tips of processes and do not hold together in print."""


@dataclass(frozen=True)
class MeshOptions:
    """Options of surfaces and their files.

    Attributes:
        formats: Some of `FORMATS`; one file per vertebra and format.
        smoothing: Strength in [0, 1]; 0 keeps the steps between voxels.
        decimation: Share of triangles to remove, in [0, 0.99]; 0 keeps all.
        joint: Whether touching vertebrae are smoothed together, so that they neither overlap nor
            separate.
        space: One of `SPACES`: the directions of x, y and z.
        crumbs_mm3: Loose pieces of a smaller volume are left out; 0 keeps all.
    """

    formats: tuple[str, ...] = ("stl",)
    smoothing: float = SMOOTHING
    decimation: float = 0.0
    joint: bool = False
    space: str = "LPS"
    crumbs_mm3: float = CRUMBS_MM3

    def __post_init__(self) -> None:
        if not self.formats or not set(self.formats) <= set(FORMATS):
            raise ValueError(f"formats must be some of {', '.join(FORMATS)}, got {self.formats}")
        if not 0 <= self.smoothing <= 1:
            raise ValueError(f"smoothing must be in [0, 1], got {self.smoothing}")
        if not 0 <= self.decimation <= 0.99:
            raise ValueError(f"decimation must be in [0, 0.99], got {self.decimation}")
        if not self.crumbs_mm3 >= 0:
            raise ValueError(f"crumbs_mm3 must not be negative, got {self.crumbs_mm3}")
        if self.space not in SPACES:
            raise ValueError(f"space must be LPS or RAS, got {self.space!r}")
