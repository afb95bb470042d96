"""Comparison of a segmentation with a reference or an earlier run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from SpineMambaSegmentLib.Scene import Segments
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf
from SpineMambaSegmentLib.Scene.LabelArray import checkSameTransform, imageOf, labelArray, onGrid
from SpineMambaSegmentLib.Scene.LazyImport import tool
from SpineMambaSegmentLib.Scene.Ownership import labelOf
from SpineMambaSegmentLib.Scene.Straightened import volumeOf

DIFFERENCES_ATTRIBUTE = "SpineMamba.Differences"
"""Attribute that marks the node with the differences; it is not saved with the scene."""

ONLY_SEGMENTATION, ONLY_REFERENCE, OTHER_LEVEL = 1, 2, 3
_COLORS = {
    ONLY_SEGMENTATION: (0.90, 0.62, 0.0),
    ONLY_REFERENCE: (0.34, 0.71, 0.91),
    OTHER_LEVEL: (0.80, 0.47, 0.65),
}
"""Orange, sky blue and purple: distinguishable with colour vision deficiency."""

_OUTLINE_PIXELS = 2
_NRRD = b"NRRD"
"""First bytes of an _NRRD file."""

Logic = slicer.vtkSlicerSegmentationsModuleLogic
Node = slicer.vtkMRMLSegmentationNode


@dataclass(frozen=True)
class ComparedVertebra:
    """One vertebra of the reference.

    Attributes:
        name: Its level in the reference.
        foundAs: Level of the matching vertebra in the segmentation; None if there is none.
        dice: Dice with the matching vertebra; 0 if there is none.
        volume_ml: Its volume in the reference, in mL.
    """

    name: str
    foundAs: str | None
    dice: float
    volume_ml: float


@dataclass(frozen=True)
class Comparison:
    """Result of a comparison.

    Attributes:
        rows: Vertebrae of the reference, from head to tail.
        extra: Levels of the segmentation without a match in the reference.
        differences: `ONLY_SEGMENTATION`, `ONLY_REFERENCE` or `OTHER_LEVEL` where both differ; 0
            elsewhere. uint8 (k, j, i).
        grid: Grid of ``differences``.
    """

    rows: tuple[ComparedVertebra, ...]
    extra: tuple[str, ...]
    differences: np.ndarray
    grid: Grid

    @property
    def meanDice(self) -> float:
        """Mean Dice of the vertebrae of the reference."""
        return float(np.mean([row.dice for row in self.rows]))


def compare(
    segmentationNode: Node, referenceNode: Node, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> Comparison:
    """Compare the vertebrae of two segmentations on the grid of a volume.

    Args:
        segmentationNode: The segmentation.
        referenceNode: The reference; only segments with the name or code of a level are used.
        volumeNode: Defines the grid.

    Raises:
        UserError: If one of them has no vertebra, or they are under different transforms.
    """
    checkSameTransform(segmentationNode, referenceNode)
    grid = _commonGrid([segmentationNode, referenceNode], volumeNode)
    labels, reference = (_levels(node, grid) for node in (segmentationNode, referenceNode))
    pair = [volumeOf(values, grid) for values in (labels, reference)]
    scores = tool("evaluation.compare").compare(*pair, distances=False)
    rows = tuple(
        ComparedVertebra(s.name, s.found_as, s.dice, s.volume_ml) for s in scores.vertebrae
    )
    differences = np.zeros(labels.shape, np.uint8)
    differences[(labels > 0) & (reference == 0)] = ONLY_SEGMENTATION
    differences[(labels == 0) & (reference > 0)] = ONLY_REFERENCE
    differences[(labels > 0) & (reference > 0) & (labels != reference)] = OTHER_LEVEL
    return Comparison(rows, (*scores.extra, *scores.beyond), differences, grid)


def loadReference(path: Path, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Node:
    """Load a reference into the scene of a volume.

    Args:
        path: ``.seg.nrrd`` whose segments are named by level, or a label image with VerSe's numbers
            on the grid of the volume.
        volumeNode: The image of the reference.

    Raises:
        UserError: If it cannot be read, or does not fit the volume; then no node is added.
    """
    # The file name is not used: it may contain the name of the patient.
    node = volumeNode.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", _("Reference"))
    try:
        if path.name.lower().endswith(".seg.nrrd"):
            readSegNrrd(path, node)
            Segments.placeUnder(node, volumeNode)
        else:
            labels = Segments.readImage(path, gridOf(volumeNode))
            Segments.checkLabels(labels)
            _checkNumbering(onGrid(labels, gridOf(volumeNode)), gridOf(volumeNode), path.name)
            Segments.addSegments(labels, node, volumeNode)
        if not levelIds(node):
            raise ValueError("no segment has the name of a vertebra")
    except (OSError, ValueError, UserError) as error:
        volumeNode.GetScene().RemoveNode(node)
        raise UserError(
            _("{file} cannot be used as a reference for this volume: {error}.").format(
                file=path.name, error=str(error).rstrip(".")
            ),
            _("Choose labels of this volume, with VerSe's numbers (C1 = 1 ... L5 = 24)."),
            Code.INPUT_BAD,
        ) from error
    node.GetDisplayNode().SetVisibility(False)
    return node


def readSegNrrd(path: Path, node: Node) -> None:
    """Read a ``.seg.nrrd`` into a segmentation.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is none.
    """
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    # Slicer would try to read other files as surfaces, and log errors.
    if not _beginsWith(path, _NRRD) or not storage.ReadData(node):
        raise ValueError("it cannot be read")


def levelIds(node: Node) -> dict[str, int]:
    """Return the label values, by segment ID, of segments with the name or code of a level."""
    segmentation = node.GetSegmentation()
    segments = {i: segmentation.GetSegment(i) for i in segmentation.GetSegmentIDs()}
    labels = {i: labelOf(segment) for i, segment in segments.items()}
    return {i: label.value for i, label in labels.items() if label is not None}


def showDifferences(comparison: Comparison, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Node:
    """Outline the differences in the slice views; an earlier node is replaced."""
    hideDifferences(volumeNode.GetScene())
    node = volumeNode.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", _("Differences"))
    node.SetAttribute(DIFFERENCES_ATTRIBUTE, "1")
    node.SetSaveWithScene(False)
    node.SetHideFromEditors(True)
    Segments.placeUnder(node, volumeNode)
    ids = vtk.vtkStringArray()
    texts = {
        ONLY_SEGMENTATION: _("only in the segmentation"),
        ONLY_REFERENCE: _("only in the reference"),
        OTHER_LEVEL: _("different levels"),
    }
    for kind, text in texts.items():
        segmentId = f"Difference{kind}"
        node.GetSegmentation().AddEmptySegment(segmentId, text, _COLORS[kind])
        ids.InsertNextValue(segmentId)
    image = imageOf(comparison.differences, comparison.grid)
    Logic.ImportLabelmapToSegmentationNode(image, node, ids)
    display = node.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetVisibility3D(False)
    display.SetVisibility2DFill(False)
    display.SetVisibility2DOutline(True)
    display.SetSliceIntersectionThickness(_OUTLINE_PIXELS)
    return node


def hideDifferences(scene: slicer.vtkMRMLScene) -> None:
    """Remove the node added by `showDifferences`, and its display node."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    nodes = [scene.GetNthNodeByClass(k, "vtkMRMLSegmentationNode") for k in range(count)]
    for node in nodes:
        if node.GetAttribute(DIFFERENCES_ATTRIBUTE):
            display = node.GetDisplayNode()
            scene.RemoveNode(node)
            if display is not None:
                scene.RemoveNode(display)


def _checkNumbering(labels: np.ndarray, grid: Grid, name: str) -> None:
    """Check that the numbers of a label image are VerSe's, not for example instance numbers.

    Raises:
        ValueError: If the numbers are implausible for the anatomy.
    """
    scheme = tool("labelmaps.recognise_scheme")
    values = scheme.label_stats(volumeOf(labels, grid))
    try:
        scheme.guess_numbering(values, sorted(values), name)
    except UserError as error:
        raise ValueError(error.message) from error


def _beginsWith(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _levels(node: Node, grid: Grid) -> np.ndarray:
    """Return the label values of a segmentation on a grid, uint8 (k, j, i)."""
    values = levelIds(node)
    lookup = np.array([0, *values.values()], np.uint8)
    return lookup[labelArray(node, list(values), grid)]


def _commonGrid(nodes: list[Node], volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Grid:
    """Return the part of a volume's grid around the vertebrae of several segmentations.

    Raises:
        UserError: If one of them has no vertebra.
    """
    lows, highs = [], []
    for node in nodes:
        bounds = np.zeros(6)
        node.GetSegmentation().GetBounds(bounds)
        if not levelIds(node) or bounds[0] > bounds[1]:
            raise UserError(
                _("{name} contains no vertebrae.").format(name=node.GetName()),
                _("Choose a segmentation whose segments are named C1 to Sacrum."),
            )
        lows.append(bounds[::2])
        highs.append(bounds[1::2])
    whole = gridOf(volumeNode)
    return whole.cut(whole.extentAround(np.min(lows, axis=0), np.max(highs, axis=0)))
