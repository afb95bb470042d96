"""A command shows its first line before it loads libraries that take seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["segment", "cohort"])
def test_a_command_answers_before_it_loads_large_libraries(
    command: str, repository: Path, tmp_path: Path
):
    (tmp_path / "a.nii.gz").write_bytes(b"1")
    code = (
        "import sys; from spinemamba.cli import console, main\n"
        "console.ProgressBar.__call__ = lambda *words: sys.exit(5)\n"
        "code = main(sys.argv[1:]); print(*sys.modules); sys.exit(code)"
    )
    words = {"segment": ("a.nii", "b.nii.gz"), "cohort": (str(tmp_path), "out", "--dry-run")}[
        command
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, command, *words],
        cwd=repository / "SpineMambaSegment",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == {"segment": 5, "cohort": 0}[command], done.stderr
    assert "Traceback" not in done.stderr
    heavy = {"torch", "numpy", "SimpleITK", "scipy", "matplotlib"}
    assert heavy.isdisjoint(done.stdout.split())
