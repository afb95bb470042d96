"""Bit-packed voxels of one segment, used by actions and undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Mask:
    """Set of voxels on the grid of a segmentation; equal sets give equal masks.

    Attributes:
        first: First voxel k, j, i of the bounding box.
        shape: Size of the bounding box along k, j, i; zeros if the mask is empty.
        packed: Voxels of the bounding box, eight per byte (`numpy.packbits`).
    """

    first: tuple[int, int, int]
    shape: tuple[int, int, int]
    packed: bytes

    @classmethod
    def of(cls, inside: np.ndarray, first: Sequence[int] = (0, 0, 0)) -> Mask:
        """Return the mask of an array.

        Args:
            inside: bool (k, j, i).
            first: Grid index k, j, i of the array's first voxel.
        """
        spans = []
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            hit = np.flatnonzero(inside.any(axis=others))
            if not len(hit):
                return EMPTY
            spans.append(slice(int(hit[0]), int(hit[-1]) + 1))
        part = inside[tuple(spans)]
        k, j, i = (int(f) + s.start for f, s in zip(first, spans, strict=True))
        return cls((k, j, i), part.shape, np.packbits(part).tobytes())

    @property
    def box(self) -> Box:
        """The bounding box; bounds may be negative, because Slicer's extents may be."""
        k, j, i = (slice(f, f + n) for f, n in zip(self.first, self.shape, strict=True))
        return k, j, i

    def array(self) -> np.ndarray:
        """Return the voxels of the bounding box as a new array, bool (k, j, i)."""
        bits = np.frombuffer(self.packed, np.uint8)
        return np.unpackbits(bits, count=int(np.prod(self.shape))).reshape(self.shape).astype(bool)

    def inBox(self, box: Box) -> np.ndarray:
        """Return the voxels of another box as a new array, bool (k, j, i)."""
        out = np.zeros([s.stop - s.start for s in box], bool)
        common = _meet(self.box, box)
        if common is not None:
            out[relativeTo(common, box)] = self.array()[relativeTo(common, self.box)]
        return out

    def count(self) -> int:
        """Return the number of voxels."""
        return _countAndMean(self)[0]

    def mean(self) -> tuple[float, float, float]:
        """Return the mean k, j, i of the voxels; NaN if the mask is empty."""
        return _countAndMean(self)[1]

    def minus(self, other: Mask) -> Mask:
        """Return the voxels that are not in another mask."""
        if _meet(self.box, other.box) is None:
            return self
        removed = other.inBox(self.box)
        inside = self.array()
        return Mask.of(inside & ~removed, self.first) if (inside & removed).any() else self

    def overlap(self, other: Mask) -> int:
        """Return the number of voxels in both masks."""
        common = _meet(self.box, other.box)
        if common is None:
            return 0
        return int(np.count_nonzero(self.inBox(common) & other.inBox(common)))


EMPTY = Mask((0, 0, 0), (0, 0, 0), b"")


@lru_cache(maxsize=512)
def _countAndMean(mask: Mask) -> tuple[int, tuple[float, float, float]]:
    """Return number and mean of the voxels, from the sums along each axis."""
    if mask == EMPTY:
        return 0, (float("nan"),) * 3
    inside, means = mask.array(), []
    for axis, start in enumerate(mask.first):
        others = tuple(a for a in range(3) if a != axis)
        counts = np.count_nonzero(inside, axis=others)
        means.append(float(np.average(np.arange(len(counts)), weights=counts)) + start)
    return int(counts.sum()), (means[0], means[1], means[2])


def _meet(one: Box, other: Box) -> Box | None:
    """Return the intersection of two boxes; None if it is empty."""
    spans = [
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    ]
    if any(span.start >= span.stop for span in spans):
        return None
    return spans[0], spans[1], spans[2]


def around(boxes: Sequence[Box], margin: int = 0) -> Box:
    """Return the smallest box that contains all boxes, enlarged by a margin in voxels."""
    k, j, i = (
        slice(
            min(box[axis].start for box in boxes) - margin,
            max(box[axis].stop for box in boxes) + margin,
        )
        for axis in range(3)
    )
    return k, j, i


def relativeTo(box: Box, origin: Box) -> Box:
    """Return a box relative to the first voxel of another box."""
    k, j, i = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, origin, strict=True))
    return k, j, i


def dice(one: Mask, other: Mask) -> float:
    """Return the Dice coefficient of two masks; NaN if both are empty."""
    total = one.count() + other.count()
    return 2 * one.overlap(other) / total if total else float("nan")
