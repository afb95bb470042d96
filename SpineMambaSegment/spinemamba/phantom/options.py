"""What kind of phantom is wanted."""

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
"""Every level that some spine has, top to bottom."""


@dataclass(frozen=True)
class PhantomOptions:
    """What a phantom shows; None means that the seed decides.

    Attributes:
        first: Highest level in view, C1 to Sacrum.
        last: Lowest level in view.
        thoracic: How many thoracic vertebrae: 11, 12 or 13.
        lumbar: How many lumbar vertebrae: 4, 5 or 6.
        spacing_mm: Voxel size along z, y, x.
        modality: "ct" gives Hounsfield units, "mr" arbitrary units.
        scale: Size of the patient, 1 is an average adult.
        kyphosis: Gain of the sagittal curves, 1 is average.
        scoliosis_deg: Cobb angle of the lateral curve.
        density: 0 (osteoporotic) to 1 (young).
        arthrosis: Share of facet joints without a gap.
        noise_hu: Standard deviation of the noise.
        cut: Whether the field of view cuts through the first and the last level, with the rest
            of the patient beyond it. Otherwise the levels are whole and no others exist.
        beyond_mm: How much further a view that is cut reaches above and below. Above C1 lies the
            head, below the sacrum the pelvis.
        margin_mm: Room beyond the levels along z; in plane too if ``tight``.
        tight: Whether the image is cropped to the spine in plane. Otherwise it holds the body.
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
        """Every level of this patient, top to bottom."""
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


VIEW_FROM_HEAD, VIEW_TO_PELVIS = 0.2, 0.15
"""Share of random views that begin above C1, and that end below the sacrum."""

MOST_BEYOND_MM = (110.0, 60.0)
"""A view from the head begins at most so far above C1, and one to the pelvis ends at most so far
below the middle of the sacrum's view."""


def random_options(
    rng: np.random.Generator, spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
) -> PhantomOptions:
    """Draw what real scans show: part of a spine, now and then with a level too many.

    The number of levels in view follows the VerSe scans (quartiles 8, 11, 18); variants of
    numbering are over-sampled on purpose, because the shapes beside them matter. Views from the
    head are, too: a network that never saw a skull base takes it for C1.
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
    """Return the index of the first level in view, and how far the view reaches beyond the ends."""
    drawn = rng.uniform()
    reach_mm = tuple(float(rng.uniform(0, most_mm)) for most_mm in MOST_BEYOND_MM)
    if drawn < VIEW_FROM_HEAD:
        return 0, (reach_mm[0], reach_mm[1] if last_start == 0 else 0.0)
    if drawn < VIEW_FROM_HEAD + VIEW_TO_PELVIS:
        return last_start, (0.0, reach_mm[1])
    return int(rng.integers(0, last_start + 1)), (0.0, 0.0)
