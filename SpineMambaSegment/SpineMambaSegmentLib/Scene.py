"""Between the scene and files: volume node to file, label file to segments.

MRML only: no Qt, no singleton. The scene is always the one that the given nodes are in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from spinemamba.errors import Code, UserError
from spinemamba.labels import BY_VALUE, LABELS, Label
from spinemamba.terminology import terminology_entry

SEGMENT_ID = re.compile(r"V\d+")
"""IDs of our segments: "V" and the label value. A renumbered segment keeps its ID."""

GEOMETRY_TOLERANCE_MM = 1e-3


def writeVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode, path: Path) -> None:
    """Write a volume in its own voxel grid, uncompressed; parent transforms are left out.

    Args:
        volumeNode: A scalar volume.
        path: File to write, ``.nrrd``.

    Raises:
        UserError: If the node is no image that can be segmented, or cannot be written.
    """
    checkVolume(volumeNode)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    # A large CT takes seconds to compress and is read only once.
    storage.SetUseCompression(False)
    if not storage.WriteData(volumeNode):
        raise UserError(
            _("The volume could not be written to {path}.").format(path=path),
            _("Free some disk space, or choose another temporary folder in the settings."),
            Code.DISK_FULL,
        )


def checkVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> None:
    """Check that a node is an image that can be segmented.

    Raises:
        UserError: If there is no node, or it is no scalar 3-D image; the message says why.
    """
    if volumeNode is None:
        raise _inputBad(_("No input volume is chosen."))
    name = volumeNode.GetName()
    # Label maps and color images are scalar volumes too, by inheritance.
    if not volumeNode.IsA("vtkMRMLScalarVolumeNode") or volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        raise _inputBad(_("{name} is a label map, not an image.").format(name=name))
    image = volumeNode.GetImageData()
    if image is None or 0 in image.GetDimensions():
        raise _inputBad(_("{name} has no voxels.").format(name=name))
    count = image.GetNumberOfScalarComponents()
    if count != 1:
        text = _("{name} has {count} values per voxel, not one.")
        raise _inputBad(text.format(name=name, count=count))
    if min(image.GetDimensions()) < 2:
        size = " x ".join(map(str, image.GetDimensions()))
        raise _inputBad(_("{name} is not a 3-D image ({size}).").format(name=name, size=size))


def _inputBad(message: str) -> UserError:
    return UserError(message, _("Choose a CT or MR volume."), Code.INPUT_BAD)


def readSegmentation(
    path: Path,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    tags: Mapping[str, str] | None = None,
) -> list[str]:
    """Make one segment per label of a label file, named, colored and coded.

    Segments of an earlier run (IDs such as ``V20``) are replaced; all others stay. The
    segmentation goes under the volume's transform and into its place in the subject hierarchy.

    Args:
        path: Label image on the voxel grid of ``volumeNode``, without its parent transforms.
        segmentationNode: Where the segments go.
        volumeNode: The image that was segmented; in the same scene.
        tags: Written to every new segment, for example the model's name.

    Returns:
        IDs of the new segments, from head to tail.

    Raises:
        UserError: If the file cannot be read.
        ValueError: If the file is not on the volume's grid, or has an unknown label.
    """
    scene = segmentationNode.GetScene()
    placeUnder(segmentationNode, volumeNode)
    labelNode = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "SpineMamba labels")
    try:
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetFileName(str(path))
        if not storage.ReadData(labelNode):
            message = _("The result {path} could not be read.").format(path=path)
            raise UserError(message, _("Press Segment Spine again."), Code.INTERNAL)
        # The same parent as the segmentation: nothing is resampled, and Slicer's import with
        # explicit IDs applies a differing transform twice.
        labelNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        if not onSameGrid(labelNode, volumeNode):
            raise ValueError(f"{path} is not on the voxel grid of {volumeNode.GetName()}")
        return _importLabels(labelNode, segmentationNode, tags or {})
    finally:
        scene.RemoveNode(labelNode)


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


def onSameGrid(
    nodeA: slicer.vtkMRMLScalarVolumeNode, nodeB: slicer.vtkMRMLScalarVolumeNode
) -> bool:
    """Return whether the corner voxels of two volumes lie at the same places.

    Not the matrices are compared: the reader may reverse an axis to make the grid right-handed.
    """
    cornersA, cornersB = _corners(nodeA), _corners(nodeB)
    gaps_mm = np.linalg.norm(cornersA[:, None] - cornersB[None, :], axis=-1)
    sizes = [sorted(node.GetImageData().GetDimensions()) for node in (nodeA, nodeB)]
    return sizes[0] == sizes[1] and bool(gaps_mm.min(axis=1).max() <= GEOMETRY_TOLERANCE_MM)


def _corners(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """Return the centers of the eight corner voxels, in the volume's own RAS; shape (8, 3)."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    ends = [(0, n - 1) for n in volumeNode.GetImageData().GetDimensions()]
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1).T
    return np.array([matrix.MultiplyPoint((*corner, 1.0))[:3] for corner in corners])


def _importLabels(
    labelNode: slicer.vtkMRMLLabelMapVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode,
    tags: Mapping[str, str],
) -> list[str]:
    """Move the labels of a label map into new segments; return their IDs from head to tail."""
    scalars = labelNode.GetImageData().GetPointData().GetScalars()
    present = {int(value) for value in np.unique(vtk_to_numpy(scalars)) if value}
    unknown = present - set(BY_VALUE)
    if unknown:
        raise ValueError(f"unknown labels in the result: {sorted(unknown)}")
    segmentation = segmentationNode.GetSegmentation()
    for segmentId in list(segmentation.GetSegmentIDs()):
        if SEGMENT_ID.fullmatch(segmentId):
            segmentation.RemoveSegment(segmentId)
    made = [label for label in LABELS if label.value in present]
    for label in made:
        _addSegment(segmentation, label, tags)
    if not made:
        return []
    ids = vtk.vtkStringArray()  # position = label value - 1; an empty string skips the value
    for value in range(1, max(present) + 1):
        ids.InsertNextValue(f"V{value}" if value in present else "")
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    if not logic.ImportLabelmapToSegmentationNode(labelNode, segmentationNode, ids):
        raise ValueError("Slicer could not import the label map")
    return [f"V{label.value}" for label in made]


def _addSegment(
    segmentation: slicer.vtkSegmentation, label: Label, tags: Mapping[str, str]
) -> None:
    """Add an empty segment with the name, color and code of a level."""
    segmentId = f"V{label.value}"
    color = [channel / 255 for channel in label.color]
    segmentation.AddEmptySegment(segmentId, label.name, color)
    segment = segmentation.GetSegment(segmentId)
    segment.SetNameAutoGenerated(False)
    segment.SetColorAutoGenerated(False)
    segment.SetLabelValue(label.value)
    segment.SetTag(segment.GetTerminologyEntryTagName(), terminology_entry(label))
    for name, value in tags.items():
        segment.SetTag(name, value)
