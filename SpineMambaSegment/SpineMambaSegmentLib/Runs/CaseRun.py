"""Volume and corrected segments -> worker -> a case to train on. MRML and files, no Qt."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.errors import Code, UserError
from spinemamba.protocol import events
from spinemamba.protocol.bids import CaseFiles, case_files
from spinemamba.protocol.job import CaseJob
from SpineMambaSegmentLib.Review import Log
from SpineMambaSegmentLib.Runs.SegmentRun import checkInScene
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun
from SpineMambaSegmentLib.Scene import Inputs
from SpineMambaSegmentLib.Scene.Comparison import levelIds
from SpineMambaSegmentLib.Scene.LabelArray import checkSameTransform, labelArray
from SpineMambaSegmentLib.Scene.Segments import Logic
from SpineMambaSegmentLib.Scene.VolumeFile import ArrayFile, VolumeFile, voxelsIn

STEP_VOXELS = 3
"""Every third voxel along each axis tells one scan from another."""

NAME_DIGITS = 12


class CaseRun(WorkerRun):
    """Starts at once; ``newEvents`` must then be called until `Finished` or `Failed` came.

    Attributes:
        files: What the case consists of when `Finished` came; until then, what an earlier export
            of the same scan left stays as it is.

    Args:
        volumeNode: The CT.
        segmentationNode: Its vertebrae, named by level, and the log of their review.
        folder: Folder of all cases.
        temporaryFolder: The run folder is made in here, and deleted when the run ends.

    Raises:
        UserError: If there is no vertebra, two have the same level, or the nodes do not fit.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        folder: Path,
        temporaryFolder: Path,
    ):
        Inputs.checkVolume(volumeNode)
        checkSameTransform(volumeNode, segmentationNode)
        values = levelValues(segmentationNode)
        array, grid = voxelsIn(volumeNode)
        super().__init__(temporaryFolder)
        self.volumeNode = volumeNode
        self.files: CaseFiles = case_files(folder, caseName(array))
        if waiting := notApproved(segmentationNode):
            text = _("Not approved yet: {names}.").format(names=", ".join(waiting))
            self._early.append(events.Warning(text))
        labels = np.array([0, *values.values()], np.uint8)[
            labelArray(segmentationNode, list(values), grid)
        ]
        inputs = [self._folder / name for name in ("input.nrrd", "labels.nrrd", "log.csv")]
        job = CaseJob(
            inputs[0],
            self.files.labels,
            labels=inputs[1],
            log=inputs[2],
            image=self.files.image,
            log_copy=self.files.log,
            overwrite=True,
        )
        inputs[2].write_text(Log.csvText(segmentationNode), encoding="utf-8")
        files = [VolumeFile(volumeNode, inputs[0]), ArrayFile(labels, grid, inputs[1])]
        self._start(files, job)

    def wait(self) -> CaseFiles:
        """Wait for the end and return the files; for scripts.

        Raises:
            UserError: What the export failed with.
        """
        self.waitForEnd()
        return self.files

    def _check(self) -> None:
        checkInScene(self.volumeNode)

    def _import(self) -> Iterator[None]:
        """Nothing comes back into the scene."""
        yield from ()


def caseName(array: np.ndarray) -> str:
    """Return the name of a case, always the same for the same scan, that tells nothing of a person.

    A scan that is exported again replaces itself: twice in a training set, it might be trained on
    and judged by at the same time.

    Args:
        array: Voxels (k, j, i).
    """
    digest = hashlib.sha256(repr((array.shape, array.dtype.name)).encode())
    step = slice(None, None, STEP_VOXELS)
    digest.update(np.ascontiguousarray(array[step, step, step]).data)
    return digest.hexdigest()[:NAME_DIGITS]


def notApproved(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """Return the names of the vertebrae that nobody has approved."""
    segmentation = segmentationNode.GetSegmentation()
    segments = [segmentation.GetSegment(i) for i in levelIds(segmentationNode)]
    return [s.GetName() for s in segments if Logic.GetSegmentStatus(s) != Logic.Completed]


def levelValues(segmentationNode: slicer.vtkMRMLSegmentationNode) -> dict[str, int]:
    """Return the label value of each vertebra by its segment's ID.

    Raises:
        UserError: If there is none, or a level is there twice.
    """
    values = levelIds(segmentationNode)
    if not values:
        raise UserError(
            _("{name} has no vertebra.").format(name=segmentationNode.GetName()),
            _("Segment the spine first, and correct it."),
            Code.INPUT_BAD,
        )
    counts = Counter(BY_VALUE[value].name for value in values.values())
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise UserError(
            _("There are two of {names}.").format(names=", ".join(twice)),
            _("Give every vertebra a level of its own."),
            Code.INPUT_BAD,
        )
    return values
