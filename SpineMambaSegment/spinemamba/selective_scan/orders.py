"""In which order a scan visits the tokens of a 3-D grid."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import Tensor

Grid = tuple[int, ...]


@dataclass(frozen=True)
class Order:
    """An order of the tokens of a (D, H, W) grid, which lie in raster order.

    Attributes:
        axes: The grid's axes, from the one that changes slowest to the one that changes fastest.
        reverse: Whether to begin at the end.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    reverse: bool = False

    def arrange(self, x: Tensor, grid: Grid) -> Tensor:
        """Return tokens (batch, L, ...) as they are visited; a copy unless that is how they lie."""
        if self.axes != (0, 1, 2):
            axes = [1 + axis for axis in self.axes]
            x = x.reshape(x.shape[0], *grid, -1).permute(0, *axes, 4).reshape(x.shape)
        return x.flip(1) if self.reverse else x

    def restore(self, x: Tensor, grid: Grid) -> Tensor:
        """Undo `arrange`."""
        x = x.flip(1) if self.reverse else x
        visited = tuple(grid[axis] for axis in self.axes)
        back = tuple(self.axes.index(axis) for axis in range(3))
        return Order(back).arrange(x, visited)  # type: ignore[arg-type]

    def walk(self, grid: Grid) -> list[int]:
        """Return the order as index strides, with which nothing needs to be copied.

        Returns:
            n0, n1, n2, s0, s1, s2, first: step (i0 n1 + i1) n2 + i2 visits token
            first + i0 s0 + i1 s1 + i2 s2.
        """
        strides = (grid[1] * grid[2], grid[2], 1)
        lengths = [grid[axis] for axis in self.axes]
        steps = [strides[axis] for axis in self.axes]
        if self.reverse:
            return [*lengths, *(-s for s in steps), prod(grid) - 1]
        return [*lengths, *steps, 0]


RASTER = Order()
REVERSED = Order(reverse=True)
SLICES_LAST = Order(axes=(1, 2, 0))
"""Neighbouring tokens step along z."""

CROSS = tuple(
    Order(axes, reverse) for axes in ((0, 1, 2), (1, 2, 0), (2, 0, 1)) for reverse in (False, True)
)
"""Each axis once as the one that changes fastest, there and back."""
