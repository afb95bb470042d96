"""The vertebrae of a segmentation as input of `spinemamba.export`."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from spinemamba.anatomy.terminology import why_no_level
from spinemamba.export.item import LabelCentroid, LeftOut, Vertebra, cut_by_result, label_centroids
from spinemamba.export.meshing.raw_surface import Mask
from spinemamba.protocol.case_source import CaseSource, Located
from spinemamba.protocol.manifest import Origin
from SpineMambaSegmentLib.Scene import Provenance
from SpineMambaSegmentLib.Scene.Grid import TOLERANCE_MM, matrixArray
from SpineMambaSegmentLib.Scene.Ownership import entryOf, labelOf

Logic = slicer.vtkSlicerSegmentationsModuleLogic
_REVIEWER_TAG = "SpineMamba.ReviewedBy"
_ORIGIN_TAGS = ("SpineMamba.Model", "SpineMamba.ModelHash", "SpineMamba.Version", "SpineMamba.Run")
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
Extent = tuple[tuple[int, int], ...]


class Voxels:
    """Voxels of one segment, read on demand, with their positions in the scene.

    Args:
        node: The segmentation.
        segmentId: One of its segments.
    """

    def __init__(self, node: slicer.vtkMRMLSegmentationNode, segmentId: str):
        self._node, self._segmentId = node, segmentId
        self._ijkToRas = np.eye(4)

    def load(self) -> Mask:
        """Return the mask, cropped to its voxels.

        Raises:
            LeftOut: If the segment was deleted or is empty.
        """
        image = slicer.vtkOrientedImageData()
        inScene = self._node.GetScene() is not None
        if not inScene or self._node.GetSegmentation().GetSegment(self._segmentId) is None:
            raise LeftOut(_("Its segment was deleted."))
        if not self._node.GetBinaryLabelmapRepresentation(self._segmentId, image):
            raise LeftOut(_("It is empty."))
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        self._ijkToRas = matrixArray(matrix)
        i, _i, j, _j, k, _k = image.GetExtent()
        shape = image.GetDimensions()[::-1]
        if 0 in shape:
            raise LeftOut(_("It is empty."))
        voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)
        return _cropped(Mask(voxels, (i, j, k)))

    def place(self, ijk: np.ndarray) -> np.ndarray:
        """Return the LPS positions of voxel indices in the scene, with all parent transforms."""
        ras = ijk @ self._ijkToRas[:3, :3].T + self._ijkToRas[:3, 3]
        return toWorld(ras, self._node.GetParentTransformNode()) * _RAS_TO_LPS


def toWorld(ras: np.ndarray, parent: slicer.vtkMRMLTransformNode | None) -> np.ndarray:
    """Return the world coordinates of points (n, 3) under a linear or non-linear transform."""
    if parent is None:
        return ras
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(parent, None, transform)
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    for points in (before, after):
        points.SetDataTypeToDouble()
    before.SetData(numpy_to_vtk(np.ascontiguousarray(ras, float), deep=True))
    transform.TransformPoints(before, after)
    return vtk_to_numpy(after.GetData()).copy()


def vertebraeOf(node: slicer.vtkMRMLSegmentationNode) -> list[Vertebra]:
    """Return all segments that are vertebrae by name or terminology code."""
    result = Provenance.keptResult(node)
    image = _imageExtent(node)
    vertebrae = []
    for segmentId in node.GetSegmentation().GetSegmentIDs():
        segment = node.GetSegmentation().GetSegment(segmentId)
        label = labelOf(segment)
        if label is None:
            continue
        voxels = Voxels(node, segmentId)
        vertebrae.append(
            Vertebra(
                level=label.name,
                load=voxels.load,
                place=voxels.place,
                segment_id=segmentId,
                cut_sides=cut_by_result(result, label.name),
                image_xyz=image,
                reviewed=Logic.GetSegmentStatus(segment) == Logic.Completed,
                reviewed_by=Provenance.tagOf(segment, _REVIEWER_TAG),
                origin=Origin.from_tags({t: Provenance.tagOf(segment, t) for t in _ORIGIN_TAGS}),
                frame="scene",
            )
        )
    return vertebrae


def leftOut(node: slicer.vtkMRMLSegmentationNode) -> tuple[tuple[str, str], ...]:
    """Return name and reason of every segment that is not a vertebra, for the manifest."""
    segmentation = node.GetSegmentation()
    segments = [segmentation.GetSegment(i) for i in segmentation.GetSegmentIDs()]
    return tuple((s.GetName(), why_no_level(entryOf(s))) for s in segments if labelOf(s) is None)


def sourceOf(node: slicer.vtkMRMLSegmentationNode, case: str) -> CaseSource:
    """Return a description that identifies the case of a segmentation; transforms are ignored."""
    located: dict[str, Located] = {}
    centres: dict[str, dict[int, LabelCentroid]] = {}
    for segmentId in node.GetSegmentation().GetSegmentIDs():
        segment = node.GetSegmentation().GetSegment(segmentId)
        label, image = labelOf(segment), segment.GetRepresentation(LABELMAP)
        if label is None or image is None or 0 in image.GetDimensions():
            continue
        layer = image.GetAddressAsString("vtkObject")
        if layer not in centres:
            voxels = vtk_to_numpy(image.GetPointData().GetScalars())
            centres[layer] = label_centroids(voxels.reshape(image.GetDimensions()[::-1]))
        if (centre := centres[layer].get(segment.GetLabelValue())) is not None:
            located.setdefault(label.name, _located(image, centre))
    return CaseSource.of(case, located)


def _located(image: slicer.vtkOrientedImageData, centre: LabelCentroid) -> Located:
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    toRas = matrixArray(matrix)
    ijk = np.add(image.GetExtent()[::2], centre.centroid_zyx[::-1])
    lps = (toRas[:3, :3] @ ijk + toRas[:3, 3]) * _RAS_TO_LPS
    volume = centre.voxels * abs(np.linalg.det(toRas[:3, :3])) / 1000
    return Located(tuple(lps.round(3).tolist()), round(float(volume), 6))


def _imageExtent(node: slicer.vtkMRMLSegmentationNode) -> Extent | None:
    """Return first and last voxel of the reference image; None if segments use other grids."""
    segmentation = node.GetSegmentation()
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    reference = slicer.vtkOrientedImageData()
    segmentMatrix, referenceMatrix = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    text = segmentation.GetConversionParameter(name)
    deserialize = slicer.vtkSegmentationConverter.DeserializeImageGeometry
    if not text or not deserialize(text, reference, False):
        return None
    reference.GetImageToWorldMatrix(referenceMatrix)
    for segmentId in segmentation.GetSegmentIDs():
        image = segmentation.GetSegment(segmentId).GetRepresentation(LABELMAP)
        if image is None:
            return None
        image.GetImageToWorldMatrix(segmentMatrix)
        difference = matrixArray(segmentMatrix) - matrixArray(referenceMatrix)
        if np.abs(difference).max() > TOLERANCE_MM:
            return None
    extent = reference.GetExtent()
    return tuple((extent[2 * axis], extent[2 * axis + 1]) for axis in range(3))


def _cropped(mask: Mask) -> Mask:
    """Return a mask cropped to its voxels."""
    inside = mask.voxels != 0
    box = []
    for axis in range(3):
        along = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        if not len(along):
            raise LeftOut(_("It is empty."))
        box.append(slice(along[0], along[-1] + 1))
    first = [start + s.start for start, s in zip(mask.first_xyz, box[::-1], strict=True)]
    return Mask(inside[tuple(box)], tuple(map(int, first)))
