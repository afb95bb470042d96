"""Segments, and the volume if there is one -> worker -> measurements. MRML and files, no Qt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.job import MeasureJob
from spinemamba.protocol.measurements import Measurements, read_measurements
from SpineMambaSegmentLib.Runs.CaseRun import levelValues
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun
from SpineMambaSegmentLib.Scene import Inputs, MeasurementNodes
from SpineMambaSegmentLib.Scene.LabelArray import checkSameTransform, labelArray
from SpineMambaSegmentLib.Scene.SegmentationFiles import resultText
from SpineMambaSegmentLib.Scene.VolumeFile import ArrayFile, VolumeFile, voxelsIn


class MeasureRun(WorkerRun):
    """Starts at once; ``newEvents`` must then be called until `Finished` or `Failed` came.

    Attributes:
        measured: The measurements when `Finished` came; they are then in the scene, too.
        page: Where the report goes; None for none.

    Args:
        volumeNode: The image; its voxels are those that are measured.
        segmentationNode: Its vertebrae, named by level, as they are now.
        temporaryFolder: The run folder is made in here, and deleted when the run ends.
        page: Report to write; None for none.

    Raises:
        UserError: If there is no vertebra, two have the same level, or the nodes do not fit.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        temporaryFolder: Path,
        page: Path | None = None,
    ):
        Inputs.checkVolume(volumeNode)
        checkSameTransform(volumeNode, segmentationNode)
        values = levelValues(segmentationNode)
        grid = voxelsIn(volumeNode)[1]
        super().__init__(temporaryFolder)
        self.measured: Measurements | None = None
        self.page = page
        self._node = segmentationNode
        numbers = np.array([0, *values.values()], np.uint8)
        labels = numbers[labelArray(segmentationNode, list(values), grid)]
        paths = [self._folder / name for name in ("input.nrrd", "labels.nrrd", "result.json")]
        known = resultText(segmentationNode)
        if known is not None:
            paths[2].write_text(known, encoding="utf-8")
        job = MeasureJob(
            paths[1],
            self._folder / "measurements.json",
            image=paths[0],
            run=paths[2] if known is not None else None,
            page=page,
            overwrite=True,
        )
        self._start([VolumeFile(volumeNode, paths[0]), ArrayFile(labels, grid, paths[1])], job)

    def wait(self) -> Measurements:
        """Wait for the end and return the measurements; for scripts.

        Raises:
            UserError: What measuring failed with.
        """
        self.waitForEnd()
        return self.measured

    def _check(self) -> None:
        if self._node.GetScene() is None:
            raise UserError(
                _("The segmentation was deleted while it was measured."),
                _("Measure another one."),
                Code.INPUT_BAD,
            )

    def _import(self) -> Iterator[None]:
        """Bring tables and markups into the scene, in two steps."""
        self.measured = read_measurements(self._job.output)
        yield
        self._check()
        MeasurementNodes.showTables(self.measured, self._node)
        yield
        self._check()
        MeasurementNodes.showMarkups(self.measured, self._node)
