"""The section Segment: start, follow and cancel a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from spinemamba.common.errors import Code
from spinemamba.protocol import events
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Runs.RemainingTime import RemainingTime

SCALE = 1000


class RunSection:
    """Buttons, progress, status line and log.

    Args:
        ui: Widgets of the panel.
        isRunning: Returns True while a run is in progress.
        canCancel: Returns True if Cancel can stop it.
        log: Returns the log of the last run.
    """

    def __init__(
        self,
        ui: Any,
        isRunning: Callable[[], bool],
        canCancel: Callable[[], bool],
        log: Callable[[], str],
    ):
        self._ui, self._isRunning, self._canCancel, self._log = ui, isRunning, canCancel, log
        self._remaining = RemainingTime()
        self._warnings: list[str] = []
        self.lastCode = ""
        ui.logText.hide()
        ui.logButton.connect("toggled(bool)", self._showLog)

    def started(self) -> None:
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
            text = f"{event.message} {event.remedy}".strip()
            if event.code == Code.CANCELLED.value:
                self._warnings.clear()
                self.say(text)
            else:
                self.say(Errors.withCode(event.code, text))
        elif isinstance(event, events.Finished):
            self._ui.progressBar.value = SCALE
            text = _("Finished in {seconds:.0f} s. Research use only: check every level.")
            self.say(text.format(seconds=event.seconds))
        self._showLog(self._ui.logButton.checked)

    def refresh(self, missing: str) -> None:
        """Enable or disable the buttons.

        Args:
            missing: Reason why Segment Spine is disabled; empty if it is enabled.
        """
        running = self._isRunning()
        self._ui.segmentButton.enabled = not (missing or running)
        tip = missing or _("Find and name every vertebra (Ctrl+Return)")
        self._ui.segmentButton.toolTip = _("Wait for the run to end") if running else tip
        canCancel = self._canCancel()
        self._ui.cancelButton.enabled = canCancel
        stop = _("Stop the run; the scene stays as it is (Ctrl+Backspace)")
        idle = _("The run is about to end") if running else _("There is no run to stop")
        self._ui.cancelButton.toolTip = stop if canCancel else idle

    def _showProgress(self, event: events.Progress) -> None:
        self._ui.progressBar.value = round(SCALE * event.overall)
        remaining_s = self._remaining.update(event.overall)
        text = stageText(event.stage)
        if remaining_s is not None:
            text = _("{stage}, about {time} left").format(stage=text, time=timeText(remaining_s))
        self.say(text)

    def _showLog(self, visible: bool) -> None:
        self._ui.logText.setVisible(visible)
        if visible and (text := self._log()) != self._ui.logText.toPlainText():
            self._ui.logText.setPlainText(text)
            bar = self._ui.logText.verticalScrollBar()
            bar.setValue(bar.maximum)


def stageText(stage: str) -> str:
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
    }
    return texts.get(stage, stage)


def timeText(seconds: float) -> str:
    """Return a duration in seconds or minutes."""
    if seconds < 90:
        return _("{count} s").format(count=max(1, round(seconds)))
    return _("{count} min").format(count=round(seconds / 60))
