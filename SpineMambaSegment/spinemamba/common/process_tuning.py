"""Settings of a process: memory, idle threads, priority. Standard library only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from spinemamba.common.error_reports import is_no_memory, no_host_memory

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """Convert out-of-memory errors of the block to a user error.

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
    """Stop glibc from returning large blocks to the operating system after every use.

    A network allocates and frees blocks of the same sizes all the time, and a fresh block costs a
    page fault for each 4 kB: a third of the time of a forward pass on a CPU. Only for processes of
    this package (worker, command line), because the process keeps all memory that it ever used.

    All threads share one heap. With a heap for each, what the thread that reads images has freed is
    of no use to the networks, and the memory of a cohort grows for dozens of cases.
    """
    if not sys.platform.startswith("linux"):
        return
    # Not every Linux has glibc; without mallopt, inference is only slower.
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)
        libc.mallopt(M_ARENA_MAX, 1)


def use_passive_waiting() -> None:
    """Make waiting OpenMP threads sleep after a short time, instead of spinning.

    If another program uses a core too (Slicer renders, a compiler runs), a spinning thread delays
    the thread that it waits for: a window then took 20 s instead of 0.8 s on two cores. GNU's
    OpenMP spins a thousand times first: sleeping at once makes a step half as slow again on an idle
    computer, and saves only a fifth if another program uses one of two cores. Call it before torch
    is imported; a setting of the user has priority.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def lower_priority() -> None:
    """Lower the priority of this process: Slicer renders while the worker uses all cores.

    Leaving a core idle instead would double the time of a run on two cores, and would not suffice
    if Slicer renders with two threads.
    """
    if sys.platform == "win32":
        below_normal = 0x4000
        ctypes.windll.kernel32.SetPriorityClass(
            ctypes.c_void_p(ctypes.windll.kernel32.GetCurrentProcess()), below_normal
        )
    else:
        os.nice(5)


def reset_peak_memory() -> None:
    """Start to measure the peak memory of this process again, where the system can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mb() -> float:
    """Return the peak memory of this process in MB since `reset_peak_memory`, or since its start.

    0 if it is unknown, as on Windows.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(text.split("VmHWM:")[1].split()[0]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # In kB; macOS counts bytes.
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
