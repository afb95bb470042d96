"""Plan of a segmentation: volume and segments -> worker -> lines of the suggested corridors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.job import PlanJob
from spinemamba.protocol.planning.plan import Plan, read_plan
from SpineMambaSegmentLib.Runs.LevelLabels import LevelLabels
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun
from SpineMambaSegmentLib.Scene import PlanNodes
from SpineMambaSegmentLib.Scene.Files import VolumeFile
from SpineMambaSegmentLib.Scene.LazyImport import tool


class PlanRun(WorkerRun):
    """Plan of pedicles and screws. Starts at once; see `WorkerRun.follow` and `wait`.

    Attributes:
        plan: The plan; None before `Finished`. Its lines are then also in the scene.
        bones: Vertebrae against which lines are tested, as `stored_bones.StoredBones`.

    Args:
        volumeNode: The image; its grid is used.
        segmentationNode: Its vertebrae, named by level.
        temporaryFolder: Folder in which the run folder is created; deleted at the end of the run.

    Raises:
        UserError: If there are no vertebrae, two have the same level, or the nodes are under
            different transforms.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        temporaryFolder: Path,
    ):
        labelled = LevelLabels.of(volumeNode, segmentationNode)
        super().__init__(temporaryFolder)
        self.plan: Plan | None = None
        self.bones: Any = None
        self._node = segmentationNode
        image, labelFile = self._folder / "input.nrrd", self._folder / "labels.nrrd"
        job = PlanJob(
            labelFile,
            self._folder / "plan.json",
            image=image,
            bones=self._folder / "bones.npz",
            overwrite=True,
        )
        self._start([VolumeFile(volumeNode, image), labelled.file(labelFile)], job)

    def wait(self) -> Plan:
        """Wait for the end of the run and return the plan; for scripts.

        Raises:
            UserError: Error of the run.
        """
        self.waitForEnd()
        return self.plan

    def _import(self) -> Iterator[None]:
        """Read plan and vertebrae, then add the lines to the scene."""
        self.plan = read_plan(self._job.output)
        yield
        self.bones = tool("planning.stored_bones").read_bones(self._job.bones)
        yield
        if self._node.GetScene() is None:
            raise UserError(
                _("The segmentation was deleted while it was planned."),
                _("Choose another segmentation."),
                Code.INPUT_BAD,
            )
        PlanNodes.showLines(self.plan, self._node)
