"""One run of the networks whose result is level probabilities, not segments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import slicer

from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.result import read_result
from SpineMambaSegmentLib.Review.Evidence import AddEvidence
from SpineMambaSegmentLib.Runs.SegmentRun import RunOptions, checkInScene, deviceOf
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun
from SpineMambaSegmentLib.Scene import Inputs
from SpineMambaSegmentLib.Scene.Files import VolumeFile
from SpineMambaSegmentLib.Scene.LabelArray import checkSameTransform
from SpineMambaSegmentLib.Scene.LabelFile import labelsInSteps


class EvidenceRun(WorkerRun):
    """Run over a volume. Starts at once; see `WorkerRun.follow` and `wait`. Adds no segment.

    Attributes:
        action: The step of the review that adds the level probabilities; None before `Finished`.

    Args:
        volumeNode: The image of the vertebrae.
        segmentationNode: The vertebrae, under the same transform.
        temporaryFolder: Folder in which the run folder is created; deleted at the end of the run.
        options: Model, device, modality and quality; the region is ignored.

    Raises:
        UserError: If the volume cannot be segmented, the nodes are under different transforms, or
            the device is a server without a valid address.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        temporaryFolder: Path,
        options: RunOptions | None = None,
    ):
        Inputs.checkVolume(volumeNode)
        checkSameTransform(volumeNode, segmentationNode)
        options = options or RunOptions()
        device = deviceOf(options)
        super().__init__(temporaryFolder)
        self.volumeNode = volumeNode
        self.action: AddEvidence | None = None
        self._file = VolumeFile(volumeNode, self._folder / "input.nrrd", None)
        job = SegmentJob(
            self._folder / "input.nrrd",
            self._folder / "labels.nrrd",
            self._folder / "result.json",
            model=options.model,
            device=device,
            modality=options.modality,
            quality=options.quality,
        )
        self._site = options.site
        self._start([self._file], job)

    def wait(self) -> AddEvidence:
        """Wait for the end and return the step of the review; for scripts.

        Raises:
            UserError: Error of the run.
        """
        self.waitForEnd()
        return self.action

    def _check(self) -> None:
        checkInScene(self.volumeNode)

    def _import(self) -> Iterator[None]:
        """Nothing is added to the scene."""
        labels = yield from labelsInSteps(self._job.output, self._file.grid)
        self.action = AddEvidence(labels, read_result(self._job.result))
