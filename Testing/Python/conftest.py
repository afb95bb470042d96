"""What every test shares: the import path that Slicer would set, and the real data."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "SpineMambaSegment"))


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers; the project has no pytest configuration file.

    ``-m "not slow"`` leaves the ring that takes less than a minute.
    """
    config.addinivalue_line("markers", "gpu: needs a CUDA device, skipped without one")
    config.addinivalue_line("markers", "slow: takes long; many real cases, or the bundled model")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked ``gpu`` where no CUDA device is."""
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
    """Folder of real images, which are never part of the repository."""
    given = os.environ.get("SPINEMAMBA_DATA")
    folder = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not found in {folder}; set SPINEMAMBA_DATA to their folder")
    return folder
