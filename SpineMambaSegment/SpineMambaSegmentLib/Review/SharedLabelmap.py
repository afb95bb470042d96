"""Reads and writes masks in the label map that all vertebrae of a segmentation share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from spinemamba.common.errors import Code, UserError
from SpineMambaSegmentLib.Review.Mask import EMPTY, Box, Mask, around, relativeTo
from SpineMambaSegmentLib.Scene.Grid import Grid, matrixArray
from SpineMambaSegmentLib.Scene.LazyImport import tool

LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
_ALIGNMENT_VOXELS = 1e-3
"""Lattices that differ by less, in voxels, are the same."""

_MAX_LABEL = 255
"""The shared label map has one byte per voxel."""

Image = slicer.vtkOrientedImageData


def imageOf(node: slicer.vtkMRMLSegmentationNode, segmentId: str) -> Image | None:
    """Return the label map of a segment; None if it has none, or one without any voxel."""
    image = node.GetSegmentation().GetSegment(segmentId).GetRepresentation(LABELMAP)
    # The label map of an empty segment has no size, and a grid that means nothing.
    return None if image is None or image.IsEmpty() else image


def voxelsOf(image: Image) -> np.ndarray:
    """Return the voxels of an image as a view, (k, j, i)."""
    e = image.GetExtent()
    shape = (e[5] - e[4] + 1, e[3] - e[2] + 1, e[1] - e[0] + 1)
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)


def _boxOf(image: Image) -> Box:
    """Return the extent of an image as a box on its grid."""
    e = image.GetExtent()
    return slice(e[4], e[5] + 1), slice(e[2], e[3] + 1), slice(e[0], e[1] + 1)


def gridOfImage(image: Image) -> Grid:
    """Return the grid of an image in the segmentation's own RAS; its extent need not start at 0."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return Grid(matrixArray(matrix), image.GetDimensions())


def imageLike(image: Image, box: Box) -> Image:
    """Return an image of zeros over a box on the grid of another image."""
    new, matrix = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    k, j, i = box
    new.SetExtent(i.start, i.stop - 1, j.start, j.stop - 1, k.start, k.stop - 1)
    image.GetImageToWorldMatrix(matrix)
    new.SetImageToWorldMatrix(matrix)
    new.AllocateScalars(image.GetScalarType(), 1)
    new.GetPointData().GetScalars().Fill(0)
    return new


def commonGrid(node: slicer.vtkMRMLSegmentationNode, ids: Iterable[str]) -> Grid | None:
    """Return the grid of some segments; None if none of them has voxels.

    Raises:
        UserError: If their voxels do not lie on the same lattice; no resampling is exact then.
    """
    images = {i: image for i in ids if (image := imageOf(node, i)) is not None}
    grid = next((gridOfImage(image) for image in images.values()), None)
    for segmentId, image in images.items():
        if _shift(image, grid) is None:
            name = node.GetSegmentation().GetSegment(segmentId).GetName()
            first = node.GetSegmentation().GetSegment(next(iter(images))).GetName()
            raise UserError(
                _("{one} and {other} lie on different voxel grids.").format(one=first, other=name),
                _("Import both on the grid of the same volume, or leave one out."),
                Code.INPUT_BAD,
            )
    return grid


def putOnGrid(node: slicer.vtkMRMLSegmentationNode, ids: Iterable[str], grid: Grid | None) -> None:
    """Count the voxels of some segments from the same origin; no voxel moves or changes.

    Args:
        node: The segmentation.
        ids: Segments on the lattice of ``grid``.
        grid: Result of `commonGrid`.
    """
    moved: dict[Image, Image] = {}
    for segmentId in ids:
        image = imageOf(node, segmentId)
        if image is None or not (shift := _shift(image, grid)).any():
            continue
        if image not in moved:
            moved[image] = Image()
            moved[image].DeepCopy(image)
            matrix = vtk.vtkMatrix4x4()
            matrix.DeepCopy(grid.ijkToRas.ravel())
            moved[image].SetImageToWorldMatrix(matrix)
            extent = np.array(image.GetExtent()) + np.repeat(shift, 2)
            moved[image].SetExtent(*(int(n) for n in extent))
        node.GetSegmentation().GetSegment(segmentId).AddRepresentation(LABELMAP, moved[image])


def _shift(image: Image, grid: Grid) -> np.ndarray | None:
    """Return the offset i, j, k of an image's indices on a grid; None if not on its lattice."""
    toGrid = np.linalg.inv(grid.ijkToRas) @ gridOfImage(image).ijkToRas
    shift = np.rint(toGrid[:3, 3]).astype(int)
    ends = np.reshape(image.GetExtent(), (3, 2)).T.astype(float)
    moved = ends @ toGrid[:3, :3].T + toGrid[:3, 3]
    return shift if np.abs(moved - ends - shift).max() <= _ALIGNMENT_VOXELS else None


def readMasks(node: slicer.vtkMRMLSegmentationNode, ids: Iterable[str]) -> dict[str, Mask]:
    """Return the masks of some segments."""
    masks, groups = {}, {}
    for segmentId in ids:
        masks[segmentId] = EMPTY
        image = imageOf(node, segmentId)
        if image is not None and image.GetPointData().GetScalars() is not None:
            groups.setdefault(image, []).append(segmentId)
    for image, members in groups.items():
        voxels, corner = voxelsOf(image), _boxOf(image)
        boxes = tool("imaging.masks").boxes_of(voxels)
        for segmentId in members:
            value = node.GetSegmentation().GetSegment(segmentId).GetLabelValue()
            if (box := boxes.get(value)) is not None:
                first = [s.start + c.start for s, c in zip(box, corner, strict=True)]
                masks[segmentId] = Mask.of(voxels[box] == value, first)
    return masks


def writeMasks(
    node: slicer.vtkMRMLSegmentationNode,
    before: Mapping[str, Mask],
    after: Mapping[str, Mask],
    ids: Iterable[str],
) -> None:
    """Write new masks of some segments.

    Args:
        node: The segmentation.
        before: Masks of all vertebrae before the change.
        after: New masks of the changed segments; they must not overlap other segments.
        ids: IDs of all vertebrae; they share one label map afterwards.
    """
    image = _shared(node, before, list(ids))
    boxes = [mask.box for mask in after.values() if mask != EMPTY]
    if boxes:
        image = _grown(node, image, around([_boxOf(image), *boxes]), list(ids))
    voxels, corner = voxelsOf(image), _boxOf(image)
    values = {i: node.GetSegmentation().GetSegment(i).GetLabelValue() for i in after}
    for segmentId in after:
        old = before.get(segmentId, EMPTY)
        if old != EMPTY:
            part = voxels[relativeTo(old.box, corner)]
            part[part == values[segmentId]] = 0
    for segmentId, mask in after.items():
        if mask != EMPTY:
            voxels[relativeTo(mask.box, corner)][mask.array()] = values[segmentId]
    image.Modified()


def _shared(
    node: slicer.vtkMRMLSegmentationNode, masks: Mapping[str, Mask], ids: list[str]
) -> Image:
    """Return the label map of all vertebrae; merge several label maps into one if needed."""
    for image in {imageOf(node, segmentId) for segmentId in ids} - {None}:
        _moveOut(node, image, masks, ids)
    images = [imageOf(node, segmentId) for segmentId in ids]
    existing = [image for image in images if image is not None]
    if existing and all(image is existing[0] for image in images):
        return existing[0]
    # Keep the largest, so that few voxels must be copied.
    image = max(existing, key=lambda i: i.GetNumberOfPoints()) if existing else _blank(node)
    boxes = [masks[i].box for i in ids if masks.get(i, EMPTY) != EMPTY]
    members = [i for i in ids if imageOf(node, i) is image]
    image = _grown(node, image, around([_boxOf(image), *boxes]), members)
    voxels, corner = voxelsOf(image), _boxOf(image)
    for segmentId in ids:
        if imageOf(node, segmentId) is image:
            continue
        value = _freeValue(node, image)
        segment = node.GetSegmentation().GetSegment(segmentId)
        segment.AddRepresentation(LABELMAP, image)
        segment.SetLabelValue(value)
        mask = masks.get(segmentId, EMPTY)
        if mask != EMPTY:
            part = voxels[relativeTo(mask.box, corner)]
            part[mask.array() & (part == 0)] = value
    return image


def _moveOut(
    node: slicer.vtkMRMLSegmentationNode, image: Image, masks: Mapping[str, Mask], ids: list[str]
) -> None:
    """Move the vertebrae out of a label map that they share with other segments.

    No action may change the voxels of other segments. The vertebrae are moved, not the others,
    because other software stores more than a hundred structures in one label map.
    """
    members = membersOf(node, image)
    ours = [i for i in ids if i in members]
    if len(ours) == len(members):
        return
    boxes = [masks[i].box for i in ours if masks.get(i, EMPTY) != EMPTY]
    separate = imageLike(image, around(boxes) if boxes else _boxOf(image))
    voxels, moved = voxelsOf(image), voxelsOf(separate)
    for segmentId in ours:
        segment, mask = node.GetSegmentation().GetSegment(segmentId), masks.get(segmentId, EMPTY)
        if mask != EMPTY:
            value = segment.GetLabelValue()
            moved[relativeTo(mask.box, _boxOf(separate))][mask.array()] = value
            part = voxels[relativeTo(mask.box, _boxOf(image))]
            part[part == value] = 0
        segment.AddRepresentation(LABELMAP, separate)
    image.Modified()


def membersOf(node: slicer.vtkMRMLSegmentationNode, image: Image) -> list[str]:
    """Return the IDs of the segments that share a label map."""
    return [i for i in node.GetSegmentation().GetSegmentIDs() if imageOf(node, i) is image]


def _freeValue(node: slicer.vtkMRMLSegmentationNode, image: Image) -> int:
    """Return the lowest label value that no segment of an image uses."""
    segmentation = node.GetSegmentation()
    taken = {
        segmentation.GetSegment(i).GetLabelValue()
        for i in segmentation.GetSegmentIDs()
        if segmentation.GetSegment(i).GetRepresentation(LABELMAP) is image
    }
    return next(value for value in range(1, _MAX_LABEL + 1) if value not in taken)


def _blank(node: slicer.vtkMRMLSegmentationNode) -> Image:
    """Return an empty label map on the segmentation's reference geometry."""
    image = slicer.vtkOrientedImageData()
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    text = node.GetSegmentation().GetConversionParameter(name)
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, image, True)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image.GetPointData().GetScalars().Fill(0)
    return image


def _grown(
    node: slicer.vtkMRMLSegmentationNode, image: Image, box: Box, members: list[str]
) -> Image:
    """Return a label map that also covers a box, after moving its segments there."""
    if box == _boxOf(image):
        return image
    larger = imageLike(image, box)
    voxels = voxelsOf(larger)
    voxels[relativeTo(_boxOf(image), box)] = voxelsOf(image)
    segmentation = node.GetSegmentation()
    for segmentId in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentId)
        if segmentId in members or segment.GetRepresentation(LABELMAP) is image:
            segment.AddRepresentation(LABELMAP, larger)
    return larger
