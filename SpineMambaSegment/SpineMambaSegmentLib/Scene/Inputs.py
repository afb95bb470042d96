"""Checks of input nodes, and the voxel extent of a region."""

from __future__ import annotations

import contextlib

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from SpineMambaSegmentLib.Scene.Grid import gridOf
from SpineMambaSegmentLib.Scene.Ownership import takenIds

_ROI_STEPS = 9
"""Sample points along each axis of a region, for non-linear transforms."""


def checkVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode | None) -> None:
    """Check that a node is an image that can be segmented.

    Raises:
        UserError: If there is no node, or it is not a scalar 3-D image.
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


def firstVolume(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Return the first volume of a scene that can be segmented; None if there is none."""
    for k in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")):
        node = scene.GetNthNodeByClass(k, "vtkMRMLScalarVolumeNode")
        with contextlib.suppress(UserError):
            checkVolume(node)
            return node
    return None


def checkSegmentation(segmentationNode: slicer.vtkMRMLSegmentationNode | None) -> None:
    """Check that segments can be added to a segmentation; None stands for a new one.

    Raises:
        UserError: If it consists of surfaces, for example from STL files, or has vertebrae that
            were taken over from another source.
    """
    if segmentationNode is None:
        return
    checkVoxels(segmentationNode)
    if takenIds(segmentationNode):
        raise UserError(
            _("{name} has vertebrae that were taken over, which no run replaces.").format(
                name=segmentationNode.GetName()
            ),
            _("Choose another segmentation, or create a new one."),
            Code.INPUT_BAD,
        )


def checkVoxels(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Check that a segmentation does not consist of surfaces.

    Raises:
        UserError: If it consists of surfaces, for example from STL files.
    """
    segmentation = segmentationNode.GetSegmentation()
    kind = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    if segmentation.GetNumberOfSegments() and segmentation.GetSourceRepresentationName() != kind:
        raise UserError(
            _("{name} consists of surfaces, not voxels.").format(name=segmentationNode.GetName()),
            _("Choose another segmentation, or create a new one."),
            Code.INPUT_BAD,
        )


def hints(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> list[str]:
    """Return warnings about a volume before it is segmented."""
    warnings = []
    if (frame := sequenceFrame(volumeNode)) is not None:
        text = _("This is a 4-D image: only the current frame, {frame} of {count}, is segmented.")
        warnings.append(text.format(frame=frame[0], count=frame[1]))
    transform = volumeNode.GetParentTransformNode()
    if transform is not None and not transform.IsTransformToWorldLinear():
        warnings.append(
            _(
                "The volume is under a non-linear transform: the segments follow it, but volumes "
                "in mL are those before it."
            )
        )
    return warnings


def sequenceFrame(volumeNode: slicer.vtkMRMLNode) -> tuple[int, int] | None:
    """Return (frame, number of frames) of a sequence's proxy node, counted from 1; else None."""
    scene = volumeNode.GetScene()
    for k in range(scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")):
        browser = scene.GetNthNodeByClass(k, "vtkMRMLSequenceBrowserNode")
        if browser.IsProxyNodeID(volumeNode.GetID()):
            return browser.GetSelectedItemNumber() + 1, browser.GetNumberOfItems()
    return None


def regionExtent(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, roiNode: slicer.vtkMRMLMarkupsROINode
) -> tuple[int, int, int, int, int, int]:
    """Return the first and last voxels (i, i, j, j, k, k) of the bounding box of a region.

    Parent transforms of volume and region are applied, also non-linear ones.

    Raises:
        UserError: If the region contains fewer than two voxels along an axis.
    """
    toVolume = vtk.vtkGeneralTransform()
    volumeTransform = volumeNode.GetParentTransformNode()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, volumeTransform, toVolume)
    toIjk = np.linalg.inv(gridOf(volumeNode).ijkToRas)
    size = np.array(volumeNode.GetImageData().GetDimensions())
    points = [toVolume.TransformPoint(point) for point in _pointsInWorld(roiNode)]
    ijk = np.array(points) @ toIjk[:3, :3].T + toIjk[:3, 3]
    first = np.clip(np.ceil(ijk.min(axis=0) - 1e-6), 0, None).astype(int)
    last = np.minimum(np.floor(ijk.max(axis=0) + 1e-6).astype(int), size - 1)
    if (last - first < 1).any():
        raise UserError(
            _("The region {roi} lies outside {volume}, or is too small.").format(
                roi=roiNode.GetName(), volume=volumeNode.GetName()
            ),
            _("Move the region onto the spine, or choose no region."),
            Code.INPUT_BAD,
        )
    return tuple(int(n) for pair in zip(first, last, strict=True) for n in pair)


def _pointsInWorld(roiNode: slicer.vtkMRMLMarkupsROINode) -> np.ndarray:
    """Return sample points of a region in world coordinates, shape (n, 3).

    Points inside the box are included, because a non-linear transform may bulge its faces.
    """
    half = np.array(roiNode.GetSize()) / 2
    steps = np.linspace(-1.0, 1.0, _ROI_STEPS)
    inBox = np.array(np.meshgrid(steps, steps, steps)).reshape(3, -1).T * half
    matrix = roiNode.GetObjectToNodeMatrix()
    inNode = [matrix.MultiplyPoint((*point, 1.0))[:3] for point in inBox]
    toWorld = vtk.vtkGeneralTransform()
    transform = roiNode.GetParentTransformNode()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(transform, None, toWorld)
    return np.array([toWorld.TransformPoint(point) for point in inNode])


def _inputBad(message: str) -> UserError:
    return UserError(message, _("Choose a CT or MR volume."), Code.INPUT_BAD)
