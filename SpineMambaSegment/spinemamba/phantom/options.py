"""Options of phantoms, and their distribution for training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

ALL_LEVELS = (
    *(f"C{k}" for k in range(1, 8)),
    *(f"T{k}" for k in range(1, 14)),
    *(f"L{k}" for k in range(1, 7)),
    "Sacrum",
)
"""All levels that can occur, top to bottom."""


@dataclass(frozen=True)
class PhantomOptions:
    """Contents and appearance of a phantom; None means drawn at random from the seed.

    Attributes:
        first: Highest level in view, C1 to Sacrum.
        last: Lowest level in view.
        thoracic: Number of thoracic vertebrae: 11, 12 or 13.
        lumbar: Number of lumbar vertebrae: 4, 5 or 6.
        spacing_mm: Voxel spacing along z, y, x.
        modality: "ct" gives Hounsfield units, "mr" arbitrary units.
        scale: Size of the patient; 1 is an average adult.
        kyphosis: Gain of the sagittal curves; 1 is average.
        scoliosis_deg: Cobb angle of the lateral curve.
        density: Bone density from 0 (osteoporotic) to 1 (young).
        arthrosis: Share of facet joints without a joint space.
        noise_hu: Standard deviation of the noise.
        cut: Whether the field of view truncates the first and the last level, as in a scan of a
            part of the patient. Otherwise these levels are complete and no others exist.
        beyond_mm: Extension of a truncated field of view above and below: above C1 to the head,
            below the sacrum to the pelvis.
        margin_mm: Margin around the levels along z; also in plane if ``tight``.
        tight: Whether the image is cropped to the spine in plane. Otherwise it contains the whole
            body.
    """

    first: str = "C1"
    last: str = "Sacrum"
    thoracic: int = 12
    lumbar: int = 5
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    modality: Literal["ct", "mr"] = "ct"
    scale: float | None = None
    kyphosis: float | None = None
    scoliosis_deg: float | None = None
    density: float | None = None
    arthrosis: float | None = None
    noise_hu: float | None = None
    cut: bool = False
    beyond_mm: tuple[float, float] = (0.0, 0.0)
    margin_mm: float = 15.0
    tight: bool = False

    def __post_init__(self) -> None:
        if self.thoracic not in (11, 12, 13) or self.lumbar not in (4, 5, 6):
            raise ValueError(f"{self.thoracic} thoracic and {self.lumbar} lumbar vertebrae")
        if min(self.spacing_mm) <= 0:
            raise ValueError(f"spacing must be positive, got {self.spacing_mm}")
        names = self.all_levels
        if self.first not in names or self.last not in names:
            raise ValueError(f"no level {self.first} or {self.last} in this spine")
        if names.index(self.first) > names.index(self.last):
            raise ValueError(f"{self.first} is below {self.last}")

    @property
    def all_levels(self) -> list[str]:
        """All levels of this patient, top to bottom."""
        return [
            *(f"C{k}" for k in range(1, 8)),
            *(f"T{k}" for k in range(1, self.thoracic + 1)),
            *(f"L{k}" for k in range(1, self.lumbar + 1)),
            "Sacrum",
        ]

    @property
    def levels(self) -> list[str]:
        """The levels in view, top to bottom."""
        names = self.all_levels
        return names[names.index(self.first) : names.index(self.last) + 1]


_VIEW_FROM_HEAD, _VIEW_TO_PELVIS = 0.2, 0.15
"""Share of random fields of view that start above C1, and that end below the sacrum."""

_MAX_BEYOND_MM = (110.0, 60.0)
"""Largest extension of a field of view above C1, and below the middle of the sacrum."""


def random_options(
    rng: np.random.Generator, spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
) -> PhantomOptions:
    """Draw options as in real scans: a part of a spine, in some cases with numbering variants.

    The number of levels in view follows the VerSe scans (quartiles 8, 11, 18). Numbering variants
    are over-sampled, because the adjacent shapes matter. Fields of view from the head are, too: a
    network that is trained without a skull base labels it as C1.
    """
    thoracic = int(rng.choice([11, 12, 13], p=[0.06, 0.86, 0.08]))
    lumbar = int(rng.choice([4, 5, 6], p=[0.05, 0.83, 0.12]))
    names = PhantomOptions(thoracic=thoracic, lumbar=lumbar).all_levels
    count = int(np.interp(rng.uniform(), (0, 0.1, 0.25, 0.5, 0.75, 1), (5, 7, 8, 11, 18, 25)))
    last_start = max(0, len(names) - count)
    start, beyond_mm = _ends(rng, last_start)
    scale = rng.uniform(0.55, 0.8) if rng.uniform() < 0.08 else rng.normal(1.0, 0.07)
    return PhantomOptions(
        first=names[start],
        last=names[min(start + count, len(names)) - 1],
        thoracic=thoracic,
        lumbar=lumbar,
        spacing_mm=spacing_mm,
        scale=float(np.clip(scale, 0.55, 1.2)),
        kyphosis=float(rng.uniform(0.4, 1.6)),
        scoliosis_deg=float(min(rng.exponential(10.0), 60.0)),
        cut=beyond_mm != (0.0, 0.0) or bool(rng.uniform() < 0.85),
        beyond_mm=beyond_mm,
    )


def _ends(rng: np.random.Generator, last_start: int) -> tuple[int, tuple[float, float]]:
    """Return the index of the first level in view, and the extension above and below in mm."""
    choice = rng.uniform()
    beyond_mm = tuple(float(rng.uniform(0, max_mm)) for max_mm in _MAX_BEYOND_MM)
    if choice < _VIEW_FROM_HEAD:
        return 0, (beyond_mm[0], beyond_mm[1] if last_start == 0 else 0.0)
    if choice < _VIEW_FROM_HEAD + _VIEW_TO_PELVIS:
        return last_start, (0.0, beyond_mm[1])
    return int(rng.integers(0, last_start + 1)), (0.0, 0.0)
