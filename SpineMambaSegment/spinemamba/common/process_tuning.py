"""How a process of ours treats memory, idle threads, and the programs beside it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

from spinemamba.common.error_reports import is_no_memory, no_host_memory

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """Turn running out of memory into what the user can do about it.

    Raises:
        UserError: If there is too little memory (OOM_HOST).
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_no_memory(error):
            raise
        raise no_host_memory() from error


def keep_freed_memory() -> None:
    """Stop glibc from giving large blocks back after every use.

    A network allocates and frees the same blocks all the time, and every fresh one costs a page
    fault for each 4 kB: a third of the time of a forward pass on a CPU. For processes of our own
    only (worker, shell), because memory that was used once stays taken.
    """
    if not sys.platform.startswith("linux"):
        return
    # Not every Linux has glibc; without mallopt everything works, only slower.
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)


def use_passive_waiting() -> None:
    """Let OpenMP's threads sleep soon where they wait for each other, instead of spinning.

    Where another program wants a core too (Slicer renders, somebody compiles), a spinning thread
    holds up the one that it waits for: a window then took 20 s instead of 0.8 s on two cores.
    GNU's library may spin a thousand times first: to sleep at once makes a step half as slow again
    on an idle computer, and saves only a fifth where another program takes one of two cores.
    Must run before torch is imported; a choice of the user's stands.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def lower_priority() -> None:
    """Let other programs go first: Slicer draws while the worker has all cores.

    A core that is left idle would make a run on two cores twice as long, and would not be enough
    where Slicer draws with two threads.
    """
    if sys.platform == "win32":
        below_normal = 0x4000
        ctypes.windll.kernel32.SetPriorityClass(
            ctypes.c_void_p(ctypes.windll.kernel32.GetCurrentProcess()), below_normal
        )
    else:
        os.nice(5)
