"""The runner of the measurements: every module is listed, imports, and describes itself."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import run as runner

LIBRARIES = {"card_tables", "bfloat16_rounding", "run"}
"""Modules beside the measurements that they share."""


def test_the_runner_lists_every_measurement(repository: Path):
    folders = [repository / "Testing" / name for name in ("Benchmarks", "Fitting")]
    modules = {path.stem for folder in folders for path in folder.glob("*.py")}
    assert set(runner.MEASUREMENTS) == modules - LIBRARIES


@pytest.mark.parametrize("name", runner.MEASUREMENTS)
def test_a_measurement_describes_itself(name: str, capsys, monkeypatch):
    if name == "review_latency":
        pytest.importorskip("slicer")
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as caught:
        runner.main([name, "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {name} ")


def test_the_runner_finds_helpers_and_other_measurements(repository: Path):
    words = [sys.executable, "Testing/Benchmarks/run.py", "fit_boundary_net", "--help"]
    process = subprocess.run(words, cwd=repository, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def test_the_check_for_a_gpu_is_refused_without_one(capsys, monkeypatch):
    if importlib.import_module("torch").cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert runner.main(["gpu_check"]) == 2
    assert "torch finds no NVIDIA GPU" in capsys.readouterr().err


def test_an_unknown_measurement_is_refused_with_the_list(capsys):
    assert runner.main(["speed"]) == 2
    assert "speed_table" in capsys.readouterr().err
