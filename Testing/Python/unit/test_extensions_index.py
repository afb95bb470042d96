"""The rules of Slicer's Extensions Index, applied to the files of this repository.

The index clones the repository and reads CMakeLists.txt as text, before CMake replaces any variable
(scripts/check_description_files.py of Slicer/ExtensionsIndex). What it asks of GitHub's servers is
checked here by the file behind the URL.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

NAME = "SpineMamba"
LIMIT_MB = 100
RAW = "https://raw.githubusercontent.com/spinemamba/SlicerSpineMamba/main/"
ICON_SIZE = (128, 128)
LICENSES = ("LICENSE", "LICENCE", "License.txt", "license.txt", "LICENSE.txt", "COPYING")
CATEGORIES = ("Segmentation",)
PREFIXES = ("Slicer", "Slicer-", "Slicer_", "SlicerExtension-", "SlicerExtension_")
TYPES = {
    "$schema": str, "build_dependencies": list, "build_subdirectory": str, "category": str,
    "enabled": bool, "scm_revision": str, "scm_type": str, "scm_url": str, "tier": int,
}  # fmt: skip
"""Fields of slicer-extension-catalog-entry-schema-v1.0.1; no others are allowed."""


def faults_of_cmake(text: str, files: Callable[[str], bool]) -> list[str]:
    """Return what the index finds wrong with the top-level CMakeLists.txt.

    Args:
        text: Content of the file.
        files: Returns whether a file is in the repository.
    """
    faults = []
    project = re.search(r"project\s*\(\s*([^\s)]+)", text, re.IGNORECASE)
    if project is None or project.group(1).strip("\"'") != NAME:
        faults.append("project() is not the name of the extension")
    for key in ("EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"):
        match = re.search(rf'set\s*\({key}\s*"([^"]+)"[ ]*\)', text, re.IGNORECASE)
        urls = match.group(1).split() if match else []
        if not urls:
            faults.append(f"{key} is missing")
        for url in urls:
            path = url.removeprefix(RAW)
            if path == url or not path.endswith((".png", ".jpg", ".gif")) or not files(path):
                faults.append(f"{key}: {url} is no picture of the repository")
    return faults


def faults_of_entry(content: bytes, cmake: str) -> list[str]:
    """Return what the index finds wrong with the catalogue entry.

    Args:
        content: The JSON file.
        cmake: The top-level CMakeLists.txt, with which the entry must agree.
    """
    entry = json.loads(content)
    faults = [] if b"\r" not in content else ["line ends are not LF"]
    faults += [f"{k} is missing" for k in ("$schema", "category", "scm_url") if k not in entry]
    faults += [f"{k} is not in the schema" for k in entry if k not in TYPES]
    faults += [f"{k} has the wrong type" for k, v in entry.items() if type(v) is not TYPES.get(k)]
    if entry.get("category") not in CATEGORIES:
        faults.append("the category is unknown")
    url = str(entry.get("scm_url"))
    if not url.startswith("https://") or not url.rpartition("/")[2].startswith(PREFIXES):
        faults.append("scm_url is not that of a repository whose name starts with Slicer")
    if entry.get("tier", 1) not in range(1, 6):
        faults.append("the tier is not 1 to 5")
    for key, variable in (
        ("build_dependencies", "EXTENSION_DEPENDS"),
        ("build_subdirectory", "EXTENSION_BUILD_SUBDIRECTORY"),
        ("category", "EXTENSION_CATEGORY"),
    ):
        match = re.search(rf'set\({variable}\s*"([^"]*)"\)', cmake)
        stated = match.group(1) if match else ""
        value = entry.get(key, "")
        if stated != (" ".join(value) if isinstance(value, list) else value):
            faults.append(f"{key} differs from {variable}")
    return faults


@pytest.fixture
def cmake(repository: Path) -> str:
    """The top-level CMakeLists.txt."""
    return (repository / "CMakeLists.txt").read_text("utf-8")


@pytest.fixture
def files(repository: Path) -> Callable[[str], bool]:
    """Whether a file is in the repository."""
    return lambda path: (repository / path).is_file()


@pytest.fixture
def entry(repository: Path) -> bytes:
    """The catalogue entry."""
    return (repository / ".github" / f"{NAME}.json").read_bytes()


def test_the_top_cmake_file_passes_the_index(cmake: str, files: Callable[[str], bool]):
    assert faults_of_cmake(cmake, files) == []


def test_the_catalogue_entry_passes_the_index(entry: bytes, cmake: str):
    assert faults_of_entry(entry, cmake) == []


PLANTED_IN_CMAKE = {
    "variable in a URL": ("SlicerSpineMamba/main/SpineMamba.png", "${_name}/main/SpineMamba.png"),
    "picture moved": ("main/Resources/slicer.png", "main/Resources/moved.png"),
    "screenshots empty": (r"re:SCREENSHOTURLS \"[^\"]*\"", 'SCREENSHOTURLS ""'),
    "other project": ("project(SpineMamba)", "project(Spine)"),
    "page instead of the file": ("raw.githubusercontent.com", "github.com"),
}


@pytest.mark.parametrize("name", PLANTED_IN_CMAKE)
def test_a_fault_planted_in_the_cmake_file_is_found(name: str, cmake: str, files):
    old, new = PLANTED_IN_CMAKE[name]
    pattern = old.removeprefix("re:") if old.startswith("re:") else re.escape(old)
    planted, count = re.subn(pattern, lambda _: new, cmake)
    assert count
    assert faults_of_cmake(planted, files)


PLANTED_IN_ENTRY = {
    "unknown category": ('"Segmentation"', '"Spine"'),
    "other dependency": ('"PyTorch"', '"NNUNet"'),
    "repository name": ("SlicerSpineMamba", "SpineMamba"),
    "key of the old format": ('"tier": 1', '"tier": 1, "homepage": "x"'),
    "tier as text": ('"tier": 1', '"tier": "1"'),
    "line ends of Windows": ("\n", "\r\n"),
}


@pytest.mark.parametrize("name", PLANTED_IN_ENTRY)
def test_a_fault_planted_in_the_entry_is_found(name: str, entry: bytes, cmake: str):
    old, new = (part.encode() for part in PLANTED_IN_ENTRY[name])
    assert old in entry
    assert faults_of_entry(entry.replace(old, new), cmake)


def test_name_license_icon_and_description_follow_the_template(repository: Path, cmake: str):
    assert not NAME.lower().startswith("slicer")
    assert any((repository / name).is_file() for name in LICENSES)
    header = (repository / f"{NAME}.png").read_bytes()[16:24]
    assert struct.unpack(">II", header) == ICON_SIZE
    description = re.search(r'EXTENSION_DESCRIPTION "([^"]+)"', cmake).group(1)
    assert 1 <= len(re.findall(r"\.(?:\s|$)", description)) <= 2


def test_the_readme_has_what_the_index_asks_of_a_home_page(repository: Path, cmake: str):
    readme = (repository / "README.md").read_text("utf-8")
    modules = re.findall(r"add_subdirectory\((SpineMamba\w+)\)", cmake)
    titles = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", module) for module in modules]
    titles = [title.replace("Spine Mamba", "SpineMamba") for title in titles]
    for title in titles:
        assert re.search(rf"^- \*\*{title}\*\*.{{20,}}", readme, re.MULTILINE)
    assert "## How to cite" in readme
    assert "Apache-2.0" in readme
    assert re.search(r"!\[[^]]+\]\(Resources/\w+\.png\)", readme)


def test_the_files_of_a_checkout_are_smaller_than_the_limit(repository: Path):
    command = ["git", "ls-files", "-z"]
    done = subprocess.run(command, cwd=repository, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not a clone")
    paths = [repository / name.decode() for name in done.stdout.split(b"\0") if name]
    total = sum(path.stat().st_size for path in paths if path.is_file())
    assert total / 2**20 < LIMIT_MB
