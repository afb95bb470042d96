"""Starts and stops runs, for the panel and for scripts; one run at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import slicer

from spinemamba.protocol import events
from SpineMambaSegmentLib.Runs.SegmentRun import RunOptions, SegmentRun
from SpineMambaSegmentLib.Runs.SequenceRun import SequenceRun, segmentRun
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun

Run = TypeVar("Run", bound=WorkerRun)


class RunManager:
    """Owner of the current run.

    Attributes:
        run: The current run, or the last one that has ended; None before the first, and after
            `forget`.

    Args:
        temporaryFolder: Returns the folder in which run folders are created; the user may change
            it at any time.
    """

    def __init__(self, temporaryFolder: Callable[[], Path]):
        self._temporaryFolder = temporaryFolder
        self.run: WorkerRun | None = None
        self._log = ""

    def start(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
        onEvent: Callable[[events.Event], None] = lambda event: None,
        options: RunOptions | None = None,
    ) -> SegmentRun | SequenceRun:
        """Start a segmentation and return it; ``onEvent`` is called from Qt's event loop.

        The last event is `Finished` (the segments are in the scene) or `Failed`.

        Raises:
            UserError: If the volume cannot be segmented.
            ValueError: If another run is in progress.
        """
        return self.begin(
            lambda folder: segmentRun(volumeNode, segmentationNode, folder, options), onEvent
        )

    def begin(self, make: Callable[[Path], Run], onEvent: Callable[[events.Event], None]) -> Run:
        """Start any run of the worker and return it.

        Args:
            make: Creates and starts the run, given a folder for temporary files.
            onEvent: Called from Qt's event loop; the last event is `Finished` or `Failed`.

        Raises:
            UserError: Error of ``make``.
            ValueError: If another run is in progress.
        """
        if self.isRunning():
            raise ValueError("another run is in progress; cancel it first")
        run = make(self._temporaryFolder())
        run.follow(onEvent)
        self.run = run
        return run

    def process(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
        options: RunOptions | None = None,
    ) -> slicer.vtkMRMLSegmentationNode:
        """Segment a volume and wait for the result; for scripts.

        Raises:
            UserError: If the volume cannot be segmented, or the worker fails.
        """
        return segmentRun(volumeNode, segmentationNode, self._temporaryFolder(), options).wait()

    def cancel(self) -> None:
        """Ask the current run to stop, and return at once."""
        if self.run is not None:
            self.run.cancel()

    def stopNow(self) -> None:
        """Stop the current run and wait for its end; no event follows."""
        if self.run is not None and self.run.isRunning():
            self.run.stopNow()

    def forget(self) -> None:
        """Let go of the nodes of the last run, which has ended; its log is kept."""
        if not self.isRunning():
            self._log, self.run = self.log(), None

    def isRunning(self) -> bool:
        """Return True if a run is in progress."""
        return self.run is not None and self.run.isRunning()

    def canCancel(self) -> bool:
        """Return True if `cancel` can stop the run."""
        return self.run is not None and self.run.canCancel()

    def part(self) -> str:
        """Return the part of the run in progress, such as "Frame 3 of 12", or an empty string."""
        return "" if self.run is None else self.run.part

    def where(self) -> str:
        """Return the server and the model of the run, or an empty string."""
        return "" if self.run is None else self.run.where

    def log(self) -> str:
        """Return the log of the last run."""
        return self._log if self.run is None else self.run.log()
