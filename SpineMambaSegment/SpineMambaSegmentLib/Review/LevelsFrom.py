"""Levels from another scan of the same patient: a segmentation of the scene, or a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.result import RESULT_END
from SpineMambaSegmentLib.Review import SharedLabelmap
from SpineMambaSegmentLib.Review.Mask import EMPTY, around
from SpineMambaSegmentLib.Review.Pins import numbersOf, pinsOf, resultOf, solvedWith
from SpineMambaSegmentLib.Review.Spine import Edit, Spine
from SpineMambaSegmentLib.Scene import Provenance
from SpineMambaSegmentLib.Scene.Comparison import DIFFERENCES_ATTRIBUTE, levelIds, readSegNrrd
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf, referenceGrid
from SpineMambaSegmentLib.Scene.LabelArray import labelArray
from SpineMambaSegmentLib.Scene.LazyImport import tool
from SpineMambaSegmentLib.Scene.Straightened import geometryOf, volumeOf

_MARGIN_VOXELS = 2
"""Without an image, the vertebrae are not cut by its edge."""

_ENDING = ".seg.nrrd"

Node = slicer.vtkMRMLSegmentationNode


@dataclass(frozen=True)
class TakeLevels:
    """Fix the levels that another scan gives, and let the level solver rename the others.

    Levels that the user has fixed, and approved vertebrae, keep theirs.

    Attributes:
        other: The other scan, a `spinemamba.levels.outlines.OtherScan`.
    """

    other: Any

    title = _("Levels from another scan")

    def edit(self, spine: Spine) -> Edit:
        """Return new names, tags and attributes.

        Raises:
            UserError: If no vertebra is found in the other scan, or several alignments fit.
        """
        numbers, evidence = numbersOf(spine), tool("levels.scan_evidence")
        result = resultOf(spine)
        frame = None if result is None else result.frame_of_reference
        match = tool("levels.scan_match").match_scans(_outlines(spine, numbers), self.other, frame)
        evidence.check_decided(match, self.other)
        ids = {number: segmentId for segmentId, number in numbers.items()}
        approved = set(spine.approved())
        found = {ids[n]: level for n, level in match.levels.items() if ids[n] not in approved}
        pins = {**found, **pinsOf(spine)}
        return solvedWith(spine, pins, evidence.levels_from(match, self.other))


def _outlines(spine: Spine, numbers: dict[str, int]) -> list[Any]:
    """Return the outlines of the vertebrae of a spine, from head to tail."""
    states = {i: spine.states[i] for i in numbers if spine.states[i].mask != EMPTY}
    grid, first = _imageGrid(spine), np.zeros(3)
    if grid is None:
        box = around([state.mask.box for state in states.values()], _MARGIN_VOXELS)
        first = np.array([part.start for part in box])
        ends = tuple(int(n) for part in reversed(box) for n in (part.start, part.stop - 1))
        grid = spine.grid.cut(ends)
    geometry, outlines = geometryOf(grid), tool("levels.outlines")
    found = [
        outlines.outline_of(state.mask.array(), state.mask.first - first, geometry, numbers[i])
        for i, state in states.items()
    ]
    return [outline for outline in found if outline is not None]


def _imageGrid(spine: Spine) -> Grid | None:
    """Return the grid of the image if the masks are on it; else None."""
    grid = None if spine.volumeNode is None else gridOf(spine.volumeNode)
    return grid if grid is not None and np.allclose(grid.ijkToRas, spine.grid.ijkToRas) else None


def otherSegmentations(node: Node) -> list[Node]:
    """Return the segmentations of a scene with vertebrae, other than the given one."""
    scene = node.GetScene()
    count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    nodes = [scene.GetNthNodeByClass(k, "vtkMRMLSegmentationNode") for k in range(count)]
    nodes = [other for other in nodes if other is not node and levelIds(other)]
    return [other for other in nodes if not other.GetAttribute(DIFFERENCES_ATTRIBUTE)]


def scanOf(node: Node) -> Any:
    """Return the vertebrae of a segmentation of the scene as an `OtherScan`.

    Raises:
        UserError: If it has no vertebra, or a required package is missing.
    """
    values = levelIds(node)
    grid = _gridOfLabels(node, list(values)) if values else None
    if grid is None:
        raise UserError(
            _("{name} has no vertebrae with voxels.").format(name=node.GetName()),
            _("Choose a segmentation whose segments are named by level."),
        )
    lookup = np.array([0, *values.values()], np.uint8)
    labels = volumeOf(lookup[labelArray(node, list(values), grid)], grid)
    outlines = tool("levels.outlines")
    result = Provenance.resultFrom(node.GetAttribute(Provenance.RESULT_ATTRIBUTE) or "")
    frame = None if result is None else result.frame_of_reference or None
    return outlines.OtherScan(
        node.GetName(), outlines.outlines_of(labels, outlines.LEVELS), frame=frame
    )


def _gridOfLabels(node: Node, ids: list[str]) -> Grid | None:
    """Return the grid of the image of a segmentation, or one around segments; None without."""
    image, common = referenceGrid(node), SharedLabelmap.commonGrid(node, ids)
    if image is not None or common is None:
        return image
    bounds = np.zeros(6)
    node.GetSegmentation().GetBounds(bounds)
    corners = np.array(np.meshgrid(*bounds.reshape(3, 2))).reshape(3, -1).T
    ijk = common.toIjk(corners)
    first = np.floor(ijk.min(axis=0)) - _MARGIN_VOXELS
    last = np.ceil(ijk.max(axis=0)) + _MARGIN_VOXELS
    ends = (int(n) for pair in zip(first, last, strict=True) for n in pair)
    return common.cut(tuple(ends))


def scanFrom(path: Path, scene: slicer.vtkMRMLScene) -> Any:
    """Return the vertebrae of a file as an `OtherScan`.

    Args:
        path: ``.seg.nrrd``, or the result.json of a run with its ``.seg.nrrd`` beside it.
        scene: Receives a segmentation while the file is read.

    Raises:
        UserError: If it cannot be read, or has no vertebra.
    """
    labels = path
    if path.name.endswith(RESULT_END):
        labels = path.with_name(path.name.removesuffix(RESULT_END) + _ENDING)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", _("Other scan"))
    try:
        if not labels.name.lower().endswith(_ENDING):
            raise ValueError("it is no .seg.nrrd")
        readSegNrrd(labels, node)
        return replace(scanOf(node), source=path.name)
    except (OSError, ValueError) as error:
        raise UserError(
            _("{file} cannot be read: {error}.").format(file=labels.name, error=error),
            _("Load labels of other formats in Slicer, and choose their segmentation."),
            Code.INPUT_BAD,
        ) from error
    finally:
        display = node.GetDisplayNode()
        scene.RemoveNode(node)
        if display is not None:
            scene.RemoveNode(display)
