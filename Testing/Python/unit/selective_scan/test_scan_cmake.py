"""Where CMake puts the scan library in the build tree of an extension."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = "lib/qt-scripted-modules"


@pytest.mark.parametrize("generator", ["Ninja", "Ninja Multi-Config"])
def test_the_library_lies_where_the_package_looks(generator: str, repository: Path, tmp_path: Path):
    if not all(shutil.which(name) for name in ("cmake", "ninja", "c++")):
        pytest.skip("CMake, Ninja or a C++ compiler is missing")
    package = Path("spinemamba", "selective_scan", "kernels")
    command = ["cmake", "-S", str(repository / "SpineMambaSegment" / package), "-B", str(tmp_path)]
    variables = [f"-DSlicer_{n}QTSCRIPTEDMODULES_LIB_DIR={FOLDER}" for n in ("", "INSTALL_")]
    subprocess.run([*command, "-G", generator, *variables], check=True, capture_output=True)
    files = [path.read_text("utf-8") for path in tmp_path.rglob("*.ninja")]
    built = {
        word
        for text in files
        for line in text.splitlines()
        if line.startswith("build ") and "_MODULE_LIBRARY_LINKER" in line
        for word in line.partition(":")[0].split()[1:]
    }
    folders = {Path(name).parent.as_posix() for name in built}
    assert folders == {f"{FOLDER}/{package.as_posix()}"}, built
