"""Jobs that are no run over the whole volume, in the panel: started, followed and cancelled."""

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
    """Shows such a job where runs are shown: bar, status line, log and Cancel are theirs.

    Args:
        runs: Only one of all runs and jobs goes on at a time.
        section: Where it is shown.
        setup: Offers to install what is missing.
        refresh: Called when what can be pressed may have changed.
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
        """Start a job, or say why not; while another goes on, nothing happens.

        Args:
            make: Starts it, in a folder for temporary files.
            failure: What did not work, if it does not.
            onFinished: Called with the job when it has all that it should bring; returns what
                the status line shall say. A `UserError` from it is shown.

        Returns:
            Whether it has started.
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
    """Return what the status line says when a vertebra was found in a box."""
    return _("Found {volume:.1f} mL. Check its outline and its level.").format(volume=volume_ml)
