"""Straightened spine and rib view of a scene (curved planar reformation), as strips of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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

_AROUND_RIBS_MM = 130.0
"""Margin around the vertebrae in the rib view: its width, and a tilt of the spine."""

FILL, CHOSEN_FILL = 0.25, 0.6
"""Opacity of a vertebra's colour over the image, and that of the highlighted one."""

_GREY_PERCENTILES = (1.0, 99.5)


@dataclass(frozen=True)
class Strip:
    """One view; row 0 is at the head.

    Attributes:
        grey: Image values in [0, 1], (rows, columns).
        numbers: Number of the vertebra at each pixel, from 1; 0 for none, (rows, columns).
        marks: Row and column of the centre of each vertebral body, by number.
        joints: Rows and columns of its ribs, right and left; empty except in the rib view.
    """

    grey: np.ndarray
    numbers: np.ndarray
    marks: dict[int, tuple[float, float]]
    joints: dict[int, tuple[tuple[float, float], tuple[float, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Straightened:
    """The strips of a spine.

    Attributes:
        strips: From the right with anterior on the left, and from the front with the patient's
            right on the left; or the rib view alone; none if the image has no rib view.
        pixel_mm: Pixel size, along the spine and across it.
        ids: Segment IDs; the index plus 1 is the number in the strips.
        names: Names of the segments.
        colors: Red, green, blue, 0 to 1.
        narrow: Numbers of the vertebrae beside which ribs may be cut.
    """

    strips: tuple[Strip, ...]
    pixel_mm: float
    ids: tuple[str, ...]
    names: tuple[str, ...]
    colors: tuple[tuple[float, float, float], ...]
    narrow: tuple[int, ...] = ()

    @property
    def side(self) -> Strip:
        """The view from the right."""
        return self.strips[0]

    @property
    def front(self) -> Strip:
        """The view from the front."""
        return self.strips[-1]

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
    read = yield from _read(volumeNode, segmentationNode, _AROUND_MM)
    if read is None:
        return None
    views = yield from tool("imaging.straighten").straighten_in_steps(*read)
    if views is None:
        return None
    window = _window(volumeNode, views[0].image)
    strips = tuple(_strip(view, window) for view in views)
    return _named(strips, views[0].pixel_mm, segmentationNode)


def ribsInSteps(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    modality: str = "auto",
) -> Steps[Straightened | None]:
    """Return the rib view in short steps, as `straightenedInSteps`; without a strip for MR.

    Args:
        volumeNode: The image; under the same transform as the segmentation.
        segmentationNode: Its vertebrae define the centre line.
        modality: "ct", "mr", or "auto" to guess it from the values.
    """
    read = yield from _read(volumeNode, segmentationNode, _AROUND_RIBS_MM)
    if read is None:
        return None
    if modality == "auto":
        modality = tool("imaging.intensity").choose_modality(read[0], modality)
    if modality == "mr":
        return _named((), 1.0, segmentationNode)
    yield
    module = tool("imaging.rib_view")
    ribs = yield from module.rib_view_in_steps(*read)
    if ribs is None:
        return None
    strip = _strip(ribs.view, module.RIB_WINDOW_HU)
    last = len(strip.grey) - 1
    joints = {
        number: tuple((last - row, column) for row, column in ribs.joints(number))
        for number in strip.marks
    }
    straight = _named((replace(strip, joints=joints),), ribs.view.pixel_mm, segmentationNode)
    return replace(straight, narrow=tuple(ribs.narrow()))


def _read(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    around_mm: float,
) -> Steps[tuple[Any, Any] | None]:
    """Return image and numbers of the vertebrae, as volumes around them; None without vertebrae."""
    ids, segmentation = vertebraIds(segmentationNode), segmentationNode.GetSegmentation()
    bounds = np.zeros(6)
    segmentation.GetBounds(bounds)
    if not ids or bounds[0] > bounds[1]:
        return None
    low, high = bounds[::2] - around_mm, bounds[1::2] + around_mm
    array, grid = voxelsIn(volumeNode, gridOf(volumeNode).extentAround(low, high))
    yield
    numbers = labelArray(segmentationNode, tuple(ids), grid)
    image = volumeOf(array, grid)
    yield
    return image, image.with_array(numbers)


def _named(
    strips: tuple[Strip, ...], pixel_mm: float, segmentationNode: slicer.vtkMRMLSegmentationNode
) -> Straightened:
    ids = tuple(vertebraIds(segmentationNode))
    return renamed(Straightened(strips, pixel_mm, ids, (), ()), segmentationNode)


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
