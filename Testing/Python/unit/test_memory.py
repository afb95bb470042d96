from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = """
import os, runpy, sys
sys.argv = ["worker"]
before = os.nice(0)
os._exit = lambda code: print("went", os.nice(0) - before, file=sys.stderr)
runpy.run_module("spinemamba.worker", run_name="__main__")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has classes, not numbers")
def test_the_worker_lets_other_programs_go_first(repository: Path):
    if os.nice(0) > 14:
        pytest.skip("the tests already run behind all others")
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        cwd=repository / "SpineMambaSegment",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "went 5" in done.stderr
