"""The worker process runs at low priority, and uses memory that it has freed again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WORKER = """
import os, runpy, sys
sys.argv = ["worker"]
asked = []
os.nice = asked.append  # the tests may already run with the lowest priority
os._exit = lambda code: print("priority", asked, file=sys.stderr)
runpy.run_module("spinemamba.worker", run_name="__main__")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has classes, not numbers")
def test_the_worker_has_low_priority(repository: Path):
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        cwd=repository / "SpineMambaSegment",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "priority [5]" in done.stderr


SHARED_HEAP = """
import threading
from pathlib import Path
from spinemamba.common.process_tuning import keep_freed_memory

def memory_mb():
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024

def fill_and_free():
    blocks = [bytearray(b"1") * (30 << 20) for _ in range(5)]

keep_freed_memory()
thread = threading.Thread(target=fill_and_free)
thread.start()
thread.join()
before_mb = memory_mb()
assert before_mb > 150, before_mb  # freed, and kept
fill_and_free()
assert memory_mb() < before_mb + 40, (before_mb, memory_mb())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="settings of glibc")
def test_what_one_thread_has_freed_is_used_by_the_others():
    subprocess.run([sys.executable, "-c", SHARED_HEAP], check=True, timeout=60)
