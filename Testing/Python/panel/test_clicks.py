"""Clicks through Slicer's own markups displayable manager, in a process that may crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
import click_scenarios
import numpy as np

FIRST, SECOND = [-100 / 3, -20.0, 0.0], [20 / 3, -20.0, 0.0]
VIEW_TRANSFORM, PLACE = 2, 1
LINE = "vtkMRMLMarkupsLineNode"

EXPECTED = {
    # Scenario: positions, times the user was told, and what differs from before.
    "one": ([FIRST], 0, {}),
    "two": ([FIRST, SECOND], 0, {}),
    "one_too_many": ([FIRST, SECOND], 0, {}),
    "right_click": (None, 1, {"mode": VIEW_TRANSFORM}),
    "toolbar": (None, 1, {"mode": VIEW_TRANSFORM}),
    "other_node": (
        None, 1, {"mode": PLACE, "persistence": 1, "node": f"{LINE}1", "class": LINE, "displays": 1}
    ),
    "deleted": (None, 1, {}),
    "deleted_complete": (None, 1, {"mode": VIEW_TRANSFORM}),
    "closed": (None, 0, {"mode": VIEW_TRANSFORM}),
    "closed_unseen": (None, 1, {"mode": VIEW_TRANSFORM}),
    "left": (None, 0, {}),
    "again": ([FIRST], 0, {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, drawing: None) -> dict[str, dict]:
    """What came of each scenario; those after a crash are missing."""
    done = subprocess.run(
        [sys.executable, click_scenarios.__file__, str(tmp_path_factory.mktemp("clicks"))],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    results = {line["name"]: line for line in lines}
    results["end"] = {"code": done.returncode, "errors": done.stderr[-2000:]}
    return results


def test_no_scenario_ends_the_process(found):
    assert found["end"]["code"] == 0, found["end"]["errors"]
    assert set(found) == {*click_scenarios.SCENARIOS, "end"}


@pytest.mark.parametrize("name", EXPECTED)
def test_clicks_are_done_or_cancelled_and_nothing_is_left(found, name: str):
    positions, cancelled, changed = EXPECTED[name]
    assert name in found, found["end"]
    result = found[name]
    assert not result["waiting"]
    assert result["cancelled"] == cancelled
    assert result["changed"] == changed
    if positions is None:
        assert result["done"] == []
    else:
        np.testing.assert_allclose(result["done"], [positions], atol=1e-6)
