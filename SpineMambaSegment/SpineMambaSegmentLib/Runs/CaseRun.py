"""Export of a volume and its corrected segments as a training case."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.protocol import events
from spinemamba.protocol.bids import CaseFiles, case_files
from spinemamba.protocol.job import CaseJob
from SpineMambaSegmentLib.Review import Log
from SpineMambaSegmentLib.Runs.LevelLabels import LevelLabels
from SpineMambaSegmentLib.Runs.SegmentRun import checkInScene
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun
from SpineMambaSegmentLib.Scene.Comparison import levelIds
from SpineMambaSegmentLib.Scene.Files import VolumeFile
from SpineMambaSegmentLib.Scene.Segments import Logic

_HASH_STEP_VOXELS = 3
"""The case name is a hash of every third voxel along each axis."""

_NAME_DIGITS = 12


class CaseRun(WorkerRun):
    """Export of a case. Starts at once; see `WorkerRun.follow` and `wait`.

    Attributes:
        files: Files of the case. They are written at `Finished`; until then, an earlier export of
            the same scan is unchanged.

    Args:
        volumeNode: The CT.
        segmentationNode: Its vertebrae, named by level, with their review log.
        folder: Folder of all cases.
        temporaryFolder: Folder in which the run folder is created; deleted at the end of the run.

    Raises:
        UserError: If there are no vertebrae, two have the same level, or the nodes are under
            different transforms.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        folder: Path,
        temporaryFolder: Path,
    ):
        labelled = LevelLabels.of(volumeNode, segmentationNode)
        super().__init__(temporaryFolder)
        self.volumeNode = volumeNode
        self.files: CaseFiles = case_files(folder, caseName(labelled.voxels))
        if names := _notApproved(segmentationNode):
            text = _("Not approved yet: {names}.").format(names=", ".join(names))
            self._early.append(events.Warning(text))
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
        files = [VolumeFile(volumeNode, inputs[0]), labelled.file(inputs[1])]
        self._start(files, job)

    def wait(self) -> CaseFiles:
        """Wait for the end of the run and return the files; for scripts.

        Raises:
            UserError: Error of the export.
        """
        self.waitForEnd()
        return self.files

    def _check(self) -> None:
        checkInScene(self.volumeNode)

    def _import(self) -> Iterator[None]:
        """Nothing to import: the results are files."""
        yield from ()


def caseName(array: np.ndarray) -> str:
    """Return a case name without personal data; the same scan always gets the same name.

    A scan that is exported again replaces its earlier export. Two copies under different names
    could end up in both training and validation data.

    Args:
        array: Voxels (k, j, i).
    """
    digest = hashlib.sha256(repr((array.shape, array.dtype.name)).encode())
    step = slice(None, None, _HASH_STEP_VOXELS)
    digest.update(np.ascontiguousarray(array[step, step, step]).data)
    return digest.hexdigest()[:_NAME_DIGITS]


def _notApproved(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[str]:
    """Return the names of the vertebrae that are not approved."""
    segmentation = segmentationNode.GetSegmentation()
    segments = [segmentation.GetSegment(i) for i in levelIds(segmentationNode)]
    return [s.GetName() for s in segments if Logic.GetSegmentStatus(s) != Logic.Completed]
