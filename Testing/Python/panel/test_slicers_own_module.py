"""The module lives on Slicer's own base classes as on the stand-ins of the host.

SPINEMAMBA_SLICER_PYTHON names one or more folders with ScriptedLoadableModule.py and i18n.py of
Slicer (Base/Python/slicer of its sources), separated as in PATH. The files are run unmodified.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("application", reason="PySide6, slicer-core or Qt's system libraries missing")

VARIABLE = "SPINEMAMBA_SLICER_PYTHON"
FOLDERS = [Path(name) for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]
PROGRAM = Path(__file__).with_name("life_of_a_module.py")
EXPECTED = {
    "entered": True,
    "logic": True,
    "shortcuts": ["Ctrl+Backspace", "Ctrl+Return"],
    "rows": 3,
    "replaced": True,
    "same frame": True,
    "shown after reload": True,
    "rows after reload": 3,
    "left": True,
    "rows after closing": 3,
    "follows, another module unloaded": True,
    "follows, unloaded": False,
    "observers left": 0,
}


def live(module: Path, scratch: Path, *folder: Path) -> dict[str, object]:
    """Run the program in a process of its own, and return what it saw."""
    command = [sys.executable, str(PROGRAM), str(module), str(scratch), *map(str, folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    # An exception in a slot is printed, and goes on.
    assert "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def module_file(repository: Path) -> Path:
    """The module file."""
    return repository / "SpineMambaSegment" / "SpineMambaSegment.py"


def test_the_module_lives_on_the_stand_ins(module_file: Path, tmp_path: Path):
    seen = live(module_file, tmp_path)
    seen["shortcuts"] = sorted(set(EXPECTED["shortcuts"]) & set(seen["shortcuts"]))
    assert {name: seen[name] for name in EXPECTED} == EXPECTED


@pytest.mark.skipif(not FOLDERS, reason=f"{VARIABLE} names no folder with files of Slicer")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_module_lives_on_slicers_own_base_classes(
    folder: Path, module_file: Path, tmp_path: Path
):
    seen = live(module_file, tmp_path, folder)
    seen["shortcuts"] = sorted(set(EXPECTED["shortcuts"]) & set(seen["shortcuts"]))
    assert {name: seen[name] for name in EXPECTED} == EXPECTED
