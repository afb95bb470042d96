"""Segments as one label array on the grid of a volume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from spinemamba.common.errors import UserError
from SpineMambaSegmentLib.Scene.Grid import Grid, matrixArray

Image = slicer.vtkOrientedImageData
LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
_ALIGNMENT_VOXELS = 1e-4
"""Grids that differ by less, in voxels, are aligned."""


def labelArray(
    segmentationNode: slicer.vtkMRMLSegmentationNode, ids: Sequence[str], grid: Grid
) -> np.ndarray:
    """Return segments as a label array on a grid.

    Args:
        segmentationNode: Segmentation whose label maps are read.
        ids: Segment IDs; on overlap, the later one is used.
        grid: Grid in the segmentation's own RAS (before parent transforms).

    Returns:
        uint8 (k, j, i): 1 for the first of ``ids``, 2 for the second and so on; 0 elsewhere.

    Raises:
        ValueError: If there are more than 255 segments.
    """
    if len(ids) > np.iinfo(np.uint8).max:
        raise ValueError(f"{len(ids)} segments do not fit into uint8")
    out = np.zeros(grid.size[::-1], np.uint8)
    for image, numbers in _layers(segmentationNode, ids).items():
        values, first = _valuesOnGrid(image, grid)
        lookup = np.zeros(max(int(values.max(initial=0)), *numbers) + 1, np.uint8)
        lookup[list(numbers)] = list(numbers.values())
        _paste(lookup[values], first, out)
    return out


def onGrid(image: Image, grid: Grid) -> np.ndarray:
    """Return the values of an image on a grid, uint8 (k, j, i); 0 outside the image."""
    out = np.zeros(grid.size[::-1], np.uint8)
    values, first = _valuesOnGrid(image, grid)
    _paste(values.astype(np.uint8), first, out)
    return out


def imageOf(array: np.ndarray, grid: Grid, first: tuple[int, int, int] = (0, 0, 0)) -> Image:
    """Return an array as an oriented image.

    Args:
        array: Values (k, j, i).
        grid: Grid from whose first voxel indices count.
        first: Index k, j, i of the first value.
    """
    image, matrix = Image(), vtk.vtkMatrix4x4()
    ends = zip(first, array.shape, strict=True)
    k, j, i = ((int(start), int(start + size - 1)) for start, size in ends)
    image.SetExtent(*i, *j, *k)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True))
    matrix.DeepCopy(grid.ijkToRas.ravel())
    image.SetImageToWorldMatrix(matrix)
    return image


def checkSameTransform(
    node: slicer.vtkMRMLTransformableNode, other: slicer.vtkMRMLTransformableNode
) -> None:
    """Check that two nodes are under the same parent transform.

    Raises:
        UserError: If their parent transforms differ.
    """
    if node.GetTransformNodeID() != other.GetTransformNodeID():
        raise UserError(
            _("{name} is under another transform.").format(name=other.GetName()),
            _("Put both under the transform of the volume, or harden it."),
        )


def _valuesOnGrid(image: Image, grid: Grid) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return an image's values and their first index on a grid; resampled if not aligned."""
    first = _offset(image, grid)
    return (_resampled(image, grid), (0, 0, 0)) if first is None else (_voxels(image), first)


def _layers(
    segmentationNode: slicer.vtkMRMLSegmentationNode, ids: Sequence[str]
) -> dict[Image, dict[int, int]]:
    """Return for each label map the output number of each of its label values."""
    layers: dict[Image, dict[int, int]] = {}
    for number, segmentId in enumerate(ids, start=1):
        segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
        image = segment.GetRepresentation(LABELMAP)
        if image is not None and image.GetPointData().GetScalars() is not None:
            layers.setdefault(image, {})[segment.GetLabelValue()] = number
    return layers


def _voxels(image: Image) -> np.ndarray:
    e = image.GetExtent()
    shape = (e[5] - e[4] + 1, e[3] - e[2] + 1, e[1] - e[0] + 1)
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)


def _offset(image: Image, grid: Grid) -> tuple[int, int, int] | None:
    """Return index k, j, i of an image's first voxel on a grid; None if they are not aligned."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    toGrid = np.linalg.inv(grid.ijkToRas) @ matrixArray(matrix)
    extent = image.GetExtent()
    first = toGrid @ (extent[0], extent[2], extent[4], 1.0)
    last = toGrid @ (extent[1], extent[3], extent[5], 1.0)
    rounded = np.rint(first[:3])
    size = np.array(extent[1::2]) - extent[::2]
    if not np.allclose(first[:3], rounded, atol=_ALIGNMENT_VOXELS):
        return None
    if not np.allclose(last[:3], rounded + size, atol=_ALIGNMENT_VOXELS) or not np.allclose(
        toGrid[:3, :3], np.eye(3), atol=_ALIGNMENT_VOXELS
    ):
        return None
    i, j, k = (int(n) for n in rounded)
    return k, j, i


def _paste(values: np.ndarray, corner: tuple[int, int, int], out: np.ndarray) -> None:
    """Copy non-zero values into an array at a corner index; parts outside are ignored."""
    target, source = [], []
    for first, length, size in zip(corner, values.shape, out.shape, strict=True):
        low, high = max(0, first), min(size, first + length)
        if low >= high:
            return
        target.append(slice(low, high))
        source.append(slice(low - first, high - first))
    part = values[tuple(source)]
    np.copyto(out[tuple(target)], part, where=part != 0)


def _resampled(image: Image, grid: Grid) -> np.ndarray:
    """Return the values of an image on a grid, by nearest neighbour."""
    reference, resampled, matrix = Image(), Image(), vtk.vtkMatrix4x4()
    reference.SetExtent(0, grid.size[0] - 1, 0, grid.size[1] - 1, 0, grid.size[2] - 1)
    matrix.DeepCopy(grid.ijkToRas.ravel())
    reference.SetImageToWorldMatrix(matrix)
    resample = slicer.vtkOrientedImageDataResample
    resample.ResampleOrientedImageToReferenceOrientedImage(image, reference, resampled, False, True)
    values, extent = _voxels(resampled), resampled.GetExtent()
    out = np.zeros(grid.size[::-1], values.dtype)
    _paste(values, (extent[4], extent[2], extent[0]), out)
    return out
