"""Segmentation of all frames of a sequence, one after the other in the same worker process."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.protocol import events
from spinemamba.protocol.remote.remote_worker import RemoteWorker
from spinemamba.protocol.worker_client import WorkerProcess
from SpineMambaSegmentLib.Errors import remedies
from SpineMambaSegmentLib.Review.Sessions import startReview
from SpineMambaSegmentLib.Runs.CommandRun import interpreter
from SpineMambaSegmentLib.Runs.SegmentRun import (
    MarkedRun,
    RunOptions,
    SegmentRun,
    deviceOf,
    importInto,
    jobIn,
)
from SpineMambaSegmentLib.Scene import Frames, Inputs
from SpineMambaSegmentLib.Scene.Files import Extent, VolumeFile

_SKIPPED = {Code.NO_SPINE.value, Code.INPUT_BAD.value}
"""Errors of one frame that do not concern the others."""


def segmentRun(
    volumeNode: slicer.vtkMRMLScalarVolumeNode,
    segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    temporaryFolder: Path,
    options: RunOptions | None = None,
) -> SegmentRun | SequenceRun:
    """Start a run over a volume, or over all frames of its sequence if the options say so.

    Raises:
        UserError: If the volume cannot be segmented, or the segmentation cannot take segments.
    """
    kind = SequenceRun if options is not None and options.allFrames else SegmentRun
    return kind(volumeNode, segmentationNode, temporaryFolder, options)


class SequenceRun(MarkedRun):
    """Run over all frames. Starts at once; see `WorkerRun.follow` and `wait`.

    Each result is stored as soon as it is complete, in a sequence of segmentations with the index
    values of the volume's sequence. The browser goes on showing the same frame. A frame in which
    no spine is found is skipped with a warning.

    Args:
        volumeNode: Proxy node of the sequence.
        segmentationNode: Proxy node of the same browser, whose approved vertebrae are kept; None
            creates a new sequence.
        temporaryFolder: Folder in which the run folder is created; deleted at the end of the run.
        options: Model, device, modality, quality and region.

    Raises:
        UserError: If a frame cannot be segmented, or the segmentation is of another browser.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
        temporaryFolder: Path,
        options: RunOptions | None = None,
    ):
        Inputs.checkVolume(volumeNode)
        Frames.checkOutput(volumeNode, segmentationNode)
        self._options = options or RunOptions()
        self._device = deviceOf(self._options)
        self._left, self._stored = Frames.framesOf(volumeNode), 0
        self.volumeNode, self.segmentationNode = volumeNode, segmentationNode
        for frame in self._left:
            self._checkFrame(frame)
        super().__init__(volumeNode, segmentationNode, temporaryFolder)
        self.isReviewStarted = True
        self._start_s = time.monotonic()
        self._process: WorkerProcess | RemoteWorker | None = None
        self._site = self._options.site
        hints = Inputs.hints(volumeNode, segmentationNode, allFrames=True)
        self._early += [events.Warning(text) for text in hints]
        self._setMark()
        self._startFrame()

    @property
    def part(self) -> str:
        """The frame that is being segmented, such as "Frame 3 of 12"."""
        return self._left[0].title if self._left else ""

    def canCancel(self) -> bool:
        """Return True if the run is in progress and not being cancelled.

        A frame is stored in a single step: also its import can be cancelled.
        """
        return self.isRunning() and self._killAt_s is None

    def newEvents(self) -> list[events.Event]:
        """Return the events since the last call; see `WorkerRun.newEvents`."""
        part = self.part
        return [self._described(event, part) for event in super().newEvents()]

    def _checkFrame(self, frame: Frames.Frame) -> None:
        """Check image, region and earlier segments of a frame.

        Raises:
            UserError: If the frame cannot be segmented; the message names it.
        """
        try:
            Inputs.checkVolume(frame.dataNode)
            self._extent(frame.dataNode)
            target = self._target(frame)
            if target is not None:
                Inputs.checkSegmentation(target.dataNode)
                fine = self._options.fineSlices
                Inputs.checkSlices(target.dataNode, frame.dataNode, fine=fine)
        except UserError as error:
            raise UserError(f"{frame.title}: {error.message}", error.remedy, error.code) from error

    def _extent(self, image: slicer.vtkMRMLScalarVolumeNode) -> Extent | None:
        roi = self._options.roiNode
        return None if roi is None else Inputs.regionExtent(image, roi, self.volumeNode)

    def _target(self, frame: Frames.Frame) -> Frames.Frame | None:
        """Return where the segments of a frame are stored; None if there is no sequence yet."""
        sequence = frame.browser.GetSequenceNode(self.segmentationNode) if self._hasNode() else None
        return None if sequence is None else frame.within(sequence)

    def _startFrame(self) -> None:
        """Start the worker for the next frame."""
        frame = self._left[0]
        self._checkInScene()
        self._checkFrame(frame)  # it may have been replaced since the start
        folder = self._folder / f"frame-{frame.number}"
        folder.mkdir()
        self._image = frame.dataNode
        self._file = VolumeFile(self._image, folder / "input.nrrd", self._extent(self._image))
        self._start([self._file], jobIn(folder, self._options, self._device))

    def _advance(self) -> list[events.Event]:
        done, total = self._left[0].number - 1, self._left[0].count
        newEvents: list[events.Event] = []
        for event in super()._advance():
            if isinstance(event, events.Progress):
                newEvents.append(replace(event, overall=(done + event.overall) / total))
            elif isinstance(event, events.Failed) and event.code in _SKIPPED:
                text = f"{self.part}: {event.message}"
                newEvents += [events.Warning(text), *self._next()]
            else:
                newEvents.append(event)
        return newEvents

    def _import(self) -> Iterator[None]:
        """Store the result of a frame, in short steps."""
        frame, scratch = self._left[0], slicer.vtkMRMLScene()
        target = self._target(frame)
        if target is None:
            node = scratch.AddNewNodeByClass("vtkMRMLSegmentationNode", self._name())
        else:
            node = target.copyTo(scratch)
        yield from importInto(node, self._job, self._file.grid, self._image)
        startReview(node)
        yield
        self._checkInScene()
        if target is None or not target.isInScene():
            name = self._name()
            self.segmentationNode = Frames.addOutput(name, frame, node, self.volumeNode)
            self._setMark()
        else:
            target.store(node)
        self._stored += 1
        self.onStored(self.segmentationNode, frame.indexValue)

    def _imported(self) -> list[events.Event]:
        return self._next()

    def _next(self) -> list[events.Event]:
        """Go on with the next frame; return the last event after the last one."""
        shutil.rmtree(self._job.input.parent, ignore_errors=True)
        seconds = time.monotonic() - self._start_s
        if len(self._left) > 1:
            self._left = self._left[1:]
            self._startFrame()
            return []
        if self._stored:
            return [events.Finished("", "", seconds)]
        message = _("No frame could be segmented.")
        return [events.Failed(Code.NO_SPINE.value, message, remedies()[Code.NO_SPINE])]

    def _check(self) -> None:
        super()._check()
        self._checkInScene()

    def _checkInScene(self) -> None:
        """Check that browser and sequence of the volume were not deleted.

        Raises:
            UserError: If they were.
        """
        if not self._left[0].isInScene():
            raise UserError(
                _("The sequence of the input volume was deleted during the run."),
                _("Load it again and press Segment Spine."),
                Code.INPUT_BAD,
            )

    def _described(self, event: events.Event, part: str) -> events.Event:
        """Return an error with its frame, and with what is kept; other events are not changed."""
        if not isinstance(event, events.Failed):
            return event
        return replace(event, message=" ".join([f"{part}: {event.message}", *self._kept()]))

    def _cancelled(self) -> str:
        kept = self._kept()
        return " ".join([_("Cancelled."), *kept]) if kept else super()._cancelled()

    def _kept(self) -> list[str]:
        """Return a sentence about the frames that are finished; empty if there are none."""
        if not self._stored:
            return []
        text = _("The segments of {done} of {total} frames are finished and kept.")
        return [text.format(done=self._stored, total=self._left[0].count)]

    def _launch(self) -> WorkerProcess | RemoteWorker:
        if self._site is not None:
            self._process = super()._launch()
        elif self._process is not None and self._process.is_running():
            self._process.run(self._job)
        else:
            self._process = WorkerProcess.start(self._job, self._folder, interpreter(), stays=True)
        return self._process

    def _askToStop(self) -> None:
        # Between two frames, the process waits and is not the worker of a job.
        self._worker = self._process
        super()._askToStop()
