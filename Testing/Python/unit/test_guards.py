"""Import rules (module -> SpineMambaSegmentLib -> spinemamba), packing list and file sizes."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import generate
import pytest

REPOSITORY = generate.REPOSITORY
MODULE = generate.MODULE
SLICER_NAMES = ("slicer", "qt", "ctk", "vtk", "mrml")
FLOOR = ("anatomy", "common", "protocol")
"""Layers that need the standard library only; `test_layers` checks it."""

LIGHT = (
    "export.meshing.options",
    "export.names",
)
"""Light modules of other layers, which Slicer's process imports at once."""

IN_SLICER = (
    "export.exporter",
    "export.item",
    "export.meshing.raw_surface",
    "export.meshing.smooth",
    "export.selection",
)
"""Modules of surfaces, which need only packages that Slicer has loaded."""

LATE = (
    "editing.relabel",
    "editing.split",
    "evaluation.compare",
    "findings.labelled_spine",
    "findings.level_flags",
    "imaging.formats.nrrd_header",
    "imaging.formats.stated_geometry",
    "imaging.formats.stored_voxels",
    "imaging.intensity",
    "imaging.masks",
    "imaging.rib_view",
    "imaging.straighten",
    "imaging.volume",
    "labelmaps.recognise_scheme",
    "levels.outlines",
    "levels.scan_evidence",
    "levels.scan_match",
    "measure.calibration",
    "measure.follow_up.record",
    "planning.line_assessment",
    "planning.stored_bones",
)
HEAVY = ("torch", "numpy", "SimpleITK", "scipy", "skimage", "matplotlib", "vtkmodules", "jinja2")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_POSITIONAL = 5


def python_files(*folders: str) -> list[Path]:
    """Return the project's Python files below folders of the repository."""
    found = [path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")]
    names = {path: path.relative_to(REPOSITORY).as_posix() for path in found}
    return sorted(path for path in found if not generate.SKIPPED.search(names[path]))


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new process with the import path of Slicer."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=MODULE,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def lint(code: str, path: str) -> subprocess.CompletedProcess[str]:
    """Return the messages of ruff for code at a path of the repository."""
    command = [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--no-cache"]
    return subprocess.run(
        [*command, "--stdin-filename", str(REPOSITORY / path), "-"],
        input=code,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "code",
    [
        "import slicer\n",
        "from qt import QTimer\n",
        "import vtk.util\n",
        "from vtkmodules.vtkCommonCore import vtkPoints\n",
    ],
)
def test_the_linter_refuses_slicer_below_spinemamba(code: str):
    assert "TID251" in lint(code, "SpineMambaSegment/spinemamba/planted.py").stdout
    assert "TID251" in lint(code, "SpineMambaSegment/spinemamba/network/planted.py").stdout
    assert lint(code, "SpineMambaSegment/SpineMambaSegmentLib/Planted.py").returncode == 0


IMPORT = """
import importlib, json, pkgutil, sys
blocked, names, tried = json.loads(sys.argv[1]), sys.argv[2:], []
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            tried.append(name)
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Refuse())
import spinemamba
# To find all, packages are imported.
every = names or [m.name for m in pkgutil.walk_packages(spinemamba.__path__, "spinemamba.")]
failures = {}
for name in every:
    for old in [m for m in sys.modules if names and m.partition(".")[0] == "spinemamba"]:
        del sys.modules[old]  # each as if it were the first
    try:
        importlib.import_module(name)
    except Exception as error:
        failures[name] = repr(error)
print(json.dumps([every, failures, tried]))
"""


def import_without(blocked: Iterable[str], names: Iterable[str] = ()) -> tuple[list, dict, list]:
    """Import modules of spinemamba, by default all, with some packages blocked.

    Returns their names, the error of each failed one, and all attempted blocked imports.
    """
    done = run_python(IMPORT, json.dumps([*blocked]), *(f"spinemamba.{name}" for name in names))
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout))


@pytest.mark.slow  # the linter finds most of it
def test_every_module_of_spinemamba_imports_without_slicer():
    names, failures, _ = import_without([*SLICER_NAMES, "SpineMambaSegmentLib"])
    assert len(names) > 20
    assert failures == {}


def floor_modules() -> list[str]:
    """Return the modules of the layers that need the standard library only."""
    folders = [MODULE / "spinemamba" / name for name in FLOOR]
    paths = [p for folder in folders for p in folder.rglob("*.py") if p.stem != "__init__"]
    names = (path.relative_to(MODULE / "spinemamba").with_suffix("") for path in paths)
    return sorted(".".join(name.parts) for name in names)


def test_modules_that_slicer_imports_stay_light():
    assert import_without(HEAVY, [*floor_modules(), *LIGHT])[1:] == ({}, [])


def test_surface_modules_import_only_packages_loaded_by_slicer():
    blocked = set(HEAVY) - {"numpy", "vtkmodules"}
    assert import_without(blocked, IN_SLICER)[1:] == ({}, [])


def test_modules_that_slicer_imports_late_do_not_import_torch():
    assert import_without(["torch", "SimpleITK", "matplotlib"], LATE)[1:] == ({}, [])


def test_the_late_imports_of_the_review_are_all_checked():
    text = (MODULE / "SpineMambaSegmentLib" / "Scene" / "LazyImport.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    names = [n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "NAMES"]
    assert [ast.literal_eval(value) for value in names] == [LATE]


def is_package(name: str) -> bool:
    """Return whether a dotted name is a folder of modules of this project."""
    return (MODULE / name.replace(".", "/") / "__init__.py").is_file()


def imported_names(path: Path) -> set[str]:
    """Return the full names of everything that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and is_package(node.module or ""):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_the_slicer_process_imports_light_modules_only():
    files = [MODULE / "SpineMambaSegment.py", *(MODULE / "SpineMambaSegmentLib").rglob("*.py")]
    for path in files:
        names = imported_names(path)
        ours = {n.partition(".")[2] for n in names if n.startswith("spinemamba.")}
        assert ours <= {*floor_modules(), *LIGHT, *IN_SLICER}, path.name
        assert not {name.partition(".")[0] for name in names} & (set(HEAVY) - {"numpy"}), path.name


def test_only_the_module_file_is_found_as_a_slicer_module():
    # Slicer tries every Python file of that folder, and an __init__ would hide the module file.
    assert [path.name for path in MODULE.glob("*.py")] == ["SpineMambaSegment.py"]
    assert not list((REPOSITORY / "Testing").rglob("__init__.py"))


def test_the_packing_list_names_every_file():
    text = generate.CMAKE.read_text(encoding="utf-8")
    scripts, resources = generate.packed_files()
    remedy = "run: python Testing/Tools/generate.py"
    assert sorted(generate.cmake_list(text, "MODULE_PYTHON_SCRIPTS")) == scripts, remedy
    assert sorted(generate.cmake_list(text, "MODULE_PYTHON_RESOURCES")) == resources, remedy


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def argument_count(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the positional arguments; the symbols of a formula (u, A, B ...) count as one."""
    names = {a.arg for a in node.args.posonlyargs + node.args.args} - {"self", "cls", "ctx"}
    words = {name for name in names if len(name) > 1}
    return len(words) + bool(names - words)


def test_files_and_functions_are_short():
    too_long: list[str] = []
    for path in python_files("SpineMambaSegment", "Testing"):
        text = path.read_text(encoding="utf-8")
        if (count := len(text.splitlines())) > MAX_FILE_LINES:
            too_long.append(f"{path.name}: {count} lines")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if code_lines(node) > MAX_FUNCTION_LINES:
                too_long.append(f"{path.name}: {node.name}: {code_lines(node)} lines")
            if argument_count(node) > MAX_POSITIONAL:
                too_long.append(f"{path.name}: {node.name}: {argument_count(node)} arguments")
    assert not too_long, "\n".join(too_long)


def tracked_texts() -> list[Path]:
    """Return the text files of the repository; skip where git cannot tell them."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    binary = {".png", ".safetensors", ".ico", ".gz", ".nrrd"}
    paths = [REPOSITORY / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in binary]


def test_no_file_names_a_path_of_one_machine_or_a_package_registry():
    machine = re.compile(r"(?<![\w.~])/(home|root|work|tmp|Users|opt|mnt)/\w|\b[A-Z]:\\\\?[A-Za-z]")
    registry = re.compile(r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.org")
    for path in tracked_texts():
        text = path.read_text(encoding="utf-8")
        for pattern in (machine, registry):
            match = pattern.search(text)
            assert match is None, f"{path.relative_to(REPOSITORY)}: {match}"


def test_the_terminology_file_follows_the_label_table():
    assert generate.TERMINOLOGY.read_text(encoding="utf-8") == generate.terminology_text()
