"""Shared by all tests: the import path that Slicer sets, markers, and the real data."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LONG = "SPINEMAMBA_LONG_TESTS"
"""Environment variable with which tests of several minutes run, too."""

sys.path[:0] = [
    str(REPOSITORY / "SpineMambaSegment"),
    *(str(REPOSITORY / "Testing" / name) for name in ("Python/helpers", "Tools", "Benchmarks")),
]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background processes with SIGINT ignored, and what they start inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # The same under nohup.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    # Set before anything imports torch, which reads it once; the processes that tests start inherit
    # it. With several times as many threads as cores, they mostly wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers; the project has no pytest configuration file.

    ``-m "not slow"`` selects the quick tests, which take less than two minutes for ``unit`` on two
    cores. Tests are marked slow if they take more than about six seconds and a quicker test exists.
    """
    config.addinivalue_line("markers", "gpu: needs a CUDA device, skipped without one")
    config.addinivalue_line(
        "markers", "faults: part of the fault matrix; -m faults prints its table"
    )
    config.addinivalue_line(
        "markers", "slow: takes long, and a quicker test checks the same less closely"
    )
    config.addinivalue_line("markers", f"long: takes minutes, skipped unless {LONG} is set")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked ``gpu`` where no CUDA device is, and those marked ``long`` unless asked."""
    if item.get_closest_marker("long") and not os.environ.get(LONG):
        pytest.skip(f"takes minutes; set {LONG}=1 to run it")
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images, which are not part of the repository."""
    given = os.environ.get("SPINEMAMBA_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not found in {folder}; set SPINEMAMBA_DATA to their folder")
    return folder
