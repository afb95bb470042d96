"""Keep freed memory in the process."""

from __future__ import annotations

import contextlib
import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


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
