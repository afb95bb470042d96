"""A finished cohort, and its triage page in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium, opened
from synthetic_cohort import write_cohort

from spinemamba.cohort.triage.apply import whole_records
from spinemamba.cohort.triage.page import write_triage


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a cohort of 12 cases with its page; case-11 is the most doubtful."""
    out = write_cohort(tmp_path_factory.mktemp("cohort"), [k / 24 for k in range(12)])
    write_triage(out, whole_records(out))
    return out


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of the output folder, for tests that change it."""
    return Path(shutil.copytree(finished, tmp_path / "out"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window; Playwright's event loop would disturb other modules."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Any, finished: Path) -> Iterator[Any]:
    """The page, from the file system."""
    with opened(browser, (finished / "triage.html").as_uri()) as page:
        yield page
