"""Straightened spine of a scene (curved planar reformation), as two strips of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import slicer

from spinemamba.common.stepwise import Steps, run_to_end
from SpineMambaSegmentLib.Scene.Files import voxelsIn
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf
from SpineMambaSegmentLib.Scene.LabelArray import LABELMAP, labelArray
from SpineMambaSegmentLib.Scene.LazyImport import tool
from SpineMambaSegmentLib.Scene.Ownership import vertebraIds

_AROUND_MM = 70.0
"""Margin around the vertebrae."""

FILL, CHOSEN_FILL = 0.25, 0.6
"""Opacity of a vertebra's colour over the image, and that of the highlighted one."""

_GREY_PERCENTILES = (1.0, 99.5)


@dataclass(frozen=True)
class Strip:
    """One of the two views; row 0 is at the head.

    Attributes:
        grey: Image values in [0, 1], (rows, columns).
        numbers: Number of the vertebra at each pixel, from 1; 0 for none, (rows, columns).
        marks: Row and column of the centre of each vertebral body, by number.
    """

    grey: np.ndarray
    numbers: np.ndarray
    marks: dict[int, tuple[float, float]]


@dataclass(frozen=True)
class Straightened:
    """Both strips.

    Attributes:
        side: View from the right; anterior is on the left.
        front: View from the front; the patient's right is on the left.
        pixel_mm: Pixel size, along the spine and across it.
        ids: Segment IDs; the index plus 1 is the number in the strips.
        names: Names of the segments.
        colors: Red, green, blue, 0 to 1.
    """

    side: Strip
    front: Strip
    pixel_mm: float
    ids: tuple[str, ...]
    names: tuple[str, ...]
    colors: tuple[tuple[float, float, float], ...]

    def segmentAt(self, strip: Strip, row: float, column: float) -> str:
        """Return the ID of the vertebra at a pixel, or of the one with the nearest body."""
        r = min(max(int(row), 0), strip.numbers.shape[0] - 1)
        c = min(max(int(column), 0), strip.numbers.shape[1] - 1)
        number = int(strip.numbers[r, c])
        if not number:
            number = min(strip.marks, key=lambda n: abs(strip.marks[n][0] - row))
        return self.ids[number - 1]


def straightened(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> Straightened | None:
    """Return the straightened views of a segmentation.

    Args:
        volumeNode: The image; under the same transform as the segmentation.
        segmentationNode: Its vertebrae define the centre line.

    Returns:
        The views; None if the image contains no vertebra.

    Raises:
        UserError: If a required package is not installed (DEPENDENCY_MISSING).
    """
    return run_to_end(straightenedInSteps(volumeNode, segmentationNode))


def straightenedInSteps(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> Steps[Straightened | None]:
    """`straightened` in short steps. Discard them when a node changes or leaves the scene."""
    ids, segmentation = tuple(vertebraIds(segmentationNode)), segmentationNode.GetSegmentation()
    bounds = np.zeros(6)
    segmentation.GetBounds(bounds)
    if not ids or bounds[0] > bounds[1]:
        return None
    low, high = bounds[::2] - _AROUND_MM, bounds[1::2] + _AROUND_MM
    array, grid = voxelsIn(volumeNode, gridOf(volumeNode).extentAround(low, high))
    straighten = tool("imaging.straighten").straighten_in_steps
    yield
    numbers = labelArray(segmentationNode, ids, grid)
    image = volumeOf(array, grid)
    yield
    views = yield from straighten(image, image.with_array(numbers))
    if views is None:
        return None
    window = _window(volumeNode, views[0].image)
    strips = [_strip(view, window) for view in views]
    return renamed(Straightened(*strips, views[0].pixel_mm, ids, (), ()), segmentationNode)


def renamed(
    straight: Straightened, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> Straightened:
    """Return the strips with the current names and colours of their segments."""
    segmentation = segmentationNode.GetSegmentation()
    segments = [segmentation.GetSegment(segmentId) for segmentId in straight.ids]
    names = tuple(segment.GetName() for segment in segments)
    return replace(straight, names=names, colors=tuple(tuple(s.GetColor()) for s in segments))


def fingerprint(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> tuple[Any, ...]:
    """Return a value that changes when the strips must be recomputed; ignores names and colours."""
    segmentation = segmentationNode.GetSegmentation()
    display = volumeNode.GetScalarVolumeDisplayNode()
    segments = []
    for segmentId in vertebraIds(segmentationNode):
        segment = segmentation.GetSegment(segmentId)
        image = segment.GetRepresentation(LABELMAP)
        changed = 0 if image is None else image.GetMTime()
        segments.append((segmentId, changed, segment.GetLabelValue()))
    window = () if display is None else (display.GetWindow(), display.GetLevel())
    grid = gridOf(volumeNode)
    image = volumeNode.GetImageData().GetMTime()
    return (volumeNode.GetID(), image, grid.ijkToRas.tobytes(), window, *segments)


def painted(straight: Straightened, strip: Strip, chosenId: str = "") -> np.ndarray:
    """Return a strip as RGB pixels, with the vertebrae in their colours.

    Args:
        straight: The straightened spine.
        strip: One of its two strips.
        chosenId: Segment to highlight; empty for none.

    Returns:
        uint8 (rows, columns, 3), row 0 at the head.
    """
    pixels = np.repeat(strip.grey[:, :, None], 3, axis=2)
    colors = np.array([(0.0, 0.0, 0.0), *straight.colors])[strip.numbers]
    chosen = straight.ids.index(chosenId) + 1 if chosenId in straight.ids else -1
    share = np.where(strip.numbers > 0, FILL, 0.0)
    share[strip.numbers == chosen] = CHOSEN_FILL
    share[_edges(strip.numbers)] = 1.0
    share = share[:, :, None]
    return np.rint(255 * (pixels * (1 - share) + colors * share)).astype(np.uint8)


def spread(positions: Sequence[float], distance: float) -> list[float]:
    """Return positions moved apart as little as needed to be a distance from their neighbours.

    Args:
        positions: In ascending order.
        distance: Smallest distance between two neighbours.
    """
    moved = np.array(positions, float)
    steps = distance * np.arange(len(moved))
    # Without the steps, positions must not descend: the nearest such sequence.
    blocks: list[list[float]] = []
    for value in moved - steps:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (one, n), (other, m) = blocks[-2:]
            blocks[-2:] = [[(n * one + m * other) / (n + m), n + m]]
    return [float(v) for v in np.repeat(*zip(*blocks, strict=True)) + steps] if blocks else []


def volumeOf(array: np.ndarray, grid: Grid) -> Any:
    """Return voxels (k, j, i) on a grid as a `spinemamba.imaging.volume.Volume`, which is LPS."""
    return tool("imaging.volume").Volume(array, geometryOf(grid))


def geometryOf(grid: Grid) -> Any:
    """Return a grid as a `spinemamba.imaging.volume.Geometry`, which is LPS."""
    toLps = np.diag([-1.0, -1.0, 1.0])
    axes = toLps @ grid.ijkToRas[:3, :3]
    spacing = tuple(float(n) for n in np.linalg.norm(axes, axis=0))
    origin = tuple(float(n) for n in toLps @ grid.ijkToRas[:3, 3])
    geometry = tool("imaging.volume").Geometry
    return geometry(grid.size[::-1], spacing[::-1], origin, axes / spacing)


def _edges(numbers: np.ndarray) -> np.ndarray:
    """Return the boundary pixels of each vertebra."""
    padded = np.pad(numbers, 1)
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (numbers > 0) & np.any([n != numbers for n in neighbours], axis=0)


def _strip(view: Any, window: tuple[float, float]) -> Strip:
    """Return a view with the head at the top, with grey values of a window."""
    low, high = window
    grey = np.clip((view.image[::-1] - low) / max(high - low, 1e-6), 0, 1)
    last = len(grey) - 1
    marks = {number: (last - row, column) for number, (row, column) in view.bodies.items()}
    return Strip(grey, view.labels[::-1], marks)


def _window(volumeNode: slicer.vtkMRMLScalarVolumeNode, image: np.ndarray) -> tuple[float, float]:
    """Return the black and white values of the slice views, or percentiles of the image."""
    display = volumeNode.GetScalarVolumeDisplayNode()
    if display is not None and display.GetWindow() > 0:
        half = display.GetWindow() / 2
        return display.GetLevel() - half, display.GetLevel() + half
    low, high = np.percentile(image, _GREY_PERCENTILES)
    return float(low), float(high)
