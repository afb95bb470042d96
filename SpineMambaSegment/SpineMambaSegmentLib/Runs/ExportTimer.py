"""Timer that runs an export in steps, so that Slicer stays responsive."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import qt

from spinemamba.common.errors import UserError
from spinemamba.export.exporter import Export, Step


class ExportTimer:
    """Runs an export step by step in Qt's main thread, the only one that may read segments.

    Args:
        export: The export.
        onStep: Called after each step.
        onEnd: Called once at the end, with None or the error; not called after ``stop``.
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
        """Return True until the export has ended."""
        return self._timer is not None

    def stop(self) -> None:
        """Stop between two steps: complete files are kept, and no partial file is left."""
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
        # An unexpected error must also stop the timer; the section shows it.
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
