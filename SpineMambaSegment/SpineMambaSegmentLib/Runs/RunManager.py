"""Starts and stops runs, for the panel and for scripts; one run at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import slicer

from spinemamba.protocol import events
from SpineMambaSegmentLib.Runs.RunTimer import RunTimer
from SpineMambaSegmentLib.Runs.SegmentRun import RunOptions, SegmentRun
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun


class RunManager:
    """Owner of the current run.

    Args:
        temporaryFolder: Returns the folder in which run folders are created; the user may change
            it at any time.
    """

    def __init__(self, temporaryFolder: Callable[[], Path]):
        self._temporaryFolder = temporaryFolder
        self._timer: RunTimer | None = None
        self._lastRun: SegmentRun | None = None

    def start(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
        onEvent: Callable[[events.Event], None] = lambda event: None,
        options: RunOptions | None = None,
    ) -> None:
        """Start a segmentation and return; ``onEvent`` is called from Qt's event loop.

        The last event is `Finished` (the segments are in the scene) or `Failed`.

        Raises:
            UserError: If the volume cannot be segmented.
            ValueError: If another run is in progress.
        """
        self.begin(
            lambda folder: SegmentRun(volumeNode, segmentationNode, folder, options), onEvent
        )

    def begin(
        self, make: Callable[[Path], WorkerRun], onEvent: Callable[[events.Event], None]
    ) -> WorkerRun:
        """Start any run of the worker and return.

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
        self._timer = RunTimer(run, onEvent)
        if isinstance(run, SegmentRun):
            self._lastRun = run
        return run

    def cancel(self) -> None:
        """Ask the current run to stop, and return at once."""
        if self._timer is not None:
            self._timer.cancel()

    def stopNow(self) -> None:
        """Stop the current run and wait for its end; no event follows."""
        if self._timer is not None:
            self._timer.stopNow()

    def isRunning(self) -> bool:
        """Return True if a run is in progress."""
        return self._timer is not None and self._timer.isRunning()

    def canCancel(self) -> bool:
        """Return True if `cancel` can stop the run."""
        return self._timer is not None and self._timer.canCancel()

    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        """Return the node with the result of the last `SegmentRun`."""
        return None if self._lastRun is None else self._lastRun.segmentationNode

    def importedIds(self) -> list[str]:
        """Return the IDs of the segments that the last `SegmentRun` made, from head to tail."""
        return [] if self._lastRun is None else self._lastRun.importedIds

    def log(self) -> str:
        """Return the log of the last run."""
        return "" if self._timer is None else self._timer.run.log()

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
        return SegmentRun(volumeNode, segmentationNode, self._temporaryFolder(), options).wait()
