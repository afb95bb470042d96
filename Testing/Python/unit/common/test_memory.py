"""The worker process runs at low priority."""

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
