"""Folders are layers: each imports only from layers below it, as the developer page lists them."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
MODULE = REPOSITORY / "SpineMambaSegment"
PAGE = REPOSITORY / "Resources" / "Docs" / "developer.md"
PACKAGES = ("spinemamba", "SpineMambaSegmentLib")
MAX_FILES = 20
FLOOR = "standard library only"


def layer_table(package: str) -> list[tuple[str, str]]:
    """Return (folder or module, note) of a package from the bottom up, as the page lists them."""
    text = PAGE.read_text(encoding="utf-8")
    block = re.search(rf"^```layers {package}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert block is not None, f"{PAGE.name} has no block 'layers {package}'"
    rows = [line.split(maxsplit=1) for line in block[1].splitlines() if line.strip()]
    return [(row[0], row[1] if len(row) > 1 else "") for row in reversed(rows)]


def module_name(path: Path, root: Path) -> str:
    """Return the dotted name of a file below ``root``."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Return the dotted names that a file imports; type hints and functions count as well."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def layer_of(name: str, package: str) -> str:
    """Return the first part of a dotted name below the package; the package itself is ""."""
    return name.removeprefix(package).lstrip(".").partition(".")[0]


def upward_imports(root: Path, package: str, order: list[str]) -> list[str]:
    """Return every import below ``root`` that does not go downwards, and every unknown layer."""
    height = {layer: k for k, layer in enumerate(order)}
    wrong = []
    for path in sorted((root / package).rglob("*.py")):
        name = module_name(path, root)
        here = layer_of(name, package)
        if not here:
            continue
        if here not in height:
            wrong.append(f"{name}: the page lists no layer '{here}'")
            continue
        for target in sorted(imports_of(path)):
            if target != package and not target.startswith(f"{package}."):
                continue
            there = layer_of(target, package)
            if there in height and height[there] > height[here]:
                wrong.append(f"{name} imports {target}, which lies above it")
    return wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_imports_only_from_layers_below(package: str):
    order = [name for name, _ in layer_table(package)]
    assert upward_imports(MODULE, package, order) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_developer_page_lists_the_existing_layers(package: str):
    listed = {name for name, _ in layer_table(package)}
    folder = MODULE / package
    there = {p.name for p in folder.iterdir() if p.is_dir() and any(p.rglob("*.py"))}
    there |= {p.stem for p in folder.glob("*.py") if p.stem != "__init__"}
    assert listed == there


def test_a_planted_upward_import_is_found(tmp_path: Path):
    for name, text in (
        ("imaging/volume.py", "def late():\n    from spinemamba.levels.solve import solve\n"),
        ("levels/solve.py", "from spinemamba.imaging import volume\n"),
        ("cellar/new.py", ""),
    ):
        path = tmp_path / "spinemamba" / name
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    assert upward_imports(tmp_path, "spinemamba", ["imaging", "levels"]) == [
        "spinemamba.cellar.new: the page lists no layer 'cellar'",
        "spinemamba.imaging.volume imports spinemamba.levels.solve.solve, which lies above it",
    ]


def import_circles(root: Path, package: str) -> list[list[str]]:
    """Return the groups of files that import each other at load time."""
    files = {module_name(p, root): p for p in (root / package).rglob("*.py")}
    graph = {name: _load_time(path, files) - {name} for name, path in files.items()}
    return [sorted(group) for group in _strong_groups(graph) if len(group) > 1]


def _load_time(path: Path, files: dict[str, Path]) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in files else node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & set(files)


def _strong_groups(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the strongly connected components; two names are in one if each reaches the other."""
    reach = {name: _reachable(name, graph) for name in graph}
    groups: list[set[str]] = []
    for name in graph:
        if not any(name in group for group in groups):
            groups.append({n for n in reach[name] if name in reach[n]} | {name})
    return groups


def _reachable(start: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for name in graph[todo.pop()] - seen:
            seen.add(name)
            todo.append(name)
    return seen


@pytest.mark.parametrize("package", PACKAGES)
def test_no_files_import_each_other(package: str):
    assert import_circles(MODULE, package) == []


def test_the_lowest_layers_import_the_standard_library_only():
    floor = [name for name, note in layer_table("spinemamba") if FLOOR in note]
    assert {"common", "anatomy", "protocol"} <= set(floor)
    allowed = {*sys.stdlib_module_names, "spinemamba"}
    for name in floor:
        for path in sorted((MODULE / "spinemamba" / name).rglob("*.py")):
            tops = {target.partition(".")[0] for target in imports_of(path)}
            assert tops <= allowed, f"{path.name} imports {sorted(tops - allowed)}"


def test_no_folder_has_too_many_files():
    for package in PACKAGES:
        for folder in [MODULE / package, *(p for p in (MODULE / package).rglob("*") if p.is_dir())]:
            files = [p for p in folder.glob("*.py") if p.name != "__init__.py"]
            assert len(files) <= MAX_FILES, f"{folder.relative_to(MODULE)}: {len(files)} files"
