"""Several cases in one process: while one is segmented, the next is read and the last written.

The networks use all cores, or the GPU, in the calling thread. A second thread reads and writes. It
does one of them at a time, because the image libraries have settings that hold for the process.
"""

from __future__ import annotations

import gc
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
Item = TypeVar("Item")


def run_pipeline(
    next_case: Callable[[], Case | None], attempt: Callable[[Case, str, Callable[[], None]], bool]
) -> None:
    """Run cases until there are no more.

    An error in any of the three threads ends the pipeline, so that no thread waits for another one
    that has ended. A stage that runs in the second thread at that time ends first.

    Args:
        next_case: Waits for a case and returns it; None after the last one. Called in a thread of
            its own.
        attempt: Calls a stage, given the case, the name of the stage and a function; returns
            whether the next stage of the case may follow. Called in both threads.

    Raises:
        BaseException: The first error of ``next_case`` or ``attempt``.
    """
    waiting: SimpleQueue[tuple[Case, Future[bool]] | BaseException | None] = SimpleQueue()
    disk = ThreadPoolExecutor(1, "read and write")

    def submit(case: Case, stage: str, work: Callable[[], None]) -> Future[bool]:
        future = disk.submit(attempt, case, stage, work)
        future.add_done_callback(partial(_pass_error_on, waiting.put))
        return future

    def receive() -> None:
        try:
            while (case := next_case()) is not None:
                waiting.put((case, submit(case, "read", case.read)))
            waiting.put(None)
        except BaseException as error:
            waiting.put(error)

    try:
        Thread(target=receive, daemon=True).start()
        load = _kept_model()  # imports torch while the first case is read
        # What is imported stays; not looking at it again makes each collection ten times shorter.
        gc.freeze()
        while (item := _without_error(waiting.get())) is not None:
            case, read = item
            if read.result() and attempt(case, "segment", partial(case.segment, load)):
                submit(case, "write", case.write)
            # The other thread holds the case until it is written; nothing else keeps it.
            del case, read, item
            # Figures and tracebacks refer to themselves. Python frees such arrays only after dozens
            # of cases, and they split the memory that the networks use again.
            disk.submit(gc.collect)
        disk.shutdown()
        while not waiting.empty():
            _without_error(waiting.get())
    finally:
        disk.shutdown(cancel_futures=True)


def _pass_error_on(put: Callable[[BaseException], None], future: Future[bool]) -> None:
    """Put the error of a stage into the queue of the thread that can raise it."""
    if not future.cancelled() and (error := future.exception()) is not None:
        put(error)


def _without_error(item: Item | BaseException) -> Item:
    """Return what a thread sent; raise its error."""
    if isinstance(item, BaseException):
        raise item
    return item


def _kept_model() -> Load:
    """Return a function that loads a model once."""
    from spinemamba.inference.model import load_model

    return lru_cache(_MOST_MODELS)(load_model)
