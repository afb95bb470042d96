"""The section Segment: start, follow and cancel runs of the worker."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from slicer.i18n import tr as _

from spinemamba.common.errors import Code
from spinemamba.common.progress import FETCH, SEND, WAIT
from spinemamba.protocol import events
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Application.StatusBar import StatusBar
from SpineMambaSegmentLib.Runs.RunManager import RunManager
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun

_SCALE = 1000
"""Steps of the progress bar."""

_MIN_ELAPSED_S = 3.0
_MIN_PROGRESS = 0.05
_SMOOTHING = 0.3

Run = TypeVar("Run", bound=WorkerRun)


class RunSection:
    """Buttons, progress, status line and log of all runs of the worker.

    Args:
        ui: Widgets of the panel.
        runs: Owner of the current run; only one run at a time.
        statusBar: Shows progress and end of a run while another module is open.
        ensurePackages: Installs missing packages, after asking; may raise `UserError`.
        refresh: Called when buttons may have to be enabled or disabled.
    """

    def __init__(
        self,
        ui: Any,
        runs: RunManager,
        statusBar: StatusBar,
        ensurePackages: Callable[[], None],
        refresh: Callable[[], None],
    ):
        self._ui, self._runs, self._statusBar = ui, runs, statusBar
        self._ensurePackages, self._refresh = ensurePackages, refresh
        self._remaining = RemainingTime()
        self._warnings: list[str] = []
        self.lastCode = ""
        ui.logText.hide()
        ui.logButton.connect("toggled(bool)", self._showLog)
        ui.cancelButton.connect("clicked(bool)", self.cancel)

    def start(
        self, make: Callable[[Path], Run], failure: str, onFinished: Callable[[Run], str]
    ) -> bool:
        """Start a run; errors are shown. Do nothing while another run is in progress.

        Args:
            make: Creates and starts the run, given a folder for temporary files.
            failure: Message for the error dialog.
            onFinished: Called with the finished run; returns the message for the status line, or
                an empty string for the usual one. A `UserError` that it raises is shown.

        Returns:
            True if the run was started.
        """
        if self._runs.isRunning():
            return False
        started: list[Run] = []

        def onEvent(event: events.Event) -> None:
            self.show(event)
            if isinstance(event, events.Finished):
                with Errors.shown(failure, self.say):
                    if text := onFinished(started[0]):
                        self.say(text)
            self._refresh()

        with Errors.shown(failure, self.say):
            self._ensurePackages()
            started.append(self._runs.begin(make, onEvent))
            self._reset()
        self._refresh()
        return bool(started)

    def cancel(self) -> None:
        """Cancel the run, if it can be cancelled."""
        if self._runs.canCancel():
            self._runs.cancel()
            self.say(_("Stopping"))
        self._refresh()

    def _reset(self) -> None:
        """Reset progress and warnings at the start of a run."""
        self._remaining = RemainingTime()
        self._warnings.clear()
        self.lastCode = ""
        self._ui.progressBar.value = 0
        self.say(_("Starting"))

    def say(self, text: str) -> None:
        """Show a message in the status line, above the warnings of the run."""
        self._ui.statusLabel.text = "\n".join([text, *self._warnings])

    def show(self, event: events.Event) -> None:
        """Show an event of the worker."""
        if isinstance(event, events.Progress):
            self._showProgress(event)
        elif isinstance(event, events.Warning):
            self._warnings.append(event.message)
            self.say(_("Working"))
        elif isinstance(event, events.Failed):
            self.lastCode = event.code
            self._ui.progressBar.value = 0
            text = " ".join(filter(None, [event.message, event.remedy]))
            self._statusBar.end(event.message)
            if event.code == Code.CANCELLED.value:
                self._warnings.clear()
                self.say(text)
            else:
                self.say(Errors.withCode(event.code, text))
        elif isinstance(event, events.Finished):
            self._ui.progressBar.value = _SCALE
            text = _("Finished in {seconds:.0f} s. Research use only: check every level.")
            text = text.format(seconds=event.seconds)
            if where := self._runs.where():
                text = _("{text} Made on {server}.").format(text=text, server=where)
            self.say(text)
            self._statusBar.end(text)
        self._showLog(self._ui.logButton.checked)

    def enableButtons(self, missing: str) -> None:
        """Enable or disable the buttons.

        Args:
            missing: Reason why Segment Spine is disabled; empty if it is enabled.
        """
        running = self._runs.isRunning()
        self._ui.segmentButton.enabled = not (missing or running)
        tip = missing or _("Find and name every vertebra (Ctrl+Return)")
        self._ui.segmentButton.toolTip = _("Wait for the run to end") if running else tip
        canCancel = self._runs.canCancel()
        self._ui.cancelButton.enabled = canCancel
        stop = _("Stop the run; the scene stays as it is (Ctrl+Backspace)")
        if self._runs.part():
            stop = _("Stop the run; the frames that are finished are kept (Ctrl+Backspace)")
        idle = _("The run is about to end") if running else _("There is no run to stop")
        self._ui.cancelButton.toolTip = stop if canCancel else idle

    def _showProgress(self, event: events.Progress) -> None:
        self._ui.progressBar.value = round(_SCALE * event.overall)
        if event.stage in (SEND, WAIT):
            # How long a line takes says nothing about the run after it.
            self._remaining = RemainingTime()
        remaining_s = self._remaining.update(event.overall)
        text = _stageText(event.stage)
        if where := self._runs.where():
            text = _("{stage} on {server}").format(stage=text, server=where)
        if part := self._runs.part():
            text = _("{part}: {stage}").format(part=part, stage=text)
        if remaining_s is not None:
            text = _("{stage}, about {time} left").format(stage=text, time=_timeText(remaining_s))
        self.say(text)
        self._statusBar.progress(event.overall, text)

    def _showLog(self, visible: bool) -> None:
        self._ui.logText.setVisible(visible)
        if visible and (text := self._runs.log()) != self._ui.logText.toPlainText():
            self._ui.logText.setPlainText(text)
            bar = self._ui.logText.verticalScrollBar()
            bar.setValue(bar.maximum)


class RemainingTime:
    """Smoothed estimate of the remaining time; the progress of a run is only roughly linear.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._start_s = clock()
        self._total_s: float | None = None

    def update(self, overall: float) -> float | None:
        """Return the remaining seconds; None while it is too early for an estimate.

        Args:
            overall: Progress of the run, in [0, 1].
        """
        elapsed_s = self._clock() - self._start_s
        if elapsed_s < _MIN_ELAPSED_S or overall < _MIN_PROGRESS:
            return None
        total_s = elapsed_s / overall
        if self._total_s is None:
            self._total_s = total_s
        self._total_s += _SMOOTHING * (total_s - self._total_s)
        return max(0.0, self._total_s - elapsed_s)


def _stageText(stage: str) -> str:
    """Return the displayed name of a stage of a run."""
    texts = {
        "read": _("Reading the volume"),
        "locate": _("Locating the spine"),
        "segment": _("Outlining the vertebrae"),
        "instances": _("Separating the vertebrae"),
        "levels": _("Naming the levels"),
        "restore": _("Resampling to the voxels of the volume"),
        "write": _("Writing the result"),
        "measure": _("Measuring the spine"),
        SEND: _("Sending the volume"),
        WAIT: _("Waiting in line"),
        FETCH: _("Fetching the result"),
    }
    return texts.get(stage, stage)


def _timeText(seconds: float) -> str:
    """Return a duration in seconds or minutes."""
    if seconds < 90:
        return _("{count} s").format(count=max(1, round(seconds)))
    return _("{count} min").format(count=round(seconds / 60))
