"""Scan orders: the sequence in which a scan visits the tokens of a 3-D grid."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import Tensor

Grid = tuple[int, ...]


@dataclass(frozen=True)
class Order:
    """An order of the tokens of a (D, H, W) grid that are stored in raster order.

    Attributes:
        axes: Axes of the grid, from the slowest to the fastest.
        reverse: True to start at the last token.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    reverse: bool = False

    def arrange(self, x: Tensor, grid: Grid) -> Tensor:
        """Return tokens (batch, L, ...) in scan order; a copy unless it is the raster order."""
        if self.axes != (0, 1, 2):
            axes = [1 + axis for axis in self.axes]
            x = x.reshape(x.shape[0], *grid, -1).permute(0, *axes, 4).reshape(x.shape)
        return x.flip(1) if self.reverse else x

    def restore(self, x: Tensor, grid: Grid) -> Tensor:
        """Return tokens to raster order: the inverse of `arrange`."""
        x = x.flip(1) if self.reverse else x
        arranged_grid = tuple(grid[axis] for axis in self.axes)
        inverse = tuple(self.axes.index(axis) for axis in range(3))
        return Order(inverse).arrange(x, arranged_grid)  # type: ignore[arg-type]

    def strides(self, grid: Grid) -> list[int]:
        """Return the order as strides, with which tokens can be accessed without copies.

        Returns:
            Seven integers n0, n1, n2, s0, s1, s2, first: step (i0 n1 + i1) n2 + i2 of the scan
            visits token first + i0 s0 + i1 s1 + i2 s2.
        """
        raster = (grid[1] * grid[2], grid[2], 1)
        lengths = [grid[axis] for axis in self.axes]
        steps = [raster[axis] for axis in self.axes]
        if self.reverse:
            return [*lengths, *(-s for s in steps), prod(grid) - 1]
        return [*lengths, *steps, 0]


RASTER = Order()
REVERSED = Order(reverse=True)
SLICES_LAST = Order(axes=(1, 2, 0))
"""z is the fastest axis."""

CROSS = tuple(
    Order(axes, reverse) for axes in ((0, 1, 2), (1, 2, 0), (2, 0, 1)) for reverse in (False, True)
)
"""Each axis once as the fastest, in both directions, as the cross scan of VMamba."""
