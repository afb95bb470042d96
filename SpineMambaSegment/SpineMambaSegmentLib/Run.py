"""One run: volume node -> run folder -> worker process -> segments. MRML and files, no Qt."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from spinemamba import events
from spinemamba.errors import Code, UserError
from spinemamba.job import Job
from spinemamba.models import DEFAULT
from spinemamba.process import LOG_NAME, WorkerProcess
from spinemamba.result import read_result
from SpineMambaSegmentLib import Errors, Inputs, Interpreter, Provenance, Scene
from SpineMambaSegmentLib.Grid import gridOf
from SpineMambaSegmentLib.VolumeFile import VolumeFile

POLL_S = 0.1
FOLDER_PREFIX = "spinemamba-"
STALE_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class RunOptions:
    """What the user may choose for a run; the words are those of `job.Job`.

    Attributes:
        model: Name of a bundled model, or a folder.
        device: "auto", "cpu", "cuda", "cuda:1" ..., "mps".
        modality: "auto", "ct" or "mr".
        quality: "standard" or "fast".
        roiNode: Only what lies in this region is segmented; None for all.
    """

    model: str = DEFAULT
    device: str = "auto"
    modality: str = "auto"
    quality: str = "standard"
    roiNode: slicer.vtkMRMLMarkupsROINode | None = None


class Run:
    """Starts at once; ``newEvents`` must then be called until `Finished` or `Failed` came.

    Args:
        volumeNode: The image to segment.
        segmentationNode: Where the segments go; None makes a new node when they are there.
        temporaryFolder: The run folder is made in here, and deleted when the run ends.
        options: What the user chose.

    Raises:
        UserError: If the volume cannot be segmented, or the segmentation not be added to.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        temporaryFolder: Path,
        options: RunOptions | None = None,
    ):
        Inputs.checkVolume(volumeNode)
        Inputs.checkSegmentation(segmentationNode)
        options = options or RunOptions()
        roi = options.roiNode
        extent = None if roi is None else Inputs.regionExtent(volumeNode, roi)
        self.volumeNode, self.segmentationNode = volumeNode, segmentationNode
        self.isImporting = False
        self.importedIds: list[str] = []
        self._gridAtStart = gridOf(volumeNode)
        self._early = [events.Warning(text) for text in Inputs.hints(volumeNode)]
        removeStale(temporaryFolder)
        self._folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=temporaryFolder))
        self._log = ""
        self._file = VolumeFile(volumeNode, self._folder / "input.nrrd", extent)
        self._job = Job(
            self._folder / "input.nrrd",
            self._folder / "labels.nrrd",
            self._folder / "result.json",
            model=options.model,
            device=options.device,
            modality=options.modality,
            quality=options.quality,
        )
        self._worker: WorkerProcess | None = None
        self._failure: Exception | None = None
        self._steps: Iterator[None] | None = None
        self._finished: events.Finished | None = None
        self._lastWord_s = time.monotonic()
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    @property
    def silent_s(self) -> float:
        """Seconds since the worker last gave a sign of life; it gives one every two seconds."""
        return time.monotonic() - self._lastWord_s

    def newEvents(self) -> list[events.Event]:
        """Return what happened since the last call; with `Finished`, the segments are there.

        Each call does at most one step of bringing the result into the scene.
        """
        found: list[events.Event] = []
        found, self._early = self._early, found
        try:
            found += self._advance()
        except UserError as error:
            found.append(events.Failed(error.code.value, error.message, error.remedy))
        except Exception as error:
            logging.exception("The run failed")
            found.append(Errors.inUsersWords(events.Failed(Code.INTERNAL.value, str(error), "")))
        if any(isinstance(event, events.Finished | events.Failed) for event in found):
            self.kill()
        return found

    def askToStop(self) -> None:
        """Ask the worker politely to stop; returns at once."""
        self._file.stop()
        if self._worker is not None:
            self._worker.ask_to_stop()

    def isGone(self) -> bool:
        """Return whether nothing is at work any more."""
        working = self._worker is not None and self._worker.is_running()
        return not working and not self._writer.is_alive()

    def kill(self) -> None:
        """End everything that is left of the run, and delete its folder."""
        self.askToStop()
        self._writer.join()
        if self._worker is not None:
            self._worker.kill()
        self._steps = None
        self._log = self.log()
        # On Windows the log may stay open for a moment after the worker has ended.
        shutil.rmtree(self._folder, ignore_errors=True)

    def cancel(self) -> None:
        """Stop politely, and after a grace period by force; waits for the end."""
        self.askToStop()
        if self._worker is not None:
            self._worker.cancel()
        self.kill()

    def log(self) -> str:
        """Return what the worker wrote for people who look for a fault."""
        path = self._folder / LOG_NAME
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else self._log

    def wait(self) -> slicer.vtkMRMLSegmentationNode:
        """Wait for the end and return the segmentation; for scripts.

        Raises:
            UserError: What the run failed with.
        """
        try:
            while True:
                for event in self.newEvents():
                    if isinstance(event, events.Failed):
                        raise UserError(event.message, event.remedy, Code(event.code))
                    if isinstance(event, events.Finished):
                        return self.segmentationNode
                time.sleep(0 if self.isImporting else POLL_S)
        finally:  # also when the user interrupts the script
            self.kill()

    def _write(self) -> None:
        # Whatever goes wrong in this thread must reach the one that asks for events.
        try:
            self._file.write()
        except Exception as error:
            self._failure = error

    def _advance(self) -> list[events.Event]:
        """Go on with what is due: the input file, the worker, or a step of the import."""
        if self._steps is not None:
            if next(self._steps, self) is not self:
                return []
            return [self._finished]
        if self._worker is None:
            self._startWorker()
            return []
        if self.volumeNode.GetScene() is None:
            raise UserError(
                _("The input volume was deleted during the run."),
                _("Load it again and press Segment Spine."),
                Code.INPUT_BAD,
            )
        found = [Errors.inUsersWords(event) for event in self._worker.new_events()]
        if found:
            self._lastWord_s = time.monotonic()
        if found and isinstance(found[-1], events.Finished):
            self._finished = found.pop()
            self._steps, self.isImporting = self._import(), True
        return found

    def _startWorker(self) -> None:
        self._lastWord_s = time.monotonic()
        if self._writer.is_alive():
            return
        if self._failure is not None:
            raise self._failure
        self._worker = WorkerProcess.start(self._job, self._folder, Interpreter.path())

    def _import(self) -> Iterator[None]:
        """Bring the result into the scene, in steps that each are short."""
        labels = Scene.readLabels(self._job.output, self._file.grid)
        result = read_result(self._job.result)
        yield
        scene = self.volumeNode.GetScene()
        if not gridOf(self.volumeNode).isSameAs(self._gridAtStart):
            raise UserError(
                _("The input volume was replaced during the run."), _("Press Segment Spine again.")
            )
        # A node that the user deleted meanwhile is out of the scene, but not None.
        if self.segmentationNode is None or self.segmentationNode.GetScene() is None:
            name = _("{volume} spine").format(volume=self.volumeNode.GetName())
            self.segmentationNode = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node, tags = self.segmentationNode, Provenance.tagsByLabel(result)
        self.importedIds = Scene.addSegments(labels, node, self.volumeNode, tags)
        Provenance.keepResult(node, self._job.result)
        # One by one: all surfaces at once hold up Slicer for more than a second.
        surfaces = {}
        for segmentId in self.importedIds:
            yield
            # The user may delete one meanwhile.
            if node.GetSegmentation().GetSegment(segmentId) is not None:
                surfaces[segmentId] = Scene.surfaceOf(node, segmentId)
        yield
        Scene.keepSurfaces(node, surfaces)


def removeStale(temporaryFolder: Path) -> None:
    """Delete run folders that a crash of Slicer left; another Slicer may be using newer ones."""
    for folder in temporaryFolder.glob(f"{FOLDER_PREFIX}*"):
        if time.time() - folder.stat().st_mtime > STALE_S:
            shutil.rmtree(folder, ignore_errors=True)
