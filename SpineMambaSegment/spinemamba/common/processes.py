"""Work divided among processes, in the order of its items. Standard library only."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Protocol, TypeVar

from spinemamba.common.errors import Code, UserError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Mapper(Protocol):
    """Apply a function to items, as the built-in ``map``; results are in the order of the items."""

    def __call__(
        self, function: Callable[[_Item], _Result], items: Iterable[_Item], /
    ) -> Iterable[_Result]:
        """Return the results, one after the other."""


@contextmanager
def process_map(workers: int) -> Iterator[Mapper]:
    """Yield a function that applies another one in several processes.

    Functions and items must be importable by a fresh interpreter, because forking a process with
    threads can deadlock. After an interruption the processes end at once, and their partial files
    are removed.

    Args:
        workers: Number of processes; with 1 the work is done in this process, as by ``map``.

    Raises:
        UserError: If a process ends without a result, mostly for lack of memory (OOM_HOST).
    """
    if workers <= 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, initializer=_end_quietly)
    try:
        yield pool.map
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        if not isinstance(error, BrokenProcessPool):
            raise
        raise UserError(
            "A worker process ended without a result; the computer may have too little memory.",
            "Use fewer --workers. What is finished is kept.",
            Code.OOM_HOST,
        ) from error
    finally:
        pool.shutdown()


def _end_quietly() -> None:
    """Leave Ctrl+C to the parent process, and remove partial files when it ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
