"""A label file into the segments of a scene. MRML only: no Qt, no singleton."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from spinemamba.anatomy.labels import BY_VALUE, LABELS, ORDER, Label
from spinemamba.anatomy.terminology import terminology_entry
from spinemamba.common.errors import Code, UserError
from SpineMambaSegmentLib.Scene import Provenance
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf

SEGMENT_ID = re.compile(r"V\d+(_\d+)?")
"""IDs of our segments: "V" and the label value. A renumbered segment keeps its ID."""

BLOCK = 1 << 20
Tags = Mapping[int, Mapping[str, str]]
Logic = slicer.vtkSlicerSegmentationsModuleLogic
SURFACE = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()


def readLabels(path: Path, grid: Grid) -> slicer.vtkOrientedImageData:
    """Return the labels in a file, placed as in the volume's own RAS.

    Raises:
        UserError: If the file cannot be read.
        ValueError: If it is not on ``grid``, or has an unknown label.
    """
    labels = readImage(path, grid)
    if unknown := _present(labels) - set(BY_VALUE):
        raise ValueError(f"unknown labels in the result: {sorted(unknown)}")
    return labels


def readImage(path: Path, grid: Grid) -> slicer.vtkOrientedImageData:
    """Return an image of whole numbers in a file, placed as in the volume's own RAS.

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
    """Make one segment per label, named, colored and coded.

    Segments of an earlier run (IDs such as ``V20``) are replaced, except reviewed ones: their
    voxels stay theirs, and a new vertebra that lies mostly in one of them is the same and left
    out. All other segments stay. The segmentation goes under the volume's transform and into its
    place in the subject hierarchy.

    Args:
        labels: From `readLabels`; changed where reviewed segments are.
        segmentationNode: Where the segments go; in the scene of ``volumeNode``.
        volumeNode: The image that was segmented.
        tags: By label value, what is written to the new segments.

    Returns:
        IDs of the new segments, from head to tail.
    """
    placeUnder(segmentationNode, volumeNode)
    segmentation = segmentationNode.GetSegmentation()
    reviewed = reviewedIds(segmentationNode)
    for segmentId in reviewed:
        _leaveOut(labels, segmentationNode, segmentId)
    for segmentId in list(segmentation.GetSegmentIDs()):
        if SEGMENT_ID.fullmatch(segmentId) and segmentId not in reviewed:
            segmentation.RemoveSegment(segmentId)
    present = _present(labels)
    ids = {}
    for label in (label for label in LABELS if label.value in present):
        ids[label.value] = _addSegment(segmentation, label, (tags or {}).get(label.value, {}))
    if not ids:
        return []
    byValue = vtk.vtkStringArray()  # position = label value - 1; an empty string skips the value
    for value in range(1, max(ids) + 1):
        byValue.InsertNextValue(ids.get(value, ""))
    # An image and not a label map node: for those, the import with explicit IDs applies a
    # transform between the nodes twice. Here there is none: both are in the volume's own RAS.
    if not Logic.ImportLabelmapToSegmentationNode(_cropped(labels), segmentationNode, byValue):
        raise ValueError("Slicer could not import the labels")
    return list(ids.values())


def surfaceOf(segmentationNode: slicer.vtkMRMLSegmentationNode, segmentId: str) -> vtk.vtkPolyData:
    """Return the closed surface of a segment, in the segmentation's own RAS; it is not kept.

    Raises:
        ValueError: If Slicer cannot make it.
    """
    segmentation = segmentationNode.GetSegmentation()
    surface = Logic.CreateRepresentationForOneSegment(segmentation, segmentId, SURFACE)
    if surface is None:
        raise ValueError(f"no surface could be made of segment {segmentId}")
    surface.UnRegister(None)
    return surface


def keepSurfaces(
    segmentationNode: slicer.vtkMRMLSegmentationNode, surfaces: Mapping[str, vtk.vtkPolyData]
) -> None:
    """Give segments their surfaces for 3-D views; segments that are left out get theirs, too."""
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


def position(segmentId: str) -> int:
    """Return where a segment of ours stands from head to tail, by the level it was made as."""
    value = int(segmentId[1:].partition("_")[0])
    return ORDER[BY_VALUE[value].name] if value in BY_VALUE else len(ORDER)


def reviewedIds(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """Return the IDs of our segments that a person marked as completed."""
    segmentation = segmentationNode.GetSegmentation()
    return [
        segmentId
        for segmentId in segmentation.GetSegmentIDs()
        if SEGMENT_ID.fullmatch(segmentId)
        and Logic.GetSegmentStatus(segmentation.GetSegment(segmentId)) == Logic.Completed
    ]


def placeUnder(
    segmentationNode: slicer.vtkMRMLSegmentationNode, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> None:
    """Give a segmentation the geometry, the transform and the folder of a volume."""
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
    """Return the voxels of an image as a flat view."""
    return vtk_to_numpy(image.GetPointData().GetScalars())


def _present(labels: slicer.vtkOrientedImageData) -> set[int]:
    """Return the label values in an image, without 0."""
    voxels = _voxels(labels)
    # Block by block: counting turns what it counts into eight bytes each.
    found: set[int] = set()
    for start in range(0, len(voxels), BLOCK):
        found |= set(np.flatnonzero(np.bincount(voxels[start : start + BLOCK])).tolist())
    return found - {0}


def _cropped(labels: slicer.vtkOrientedImageData) -> slicer.vtkOrientedImageData:
    """Return the part of an image that has labels, in its place.

    Everything that Slicer does with a segment takes time in proportion to the whole layer.
    """
    extent, cropped = [0] * 6, slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(labels, extent)
    slicer.vtkOrientedImageDataResample.CopyImage(labels, cropped, extent)
    return cropped


def _leaveOut(
    labels: slicer.vtkOrientedImageData,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    segmentId: str,
) -> None:
    """Take the voxels of a segment out of labels, and any label that mostly lies in it."""
    own, onGrid = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    segmentationNode.GetBinaryLabelmapRepresentation(segmentId, own)
    resample = slicer.vtkOrientedImageDataResample
    resample.ResampleOrientedImageToReferenceOrientedImage(own, labels, onGrid, False, True)
    voxels, inside = _voxels(labels), _voxels(onGrid) != 0
    counts = np.bincount(voxels[inside], minlength=256)
    for value in np.flatnonzero(counts[1:]) + 1:
        ofLabel = voxels == value
        if 2 * counts[value] > np.count_nonzero(ofLabel):
            voxels[ofLabel] = 0
    voxels[inside] = 0


def _addSegment(segmentation: slicer.vtkSegmentation, label: Label, tags: Mapping[str, str]) -> str:
    """Add an empty segment with the name, color and code of a level; return its ID."""
    wanted = f"V{label.value}"
    taken = segmentation.GetSegment(wanted) is not None
    segmentId = segmentation.GenerateUniqueSegmentID(wanted) if taken else wanted
    color = [channel / 255 for channel in label.color]
    segmentation.AddEmptySegment(segmentId, label.name, color)
    segment = segmentation.GetSegment(segmentId)
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    # No label value: the import gives it. Until then the segment shares a layer with others, and
    # one of these may have the same value.
    segment.SetTag(segment.GetTerminologyEntryTagName(), terminology_entry(label))
    Provenance.setTags(segment, tags)
    return segmentId
