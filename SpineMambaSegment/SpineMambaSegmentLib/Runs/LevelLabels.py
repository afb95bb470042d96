"""The vertebrae of a segmentation as label values on the grid of an image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.errors import Code, UserError
from SpineMambaSegmentLib.Scene import Inputs
from SpineMambaSegmentLib.Scene.Comparison import levelIds
from SpineMambaSegmentLib.Scene.Files import ArrayFile, voxelsIn
from SpineMambaSegmentLib.Scene.Grid import Grid
from SpineMambaSegmentLib.Scene.LabelArray import checkSameTransform, labelArray


@dataclass(frozen=True)
class LevelLabels:
    """Label values of vertebrae.

    Attributes:
        labels: VerSe's values (k, j, i).
        voxels: Voxels of the image (k, j, i).
        grid: Grid of both.
    """

    labels: np.ndarray
    voxels: np.ndarray
    grid: Grid

    @classmethod
    def of(
        cls,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
    ) -> LevelLabels:
        """Return the vertebrae of a segmentation on the grid of a volume.

        Raises:
            UserError: If there are no vertebrae, two have the same level, or the nodes are under
                different transforms.
        """
        Inputs.checkVolume(volumeNode)
        checkSameTransform(volumeNode, segmentationNode)
        values = _levelValues(segmentationNode)
        voxels, grid = voxelsIn(volumeNode)
        numbers = np.array([0, *values.values()], np.uint8)
        return cls(numbers[labelArray(segmentationNode, list(values), grid)], voxels, grid)

    def file(self, path: Path) -> ArrayFile:
        """Return the label image to write."""
        return ArrayFile(self.labels, self.grid, path)


def _levelValues(segmentationNode: slicer.vtkMRMLSegmentationNode) -> dict[str, int]:
    """Return the label value of each vertebra by segment ID.

    Raises:
        UserError: If there is no vertebra, or two have the same level.
    """
    values = levelIds(segmentationNode)
    if not values:
        raise UserError(
            _("{name} contains no vertebrae.").format(name=segmentationNode.GetName()),
            _("Segment the spine first, and correct it."),
            Code.INPUT_BAD,
        )
    counts = Counter(BY_VALUE[value].name for value in values.values())
    if duplicates := sorted(name for name, count in counts.items() if count > 1):
        raise UserError(
            _("More than one vertebra is named {names}.").format(names=", ".join(duplicates)),
            _("Give every vertebra a different level."),
            Code.INPUT_BAD,
        )
    return values
