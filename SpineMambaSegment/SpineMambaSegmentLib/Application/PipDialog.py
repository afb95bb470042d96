"""Progress of an installation by pip, in a dialog that can be cancelled."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from SpineMambaSegmentLib.Runs.PipRun import PipRun

_POLL_MS = 100
_MAX_LETTERS = 70
"""Lines of pip may hold addresses of several hundred letters, which would widen the dialog."""


def pipInDialog(parent: qt.QWidget, arguments: list[str]) -> None:
    """Run ``pip install``; its last line of output is shown until it ends.

    Slicer's windows are drawn meanwhile, and cannot be used.

    Args:
        parent: Widget in front of which the dialog opens.
        arguments: Requirements and options of pip.

    Raises:
        UserError: If pip fails, or the user cancels.
    """
    run = PipRun(arguments)
    dialog = qt.QProgressDialog(parent)
    dialog.windowTitle = _("Installing Python packages")
    dialog.labelText = _("Starting pip; this can take minutes.")
    dialog.maximum = 0  # pip does not know how much is left
    dialog.autoReset = False
    dialog.minimumWidth = 420

    def poll() -> None:
        dialog.labelText = run.line()[:_MAX_LETTERS] or dialog.labelText
        if not run.isRunning():
            dialog.accept()

    timer = qt.QTimer()
    timer.setInterval(_POLL_MS)
    timer.connect("timeout()", poll)
    timer.start()
    dialog.exec_()
    timer.stop()
    dialog.deleteLater()
    if run.isRunning():  # the dialog was closed before the end
        run.stop()
        raise UserError(
            _("The installation was cancelled."),
            _("Press Install in the section Setup to start again."),
            Code.DEPENDENCY_MISSING,
        )
    run.finish()
