"""A segmentation against a reference or an earlier run. MRML only: no Qt, no singleton."""

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
from SpineMambaSegmentLib.Scene.Straightened import volumeOf
from SpineMambaSegmentLib.Scene.SurfaceSource import labelOf

DIFFERENCES_ATTRIBUTE = "SpineMamba.Differences"
"""Marks the node that shows them; it is made anew at will, and never saved."""

ONLY_HERE, ONLY_THERE, OTHER_LEVEL = 1, 2, 3
COLORS = {
    ONLY_HERE: (0.90, 0.62, 0.0),
    ONLY_THERE: (0.34, 0.71, 0.91),
    OTHER_LEVEL: (0.80, 0.47, 0.65),
}
"""Orange, sky blue and purple, which also those tell apart who do not see all colours."""

OUTLINE_PIXELS = 2
NRRD = b"NRRD"
"""How a file of this format begins."""

Logic = slicer.vtkSlicerSegmentationsModuleLogic
Node = slicer.vtkMRMLSegmentationNode


@dataclass(frozen=True)
class ComparedVertebra:
    """One vertebra of the reference.

    Attributes:
        name: Its level there.
        foundAs: Level of what lies on it here; None if nothing does.
        dice: Dice with what lies on it; 0 if nothing does.
        volume_ml: Its volume in the reference.
    """

    name: str
    foundAs: str | None
    dice: float
    volume_ml: float


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        rows: Vertebrae of the reference, from head to tail.
        extra: Levels here that have no partner there.
        differences: `ONLY_HERE`, `ONLY_THERE` or `OTHER_LEVEL` where both differ, uint8 (k, j, i).
        grid: Voxels of ``differences``.
    """

    rows: tuple[ComparedVertebra, ...]
    extra: tuple[str, ...]
    differences: np.ndarray
    grid: Grid

    @property
    def meanDice(self) -> float:
        """Mean over the vertebrae of the reference."""
        return float(np.mean([row.dice for row in self.rows]))


def compare(
    segmentationNode: Node, referenceNode: Node, volumeNode: slicer.vtkMRMLScalarVolumeNode
) -> Comparison:
    """Compare the vertebrae of two segmentations, voxel by voxel of a volume.

    Args:
        segmentationNode: What is judged.
        referenceNode: What it is judged by; segments count that are called as a level is.
        volumeNode: Gives the voxels.

    Raises:
        UserError: If one has no vertebra, or they lie under different transforms.
    """
    checkSameTransform(segmentationNode, referenceNode)
    grid = _commonGrid([segmentationNode, referenceNode], volumeNode)
    here, there = (_levels(node, grid) for node in (segmentationNode, referenceNode))
    pair = [volumeOf(values, grid) for values in (here, there)]
    scores = tool("evaluation.compare").compare(*pair, distances=False)
    rows = tuple(
        ComparedVertebra(s.name, s.found_as, s.dice, s.volume_ml) for s in scores.vertebrae
    )
    differences = np.zeros(here.shape, np.uint8)
    differences[(here > 0) & (there == 0)] = ONLY_HERE
    differences[(here == 0) & (there > 0)] = ONLY_THERE
    differences[(here > 0) & (there > 0) & (here != there)] = OTHER_LEVEL
    return Comparison(rows, (*scores.extra, *scores.beyond), differences, grid)


def loadReference(path: Path, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Node:
    """Add the reference in a file to the scene of a volume.

    Args:
        path: ``.seg.nrrd`` with the names of its segments, or a label image with VerSe's numbers
            on the voxels of the volume.
        volumeNode: What it belongs to.

    Raises:
        UserError: If it cannot be read, or does not fit the volume; then no node is left.
    """
    # Names of files often are names of patients.
    node = volumeNode.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", _("Reference"))
    try:
        if path.name.lower().endswith(".seg.nrrd"):
            storage = slicer.vtkMRMLSegmentationStorageNode()
            storage.SetFileName(str(path))
            # Slicer would try to read anything else as surfaces, and log what that brings.
            if not _beginsWith(path, NRRD) or not storage.ReadData(node):
                raise ValueError("it cannot be read")
            Segments.placeUnder(node, volumeNode)
        else:
            labels = Segments.readLabels(path, gridOf(volumeNode))
            _checkNumbering(onGrid(labels, gridOf(volumeNode)), gridOf(volumeNode), path.name)
            Segments.addSegments(labels, node, volumeNode)
        if not levelIds(node):
            raise ValueError("no segment is called as a vertebra is")
    except (OSError, ValueError, UserError) as error:
        volumeNode.GetScene().RemoveNode(node)
        raise UserError(
            _("{file} is no reference for this volume: {error}.").format(
                file=path.name, error=str(error).rstrip(".")
            ),
            _("Choose labels of this very volume, with VerSe's numbers (C1 = 1 ... L5 = 24)."),
            Code.INPUT_BAD,
        ) from error
    node.GetDisplayNode().SetVisibility(False)
    return node


def levelIds(node: Node) -> dict[str, int]:
    """Return the label value of each segment that is a level by name or code, by its ID."""
    segmentation = node.GetSegmentation()
    segments = {i: segmentation.GetSegment(i) for i in segmentation.GetSegmentIDs()}
    labels = {i: labelOf(segment) for i, segment in segments.items()}
    return {i: label.value for i, label in labels.items() if label is not None}


def showDifferences(comparison: Comparison, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> Node:
    """Outline in the slice views where two segmentations differ; there is one such node."""
    hideDifferences(volumeNode.GetScene())
    node = volumeNode.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", _("Differences"))
    node.SetAttribute(DIFFERENCES_ATTRIBUTE, "1")
    node.SetSaveWithScene(False)
    node.SetHideFromEditors(True)
    Segments.placeUnder(node, volumeNode)
    ids = vtk.vtkStringArray()
    texts = {
        ONLY_HERE: _("only here"),
        ONLY_THERE: _("only in the reference"),
        OTHER_LEVEL: _("another level"),
    }
    for kind, text in texts.items():
        segmentId = f"Difference{kind}"
        node.GetSegmentation().AddEmptySegment(segmentId, text, COLORS[kind])
        ids.InsertNextValue(segmentId)
    image = imageOf(comparison.differences, comparison.grid)
    Logic.ImportLabelmapToSegmentationNode(image, node, ids)
    display = node.GetDisplayNode()
    display.SetVisibility3D(False)
    display.SetVisibility2DFill(False)
    display.SetVisibility2DOutline(True)
    display.SetSliceIntersectionThickness(OUTLINE_PIXELS)
    return node


def hideDifferences(scene: slicer.vtkMRMLScene) -> None:
    """Take away what `showDifferences` added."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    nodes = [scene.GetNthNodeByClass(k, "vtkMRMLSegmentationNode") for k in range(count)]
    for node in nodes:
        if node.GetAttribute(DIFFERENCES_ATTRIBUTE):
            scene.RemoveNode(node)


def _checkNumbering(labels: np.ndarray, grid: Grid, name: str) -> None:
    """Refuse a label image whose numbers are not VerSe's, such as counted instances.

    Raises:
        ValueError: If anatomy speaks against them.
    """
    guess = tool("labelmaps.recognise_scheme")
    seen = guess.label_stats(volumeOf(labels, grid))
    try:
        guess.guess_numbering(seen, sorted(seen), name)
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
    """Return the voxels of a volume around the vertebrae of segmentations.

    Raises:
        UserError: If one of them has no vertebra.
    """
    lows, highs = [], []
    for node in nodes:
        bounds = np.zeros(6)
        node.GetSegmentation().GetBounds(bounds)
        if not levelIds(node) or bounds[0] > bounds[1]:
            raise UserError(
                _("{name} has no vertebra.").format(name=node.GetName()),
                _("Choose a segmentation whose segments are called C1 to Sacrum."),
            )
        lows.append(bounds[::2])
        highs.append(bounds[1::2])
    whole = gridOf(volumeNode)
    return whole.cut(whole.extentAround(np.min(lows, axis=0), np.max(highs, axis=0)))
