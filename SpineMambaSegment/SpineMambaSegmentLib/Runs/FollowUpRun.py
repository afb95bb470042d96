"""Follow-up of a patient: two segmentations -> worker -> tables and transforms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.job import FollowUpJob
from spinemamba.protocol.result import RESULT_END
from SpineMambaSegmentLib.Runs.LevelLabels import LevelLabels
from SpineMambaSegmentLib.Runs.WorkerRun import InputFile, WorkerRun
from SpineMambaSegmentLib.Scene import FollowUpNodes
from SpineMambaSegmentLib.Scene.Files import VolumeFile, resultText
from SpineMambaSegmentLib.Scene.Given import Given
from SpineMambaSegmentLib.Scene.LazyImport import tool
from SpineMambaSegmentLib.Scene.Provenance import volumeOf

_ENDS = ("_labels.nrrd", ".nrrd")
"""Ends of the names of label image and image in the run folder."""


@dataclass(frozen=True)
class _Files:
    """Files of one result in the run folder.

    Attributes:
        labels: Label image.
        image: The image, or None.
        run: result.json, or None.
    """

    labels: Path
    image: Path | None
    run: Path | None


class FollowUpRun(WorkerRun):
    """Comparison with an earlier result. Starts at once; see `WorkerRun.follow` and `wait`.

    Attributes:
        followUp: A `measure.follow_up.record.FollowUp`; None before `Finished`. Its tables and
            transforms are then also in the scene.
        page: Path of the HTML page; None if no page is written.

    Args:
        volumeNode: The later image.
        segmentationNode: Its vertebrae, named by level.
        earlier: An earlier segmentation in the scene that refers to its volume, or a file of an
            earlier result.
        temporaryFolder: Folder in which the run folder is created; deleted at the end of the run.
        page: Path of the HTML page; None to write no page.
        given: Calibration of both images.

    Raises:
        UserError: If a segmentation has no vertebrae, gives a level twice, or has no volume.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        earlier: slicer.vtkMRMLSegmentationNode | Path,
        temporaryFolder: Path,
        *,
        page: Path | None = None,
        given: Given | None = None,
    ):
        (given := given or Given()).check()
        foreign = isinstance(earlier, Path)
        pairs = {"now": (volumeNode, segmentationNode)}
        if not foreign:
            pairs["then"] = (_volumeOf(earlier), earlier)
        labelled = {name: LevelLabels.of(*pair) for name, pair in pairs.items()}
        super().__init__(temporaryFolder)
        self.followUp: Any = None
        self.page, self._node = page, segmentationNode
        inputs: list[InputFile] = []
        files = {}
        for name, pair in pairs.items():
            files[name] = self._filesOf(name, *pair)
            labels = labelled[name].file(files[name].labels)
            inputs += [VolumeFile(pair[0], files[name].image), labels]
        now, then = files["now"], files.get("then") or _Files(earlier, None, None)
        job = FollowUpJob(
            now.labels,
            self._folder / "follow_up.json",
            before=then.labels,
            image=now.image,
            before_image=then.image,
            run=now.run,
            before_run=then.run,
            foreign=foreign,
            calibration=given.writeCalibration(self._folder / "calibration.json"),
            page=page,
            overwrite=True,
        )
        self._start(inputs, job)

    def wait(self) -> Any:
        """Wait for the end of the run and return the follow-up; for scripts.

        Raises:
            UserError: Error of the run.
        """
        self.waitForEnd()
        return self.followUp

    def _filesOf(
        self,
        name: str,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
    ) -> _Files:
        """Return the files of a result in the run folder, and write its result.json."""
        result, path = resultText(segmentationNode), self._folder / f"{name}{RESULT_END}"
        if result is not None:
            path.write_text(result, encoding="utf-8")
        run = None if result is None else path
        labels, image = (self._folder / f"{name}{end}" for end in _ENDS)
        return _Files(labels, image, run)

    def _import(self) -> Iterator[None]:
        """Read the follow-up, then add its nodes to the scene."""
        self.followUp = tool("measure.follow_up.record").FOLLOW_UP.read(self._job.output)
        yield
        if self._node.GetScene() is None:
            raise UserError(
                _("The segmentation was deleted while it was compared."),
                _("Choose another segmentation."),
                Code.INPUT_BAD,
            )
        FollowUpNodes.show(self.followUp, self._node)


def _volumeOf(
    segmentationNode: slicer.vtkMRMLSegmentationNode,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Return the image of the earlier segmentation.

    Raises:
        UserError: If it refers to none.
    """
    volumeNode = volumeOf(segmentationNode)
    if volumeNode is None:
        raise UserError(
            _("{name} does not refer to its volume.").format(name=segmentationNode.GetName()),
            _("Choose the volume as source in the module Segmentations, or load a result file."),
            Code.INPUT_BAD,
        )
    return volumeNode
