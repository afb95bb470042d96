"""Checks of input nodes, and the voxel extent of a region."""

from __future__ import annotations

import contextlib

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.job import FINE_MM
from SpineMambaSegmentLib.Scene import Frames
from SpineMambaSegmentLib.Scene.Grid import gridOf
from SpineMambaSegmentLib.Scene.Ownership import takenIds
from SpineMambaSegmentLib.Scene.Segments import SURFACE, keptIds, reviewedIds

_SAME_MM = 1e-4
"""Sizes of voxels that differ by less are the same."""

_ROI_STEPS = 9
"""Sample points along each axis of a region, for non-linear transforms."""

BINARY = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
_FRACTIONAL = slicer.vtkSegmentationConverter.GetSegmentationFractionalLabelmapRepresentationName()
_SOURCES = {
    SURFACE: _("{name} consists of surfaces, not voxels."),
    _FRACTIONAL: _("{name} consists of fractional label maps, not of binary ones."),
}
"""Messages by source representation."""


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
    if volumeNode.IsA("vtkMRMLDiffusionTensorVolumeNode"):
        raise _inputBad(_("{name} has a tensor per voxel, not one value.").format(name=name))
    image = volumeNode.GetImageData()
    if image is None or 0 in image.GetDimensions() or image.GetPointData().GetScalars() is None:
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


def checkSegmentation(
    segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> None:
    """Check that segments can be added to a segmentation; None stands for a new one.

    Args:
        segmentationNode: Receives the segments of a run.
        volumeNode: The image; None if the segmentation is not moved under its transform.

    Raises:
        UserError: If its segments are not binary label maps, for example from STL files, if
            segments that a run keeps would be moved, or if it has vertebrae that were taken over
            from another source.
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
    isMoved = not keptIds(segmentationNode) and Frames.frameOf(segmentationNode) is None
    if volumeNode is None or isMoved:
        return
    name = segmentationNode.GetName()
    if segmentationNode.GetParentTransformNode() is not volumeNode.GetParentTransformNode():
        text = _("{name} and {volume} are under different transforms.")
        raise UserError(
            text.format(name=name, volume=volumeNode.GetName()),
            _("Put both under the same transform, or choose Create new segmentation."),
            Code.INPUT_BAD,
        )


def checkVoxels(segmentationNode: slicer.vtkMRMLSegmentationNode) -> None:
    """Check that the segments are binary label maps.

    Raises:
        UserError: If they are not, for example surfaces from STL files.
    """
    segmentation, name = segmentationNode.GetSegmentation(), segmentationNode.GetName()
    source = segmentation.GetSourceRepresentationName()
    if segmentation.GetNumberOfSegments() and source != BINARY:
        raise UserError(
            _SOURCES.get(
                source, _("{name} consists of {source}, not of binary label maps.")
            ).format(name=name, source=source),
            _(
                "Make Binary labelmap its source representation in the module Segmentations, or "
                "choose Create new segmentation."
            ),
            Code.INPUT_BAD,
        )


def checkSlices(
    segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    *,
    fine: bool,
) -> None:
    """Check that approved vertebrae are on the voxels that a run will use; None has none.

    Args:
        segmentationNode: Receives the segments of a run.
        volumeNode: The image.
        fine: Whether the run divides thick slices.

    Raises:
        UserError: If the run would put vertebrae on two voxel grids into one segmentation.
    """
    if segmentationNode is None:
        return
    volume_mm = np.linalg.norm(gridOf(volumeNode).ijkToRas[:3, :3], axis=0)
    for segmentId in reviewedIds(segmentationNode):
        segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
        image = segment.GetRepresentation(BINARY)
        if image is None:
            continue
        used_mm = np.array(image.GetSpacing())
        divided = volume_mm > FINE_MM + _SAME_MM if fine else np.zeros(3, bool)
        # A divided voxel is at most a third as large.
        if ((used_mm < volume_mm / 2) != divided).any():
            raise UserError(
                _("{name} has approved vertebrae on slices of another thickness.").format(
                    name=segmentationNode.GetName()
                ),
                _("Change Slices in the section Segment, or choose Create new segmentation."),
                Code.INPUT_BAD,
            )


def editedWith(segmentationNode: slicer.vtkMRMLSegmentationNode) -> str:
    """Return the effect of the Segment Editor that is active on a segmentation, or ""."""
    scene = segmentationNode.GetScene()
    for k in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentEditorNode")):
        editor = scene.GetNthNodeByClass(k, "vtkMRMLSegmentEditorNode")
        if editor.GetSegmentationNode() is segmentationNode:
            return editor.GetActiveEffectName() or ""
    return ""


def hints(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
    allFrames: bool = False,
) -> list[str]:
    """Return warnings about the inputs of a run.

    Args:
        volumeNode: The image.
        segmentationNode: Receives the segments; None for a new one.
        allFrames: If True, all frames of the volume's sequence are segmented.
    """
    warnings = []
    frame = Frames.frameOf(volumeNode)
    if frame is not None and not allFrames:
        text = _("This is a 4-D image: only the current frame, {frame} of {count}, is segmented.")
        warnings.append(text.format(frame=frame.number, count=frame.count))
    if segmentationNode is not None and (effect := editedWith(segmentationNode)):
        text = _("{name} is being edited with the effect {effect} of the Segment Editor.")
        warnings.append(text.format(name=segmentationNode.GetName(), effect=effect))
    transform = volumeNode.GetParentTransformNode()
    if transform is not None and not transform.IsTransformToWorldLinear():
        warnings.append(
            _(
                "The volume is under a non-linear transform: the segments follow it, but volumes "
                "in mL are those before it."
            )
        )
    return warnings


def regionExtent(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    roiNode: slicer.vtkMRMLMarkupsROINode,
    proxyNode: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> tuple[int, int, int, int, int, int]:
    """Return the first and last voxels (i, i, j, j, k, k) of the bounding box of a region.

    Parent transforms of volume and region are applied, also non-linear ones.

    Args:
        volumeNode: The image.
        roiNode: The region.
        proxyNode: Proxy node of the sequence if ``volumeNode`` is one of its frames; its parent
            transform is applied.

    Raises:
        UserError: If the region contains fewer than two voxels along an axis.
    """
    toVolume = vtk.vtkGeneralTransform()
    volumeTransform = (proxyNode or volumeNode).GetParentTransformNode()
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
