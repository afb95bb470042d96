"""Two hundred random gestures do not end Slicer: real clicks, real keys, real editor logic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")
from run_helpers import put_python_slicer

PROGRAM = Path(__file__).with_name("random_gestures.py")
COUNT = 200
LONGEST_S = 400


@dataclass(frozen=True)
class Outcome:
    """How the process ended.

    Attributes:
        returncode: Of the process; negative after a crash.
        last: Seed, the last gesture, and what was pressed or clicked in it.
        found: What the process said at its end; empty after a crash.
        stderr: Its standard error without the list of loaded libraries.
    """

    returncode: int
    last: str
    found: dict[str, list[str]]
    stderr: str


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def outcome(
    request: pytest.FixtureRequest,
    drawing: None,
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Outcome:
    """Two hundred gestures by a seed; with an odd one, the segmentation is a sequence, too."""
    if sys.platform == "win32":
        pytest.skip("the stand-in for the worker is a shell script")
    scratch, seed = tmp_path_factory.mktemp("gestures"), request.param
    (scratch / "slicer").mkdir()
    module = repository / "SpineMambaSegment" / "SpineMambaSegment.py"
    with pytest.MonkeyPatch.context() as patch:
        put_python_slicer(patch, scratch / "bin", "exit 1")  # every run fails at once
        done = subprocess.run(
            [sys.executable, *map(str, (PROGRAM, module, scratch / "slicer", seed, COUNT))],
            env=dict(os.environ), capture_output=True, text=True, check=False, timeout=LONGEST_S,
        )  # fmt: skip
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    starts = [k for k, facts in enumerate(said) if "gesture" in facts]
    found = said[-1] if said and "left behind" in said[-1] else {}
    stderr = done.stderr.partition("Extension modules:")[0]
    last = f"seed {seed}: {said[starts[-1] :] if starts else said}"
    return Outcome(done.returncode, last, found, stderr[-6000:])


def test_slicer_survives_random_gestures(outcome: Outcome):
    assert outcome.returncode == 0, f"{outcome.last}\n{outcome.stderr}"
    assert outcome.found


def test_random_gestures_raise_no_exceptions(outcome: Outcome):
    assert "Traceback" not in outcome.stderr, f"{outcome.last}\n{outcome.stderr}"


def test_the_module_leaves_nothing_switched_on_behind(outcome: Outcome):
    assert outcome.found, f"the process crashed: {outcome.last}"
    assert outcome.found["left behind"] == []


def test_the_user_for_a_real_slicer_is_content_on_the_host(
    drawing: None, repository: Path, tmp_path: Path
):
    module = repository / "SpineMambaSegment" / "SpineMambaSegment.py"
    program = PROGRAM.with_name("user_on_the_host.py")
    done = subprocess.run(
        [sys.executable, str(program), str(module), str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=LONGEST_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.partition("Extension modules:")[0][-4000:]
