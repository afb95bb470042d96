"""The spine of a scene pulled straight, as two strips of pixels. MRML only: no Qt, no singleton."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import slicer

from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf
from SpineMambaSegmentLib.Scene.LabelArray import LABELMAP, labelArray, vertebraIds
from SpineMambaSegmentLib.Scene.LazyImport import tool
from SpineMambaSegmentLib.Scene.VolumeFile import voxelsIn

AROUND_MM = 70.0
"""What is further from every vertebra is in no strip."""

FILL, CHOSEN_FILL = 0.25, 0.6
"""How strongly a vertebra's colour covers the image; of the chosen one, more."""

GREY_PERCENTILES = (1.0, 99.5)


@dataclass(frozen=True)
class Strip:
    """One of the two pictures; row 0 is at the head.

    Attributes:
        grey: Values of the image, in [0, 1], (rows, columns).
        numbers: Which of the vertebrae is where, from 1; 0 for none, (rows, columns).
        marks: Row and column of the middle of each vertebra's body, by its number.
    """

    grey: np.ndarray
    numbers: np.ndarray
    marks: dict[int, tuple[float, float]]


@dataclass(frozen=True)
class Straightened:
    """Both strips.

    Attributes:
        side: From the right side: anterior is on the left.
        front: From the front: the patient's right is on the left.
        pixel_mm: Size of a pixel, along the spine and across it.
        ids: Segment of each number, the first is 1.
        names: What the segments are called.
        colors: Red, green, blue, 0 to 1.
    """

    side: Strip
    front: Strip
    pixel_mm: float
    ids: tuple[str, ...]
    names: tuple[str, ...]
    colors: tuple[tuple[float, float, float], ...]

    def segmentAt(self, strip: Strip, row: float, column: float) -> str:
        """Return the ID of the vertebra at a place, else of the one whose body is nearest."""
        r = min(max(int(row), 0), strip.numbers.shape[0] - 1)
        c = min(max(int(column), 0), strip.numbers.shape[1] - 1)
        number = int(strip.numbers[r, c])
        if not number:
            number = min(strip.marks, key=lambda n: abs(strip.marks[n][0] - row))
        return self.ids[number - 1]


def straightened(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> Straightened | None:
    """Return the strips of what the segmentation holds now.

    Args:
        volumeNode: The image; under the same transform as the segmentation.
        segmentationNode: Its vertebrae are shown.

    Returns:
        The strips; None if there is no vertebra in the image.

    Raises:
        UserError: If a package that is needed is not installed (DEPENDENCY_MISSING).
    """
    ids, segmentation = tuple(vertebraIds(segmentationNode)), segmentationNode.GetSegmentation()
    bounds = np.zeros(6)
    segmentation.GetBounds(bounds)
    if not ids or bounds[0] > bounds[1]:
        return None
    low, high = bounds[::2] - AROUND_MM, bounds[1::2] + AROUND_MM
    array, grid = voxelsIn(volumeNode, gridOf(volumeNode).extentAround(low, high))
    numbers = labelArray(segmentationNode, ids, grid)
    image = volumeOf(array, grid)
    views = tool("imaging.straighten").straighten(image, image.with_array(numbers))
    if views is None:
        return None
    window = _window(volumeNode, views[0].image)
    strips = [_strip(view, window) for view in views]
    return renamed(Straightened(*strips, views[0].pixel_mm, ids, (), ()), segmentationNode)


def renamed(
    straight: Straightened, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> Straightened:
    """Return the strips with the names and colors that their segments have now."""
    segmentation = segmentationNode.GetSegmentation()
    segments = [segmentation.GetSegment(segmentId) for segmentId in straight.ids]
    names = tuple(segment.GetName() for segment in segments)
    return replace(straight, names=names, colors=tuple(tuple(s.GetColor()) for s in segments))


def fingerprint(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> tuple[Any, ...]:
    """Return what differs when the strips must be cut anew; names and colors are no reason."""
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
    """Return a strip with the vertebrae in their colours.

    Args:
        straight: What the strip belongs to.
        strip: One of its two.
        chosenId: Segment that stands out; empty for none.

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


def volumeOf(array: np.ndarray, grid: Grid) -> Any:
    """Return voxels (k, j, i) on a grid as a `spinemamba.imaging.volume.Volume`, which is LPS."""
    toLps = np.diag([-1.0, -1.0, 1.0])
    axes = toLps @ grid.ijkToRas[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    origin = toLps @ grid.ijkToRas[:3, 3]
    volume = tool("imaging.volume")
    geometry = volume.Geometry(array.shape, tuple(spacing[::-1]), tuple(origin), axes / spacing)
    return volume.Volume(array, geometry)


def _edges(numbers: np.ndarray) -> np.ndarray:
    """Return the outermost pixels of each vertebra."""
    padded = np.pad(numbers, 1)
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (numbers > 0) & np.any([side != numbers for side in beside], axis=0)


def _strip(view: Any, window: tuple[float, float]) -> Strip:
    """Return a view head up, in grey as the window says."""
    low, high = window
    grey = np.clip((view.image[::-1] - low) / max(high - low, 1e-6), 0, 1)
    last = len(grey) - 1
    marks = {number: (last - row, column) for number, (row, column) in view.bodies.items()}
    return Strip(grey, view.labels[::-1], marks)


def _window(volumeNode: slicer.vtkMRMLScalarVolumeNode, image: np.ndarray) -> tuple[float, float]:
    """Return the values that are black and white in the slice views; else of most of the image."""
    display = volumeNode.GetScalarVolumeDisplayNode()
    if display is not None and display.GetWindow() > 0:
        half = display.GetWindow() / 2
        return display.GetLevel() - half, display.GetLevel() + half
    low, high = np.percentile(image, GREY_PERCENTILES)
    return float(low), float(high)
