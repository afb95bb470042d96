"""Several cases in one process: while one is segmented, the next is read and the last written.

The networks use all cores, or the GPU, in the calling thread. A second thread reads and writes. It
does one of them at a time, because the image libraries have settings that hold for the process.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from queue import SimpleQueue
from threading import Thread
from typing import Protocol, TypeVar

from spinemamba.inference.device import Load

_MOST_MODELS = 2
"""Models in memory: that of the GPU, and that of the CPU for cases that do not fit on the GPU."""


class StagedCase(Protocol):
    """A case in three stages, such as `cohort_case.CohortCase`."""

    def read(self) -> None:
        """Read the input."""

    def segment(self, load: Load) -> None:
        """Segment; ``load`` loads the model."""

    def write(self) -> None:
        """Write the outputs."""


Case = TypeVar("Case", bound=StagedCase)


def run_pipeline(
    next_case: Callable[[], Case | None], attempt: Callable[[Case, str, Callable[[], None]], bool]
) -> None:
    """Run cases until there are no more, or a stage must not be followed by another one.

    Args:
        next_case: Waits for a case and returns it; None after the last one. Called in a thread of
            its own.
        attempt: Calls a stage, given the case, the name of the stage and a function; returns
            whether the next stage of the case may follow. Called in both threads.
    """
    waiting: SimpleQueue[tuple[Case, Future[bool]] | None] = SimpleQueue()
    with ThreadPoolExecutor(1, "read and write") as disk:

        def receive() -> None:
            while (case := next_case()) is not None:
                waiting.put((case, disk.submit(attempt, case, "read", case.read)))
            waiting.put(None)

        Thread(target=receive, daemon=True).start()
        load = _kept_model()  # imports torch while the first case is read
        while (item := waiting.get()) is not None:
            case, read = item
            if read.result() and attempt(case, "segment", partial(case.segment, load)):
                disk.submit(attempt, case, "write", case.write)
            # The thread below holds the case until it is written; nothing else keeps it.
            del case, read, item


def _kept_model() -> Load:
    """Return a function that loads a model once."""
    from spinemamba.inference.model import load_model

    return lru_cache(_MOST_MODELS)(load_model)
