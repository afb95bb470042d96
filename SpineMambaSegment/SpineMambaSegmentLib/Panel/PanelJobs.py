"""Starts runs other than the segmentation of a volume, and shows their progress in the panel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from slicer.i18n import tr as _

from spinemamba.protocol import events
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Panel.RunSection import RunSection
from SpineMambaSegmentLib.Panel.SetupSection import SetupSection
from SpineMambaSegmentLib.Runs.RunManager import RunManager
from SpineMambaSegmentLib.Runs.WorkerRun import WorkerRun

Job = TypeVar("Job", bound=WorkerRun)


class PanelJobs:
    """Shows these runs in the section Segment: progress bar, status line, log and Cancel.

    Args:
        runs: Owner of the current run; only one run at a time.
        section: Shows the progress.
        setup: Installs missing packages.
        refresh: Called when buttons may have to be enabled or disabled.
    """

    def __init__(
        self,
        runs: RunManager,
        section: RunSection,
        setup: SetupSection,
        refresh: Callable[[], None],
    ):
        self._runs, self._section = runs, section
        self._setup, self._refresh = setup, refresh

    def start(
        self, make: Callable[[Path], Job], failure: str, onFinished: Callable[[Job], str]
    ) -> bool:
        """Start a run; errors are shown. Do nothing while another run is in progress.

        Args:
            make: Creates and starts the run, given a folder for temporary files.
            failure: Message for the error dialog.
            onFinished: Called with the finished run; returns the message for the status line. A
                `UserError` that it raises is shown.

        Returns:
            True if the run was started.
        """
        if self._runs.isRunning():
            return False
        started: list[Job] = []

        def onEvent(event: events.Event) -> None:
            self._section.show(event)
            if isinstance(event, events.Finished):
                with Errors.shown(failure, self._section.say):
                    self._section.say(onFinished(started[0]))
            if isinstance(event, events.Finished | events.Failed):
                self._refresh()

        with Errors.shown(failure, self._section.say):
            self._setup.ensurePackages()
            started.append(self._runs.begin(make, onEvent))
            self._section.started()
        self._refresh()
        return bool(started)


def foundText(volume_ml: float) -> str:
    """Return the message for a vertebra that was added or segmented again."""
    return _("Found {volume:.1f} mL. Check its outline and its level.").format(volume=volume_ml)
