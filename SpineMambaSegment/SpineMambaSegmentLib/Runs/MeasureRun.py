"""Measurement of a segmentation: volume and segments -> worker -> tables and markups."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.job import MeasureJob
from spinemamba.protocol.measurements import Measurements, read_measurements
from SpineMambaSegmentLib.Runs.LevelLabels import LevelLabels
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun
from SpineMambaSegmentLib.Scene import MeasurementNodes
from SpineMambaSegmentLib.Scene.Files import VolumeFile, resultText
from SpineMambaSegmentLib.Scene.Given import Given


class MeasureRun(WorkerRun):
    """Measurement. Starts at once; see `WorkerRun.follow` and `wait`.

    Attributes:
        measured: The measurements; None before `Finished`. They are then also in the scene.
        page: Path of the HTML report; None if no report is written.

    Args:
        volumeNode: The image; its grid is used for the measurement.
        segmentationNode: Its vertebrae, named by level.
        temporaryFolder: Folder in which the run folder is created; deleted at the end of the run.
        page: Path of the HTML report; None to write no report.
        given: Calibration and femoral heads.

    Raises:
        UserError: If there are no vertebrae, two have the same level, the nodes are under
            different transforms, or what is given is not valid.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        temporaryFolder: Path,
        page: Path | None = None,
        given: Given | None = None,
    ):
        given = given or Given()
        given.check()
        hips = given.hipsLps(segmentationNode)
        labelled = LevelLabels.of(volumeNode, segmentationNode)
        super().__init__(temporaryFolder)
        self.measured: Measurements | None = None
        self.page = page
        self._node = segmentationNode
        paths = [self._folder / name for name in ("input.nrrd", "labels.nrrd", "result.json")]
        result = resultText(segmentationNode)
        if result is not None:
            paths[2].write_text(result, encoding="utf-8")
        job = MeasureJob(
            paths[1],
            self._folder / "measurements.json",
            image=paths[0],
            run=paths[2] if result is not None else None,
            page=page,
            overwrite=True,
            calibration=given.writeCalibration(self._folder / "calibration.json"),
            hips_lps_mm=hips,
        )
        self._start([VolumeFile(volumeNode, paths[0]), labelled.file(paths[1])], job)

    def wait(self) -> Measurements:
        """Wait for the end of the run and return the measurements; for scripts.

        Raises:
            UserError: Error of the run.
        """
        self.waitForEnd()
        return self.measured

    def _check(self) -> None:
        if self._node.GetScene() is None:
            raise UserError(
                _("The segmentation was deleted while it was measured."),
                _("Choose another segmentation."),
                Code.INPUT_BAD,
            )

    def _import(self) -> Iterator[None]:
        """Add tables and markups to the scene, in two steps."""
        self.measured = read_measurements(self._job.output)
        yield
        self._check()
        MeasurementNodes.showTables(self.measured, self._node)
        yield
        self._check()
        MeasurementNodes.showMarkups(self.measured, self._node)
