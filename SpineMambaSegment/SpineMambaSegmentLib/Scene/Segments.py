"""Import of label files as segments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from spinemamba.anatomy.labels import BY_VALUE, LABELS, Label
from spinemamba.anatomy.terminology import terminology_entry
from spinemamba.common.errors import Code, UserError
from spinemamba.common.stepwise import Steps, run_to_end
from SpineMambaSegmentLib.Scene import Provenance
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf, matrixArray
from SpineMambaSegmentLib.Scene.LabelFile import labelsInSteps
from SpineMambaSegmentLib.Scene.Ownership import madeIds, takenIds

BLOCK = 1 << 20
Tags = Mapping[int, Mapping[str, str]]
Logic = slicer.vtkSlicerSegmentationsModuleLogic
SURFACE = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()


def readLabels(path: Path, grid: Grid) -> slicer.vtkOrientedImageData:
    """`labelsInSteps` at once."""
    return run_to_end(labelsInSteps(path, grid))


def checkLabels(labels: slicer.vtkOrientedImageData) -> None:
    """Check that every value of an image is a label or 0.

    Raises:
        ValueError: If it contains an unknown label.
    """
    # Most of a large image is background.
    if unknown := _present(_cropped(labels)) - set(BY_VALUE):
        raise ValueError(f"unknown labels in the result: {sorted(unknown)}")


def readImage(path: Path, grid: Grid) -> slicer.vtkOrientedImageData:
    """Return an integer image in a file, in the volume's own RAS (before parent transforms).

    Raises:
        UserError: If the file cannot be read.
        ValueError: If it is not on ``grid``.
    """
    node = slicer.vtkMRMLLabelMapVolumeNode()
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        message = _("The result {path} could not be read.").format(path=path.name)
        raise UserError(message, _("Press Segment Spine again."), Code.INTERNAL)
    if not gridOf(node).isSameAs(grid):
        raise ValueError(f"{path.name} is not on the voxel grid of the volume")
    labels = Logic.CreateOrientedImageDataFromVolumeNode(node)
    labels.UnRegister(None)
    return labels


def addSegments(
    labels: slicer.vtkOrientedImageData,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    tags: Tags | None = None,
) -> list[str]:
    """`segmentsInSteps` at once."""
    return run_to_end(segmentsInSteps(labels, segmentationNode, volumeNode, tags))


def segmentsInSteps(
    labels: slicer.vtkOrientedImageData,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    tags: Tags | None = None,
) -> Steps[list[str]]:
    """Add one segment per label, with name, colour and terminology code.

    Segments of an earlier run are replaced. Reviewed ones, and vertebrae that were taken over,
    keep all their voxels, and a new vertebra that lies mostly inside one of them is omitted as a
    duplicate. All other segments are kept, whatever their IDs. The segmentation is placed under
    the volume's transform and into its
    folder in the subject hierarchy. The scene is changed in the last step only.

    Args:
        labels: From `readLabels`; voxels of reviewed segments are set to 0 in place.
        segmentationNode: Receives the segments; in the scene of ``volumeNode``.
        volumeNode: The segmented image.
        tags: Tags of the new segments, by label value.

    Returns:
        IDs of the new segments, from head to tail.
    """
    kept: list[str] = []
    # The user may approve vertebrae between two steps.
    while left := [i for i in _keptVertebrae(segmentationNode) if i not in kept]:
        _removeReviewed(labels, segmentationNode, left[0])
        kept.append(left[0])
        yield
    part = _cropped(labels)
    present = _present(part)
    placeUnder(segmentationNode, volumeNode)
    segmentation = segmentationNode.GetSegmentation()
    if not segmentation.GetNumberOfSegments():
        # Slicer imports no labels into a segmentation of surfaces, even if it is empty.
        segmentationNode.SetSourceRepresentationToBinaryLabelmap()
    for segmentId in madeIds(segmentationNode):
        if segmentId not in kept:
            segmentation.RemoveSegment(segmentId)
    ids = {}
    for label in (label for label in LABELS if label.value in present):
        ids[label.value] = _addSegment(segmentation, label, (tags or {}).get(label.value, {}))
    if not ids:
        return []
    byValue = vtk.vtkStringArray()  # index = label value - 1; an empty string skips the value
    for value in range(1, max(ids) + 1):
        byValue.InsertNextValue(ids.get(value, ""))
    # An image instead of a label map node: for a node, the import with explicit IDs applies the
    # transform between the nodes twice. An image has no transform.
    if not Logic.ImportLabelmapToSegmentationNode(part, segmentationNode, byValue):
        raise ValueError("Slicer could not import the labels")
    return list(ids.values())


def surfaceOf(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> vtk.vtkPolyData:
    """Return the closed surface of a segment, in the segmentation's own RAS, without storing it.

    Raises:
        ValueError: If Slicer cannot compute it.
    """
    segmentation = segmentationNode.GetSegmentation()
    surface = Logic.CreateRepresentationForOneSegment(segmentation, segmentId, SURFACE)
    if surface is None:
        raise ValueError(f"no surface could be computed of segment {segmentId}")
    surface.UnRegister(None)
    return surface


def keepSurfaces(
    segmentationNode: slicer.vtkMRMLSegmentationNode, surfaces: Mapping[str, vtk.vtkPolyData]
) -> None:
    """Store surfaces for the 3-D view; Slicer computes those of all other segments."""
    before = segmentationNode.StartModify()
    for segmentId, surface in surfaces.items():
        segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
        if segment is not None:
            segment.AddRepresentation(SURFACE, surface)
    segmentationNode.CreateClosedSurfaceRepresentation()
    segmentationNode.EndModify(before)


def readSegmentation(
    path: Path,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    tags: Tags | None = None,
) -> list[str]:
    """`readLabels` on the grid of a volume, then `addSegments`."""
    return addSegments(readLabels(path, gridOf(volumeNode)), segmentationNode, volumeNode, tags)


def reviewedIds(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """Return the IDs of this module's segments with status completed."""
    segmentation = segmentationNode.GetSegmentation()
    return [
        segmentId
        for segmentId in madeIds(segmentationNode)
        if Logic.GetSegmentStatus(segmentation.GetSegment(segmentId)) == Logic.Completed
    ]


def keptIds(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """Return the IDs of the segments that a run keeps: reviewed ones, and all of other origin."""
    replaced = set(madeIds(segmentationNode)) - set(reviewedIds(segmentationNode))
    return [i for i in segmentationNode.GetSegmentation().GetSegmentIDs() if i not in replaced]


def placeUnder(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> None:
    """Set reference geometry, transform and subject hierarchy folder to those of a volume."""
    if segmentationNode.GetDisplayNode() is None:
        segmentationNode.CreateDefaultDisplayNodes()
    segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(
        segmentationNode.GetScene()
    )
    if hierarchy is None:
        return
    volumeItem = hierarchy.GetItemByDataNode(volumeNode)
    segmentationItem = hierarchy.GetItemByDataNode(segmentationNode)
    if volumeItem and segmentationItem:
        hierarchy.SetItemParent(segmentationItem, hierarchy.GetItemParent(volumeItem))


def _voxels(image: slicer.vtkOrientedImageData) -> np.ndarray:
    """Return the voxels of an image as a flat array view."""
    return vtk_to_numpy(image.GetPointData().GetScalars())


def _array(image: slicer.vtkOrientedImageData) -> np.ndarray:
    """Return the voxels of an image as a view, (k, j, i)."""
    return _voxels(image).reshape(image.GetDimensions()[::-1])


def _present(labels: slicer.vtkOrientedImageData) -> set[int]:
    """Return the label values in an image, without 0."""
    if labels.IsEmpty():
        return set()
    voxels = _voxels(labels)
    # Block by block: bincount converts its input to int64.
    values: set[int] = set()
    for start in range(0, len(voxels), BLOCK):
        values |= set(np.flatnonzero(np.bincount(voxels[start : start + BLOCK])).tolist())
    return values - {0}


def _cropped(labels: slicer.vtkOrientedImageData) -> slicer.vtkOrientedImageData:
    """Return an image cropped to its labels.

    The time of Slicer's operations on a segment grows with the size of its label map.
    """
    extent, cropped = [0] * 6, slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(labels, extent)
    slicer.vtkOrientedImageDataResample.CopyImage(labels, cropped, extent)
    return cropped


def _keptVertebrae(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """Return the IDs of the segments whose voxels a run must not take."""
    return [*reviewedIds(segmentationNode), *takenIds(segmentationNode)]


def _removeReviewed(
    labels: slicer.vtkOrientedImageData,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
) -> None:
    """Remove the voxels of a reviewed segment, and any label that lies mostly inside it."""
    reviewed, near, onGrid = (slicer.vtkOrientedImageData() for _image in range(3))
    segmentationNode.GetBinaryLabelmapRepresentation(segmentId, reviewed)
    if (around := _extentAround(reviewed, labels)) is None:
        return
    resample = slicer.vtkOrientedImageDataResample
    resample.CopyImage(labels, near, around)
    resample.ResampleOrientedImageToReferenceOrientedImage(reviewed, near, onGrid, False, False)
    inside = _array(onGrid) != 0
    e, start = around, labels.GetExtent()
    voxels = _array(labels)
    part = voxels[
        e[4] - start[4] : e[5] - start[4] + 1,
        e[2] - start[2] : e[3] - start[2] + 1,
        e[0] - start[0] : e[1] - start[0] + 1,
    ]
    counts = np.bincount(part[inside], minlength=256)
    for value in np.flatnonzero(counts[1:]) + 1:
        ofLabel = voxels == value
        if 2 * counts[value] > np.count_nonzero(ofLabel):
            voxels[ofLabel] = 0
    part[inside] = 0


def _extentAround(
    image: slicer.vtkOrientedImageData, reference: slicer.vtkOrientedImageData
) -> list[int] | None:
    """Return the part of a reference's extent around the voxels of an image; None if apart."""
    extent, toRas, fromRas = [0] * 6, vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    if not slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(image, extent):
        return None
    image.GetImageToWorldMatrix(toRas)
    reference.GetWorldToImageMatrix(fromRas)
    matrix = matrixArray(fromRas) @ matrixArray(toRas)
    corners = np.array(np.meshgrid(*np.reshape(extent, (3, 2)))).reshape(3, -1)
    ijk = matrix[:3, :3] @ corners + matrix[:3, 3:]
    whole = np.reshape(reference.GetExtent(), (3, 2))
    first = np.maximum(np.floor(ijk.min(axis=1)) - 1, whole[:, 0]).astype(int)
    last = np.minimum(np.ceil(ijk.max(axis=1)) + 1, whole[:, 1]).astype(int)
    if (first > last).any():
        return None
    return np.stack([first, last], axis=1).ravel().tolist()


def _addSegment(segmentation: slicer.vtkSegmentation, label: Label, tags: Mapping[str, str]) -> str:
    """Add an empty segment with the name, colour and code of a level; return its ID."""
    stem = f"V{label.value}"
    exists = segmentation.GetSegment(stem) is not None
    segmentId = segmentation.GenerateUniqueSegmentID(stem) if exists else stem
    color = [channel / 255 for channel in label.color]
    segmentation.AddEmptySegment(segmentId, label.name, color)
    segment = segmentation.GetSegment(segmentId)
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    # No label value: the import sets it. Until then the segment shares a label map with others,
    # one of which may have the same value.
    segment.SetTag(segment.GetTerminologyEntryTagName(), terminology_entry(label))
    Provenance.setTags(segment, tags)
    return segmentId
