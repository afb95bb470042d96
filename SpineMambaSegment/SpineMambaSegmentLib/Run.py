"""One run: volume node -> run folder -> worker process -> segments. MRML and files, no Qt."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from spinemamba import events
from spinemamba.errors import Code, UserError
from spinemamba.job import Job
from spinemamba.process import WorkerProcess
from SpineMambaSegmentLib import Scene

POLL_S = 0.1


class Run:
    """Starts at once; ``newEvents`` must then be called until the last event came.

    Args:
        volumeNode: The image to segment.
        segmentationNode: Where the segments go; None makes a new node when they are there.
        temporaryFolder: The run folder is made in here, and deleted when the run ends.

    Raises:
        UserError: If the volume cannot be segmented or written.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        temporaryFolder: Path,
    ):
        Scene.checkVolume(volumeNode)
        self.volumeNode = volumeNode
        self.segmentationNode = segmentationNode
        self._folder = Path(tempfile.mkdtemp(prefix="spinemamba-", dir=temporaryFolder))
        try:
            image = self._folder / "input.nrrd"
            Scene.writeVolume(volumeNode, image)
            job = Job(input=image, output=self._folder / "labels.nrrd")
            self._worker = WorkerProcess.start(job, self._folder, python=pythonExecutable())
        except BaseException:
            self._removeFolder()
            raise

    def newEvents(self) -> list[events.Event]:
        """Return what happened since the last call; with `Finished`, the segments are there."""
        found = [self._received(event) for event in self._worker.new_events()]
        if any(isinstance(event, events.Finished | events.Failed) for event in found):
            self._removeFolder()
        return found

    def cancel(self) -> None:
        """Stop the worker and delete the run folder."""
        self._worker.cancel()
        self._removeFolder()

    def wait(self) -> slicer.vtkMRMLSegmentationNode:
        """Wait for the end and return the segmentation; for scripts.

        Raises:
            UserError: What the worker failed with.
        """
        while True:
            for event in self.newEvents():
                if isinstance(event, events.Failed):
                    raise UserError(event.message, event.remedy, Code(event.code))
                if isinstance(event, events.Finished):
                    return self.segmentationNode
            time.sleep(POLL_S)

    def _received(self, event: events.Event) -> events.Event:
        """Import a finished result; a failure to do so becomes a `Failed`."""
        if not isinstance(event, events.Finished):
            return event
        try:
            self._importResult(Path(event.labels))
        except UserError as error:
            return events.Failed(error.code.value, error.message, error.remedy)
        except Exception:
            logging.exception("The result could not be imported")
            return events.Failed(
                Code.INTERNAL.value,
                _("The result could not be brought into the scene."),
                _("See the log (View > Error Log), and report it with the log."),
            )
        return event

    def _importResult(self, labels: Path) -> None:
        if self.segmentationNode is None:
            scene = self.volumeNode.GetScene()
            name = _("{volume} spine").format(volume=self.volumeNode.GetName())
            self.segmentationNode = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        Scene.readSegmentation(labels, self.segmentationNode, self.volumeNode)
        self.segmentationNode.CreateClosedSurfaceRepresentation()

    def _removeFolder(self) -> None:
        # On Windows the log may stay open for a moment after the worker has ended.
        shutil.rmtree(self._folder, ignore_errors=True)


def pythonExecutable() -> str:
    """Return the interpreter of this Slicer; inside the application that is a launcher."""
    return shutil.which("PythonSlicer") or sys.executable
