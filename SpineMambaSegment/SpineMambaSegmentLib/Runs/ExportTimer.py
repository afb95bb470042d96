"""Qt only: a timer that does one step of an export after another, so that Slicer stays usable."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import qt

from spinemamba.common.errors import UserError
from spinemamba.export.exporter import Export, Step


class ExportTimer:
    """Does an export in Qt's main thread, where segments may be read, a piece at a time.

    Args:
        export: What to do.
        onStep: Called after each piece.
        onEnd: Called once when all is done, or with the error that ended it; not after ``stop``.
    """

    def __init__(
        self,
        export: Export,
        onStep: Callable[[Step], None],
        onEnd: Callable[[Exception | None], None],
    ):
        self._steps: Iterator[Step] = export.steps()
        self._onStep, self._onEnd = onStep, onEnd
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._next)
        self._timer.start()

    def isRunning(self) -> bool:
        """Return whether the export goes on."""
        return self._timer is not None

    def stop(self) -> None:
        """Stop between two pieces: what is written stays, and nothing half written is left."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.deleteLater()
            self._timer = None
            self._steps.close()

    def _next(self) -> None:
        if self._timer is None:
            return
        try:
            step = next(self._steps, None)
        # A bug of ours must end the timer, too; the section shows it.
        except Exception as error:
            self.stop()
            self._onEnd(error)
            if not isinstance(error, UserError):
                raise
            return
        if step is None:
            self.stop()
            self._onEnd(None)
        else:
            self._onStep(step)
