"""Selection of the back end, and refusal of broken libraries."""

from __future__ import annotations

import _ctypes
import ast
import re
from pathlib import Path

import pytest
from scan_inputs import HERE, needs_library

from spinemamba.common.errors import UserError
from spinemamba.selective_scan import dispatch, native_library
from spinemamba.selective_scan.dispatch import NATIVE, describe_backend
from spinemamba.selective_scan.native_library import Library, NativeError, library


class Faulty:
    """The library with a fault: one value or one gradient is wrong."""

    def __init__(self, where: str):
        self.where = where

    def __getattr__(self, name: str):
        return getattr(library(), name)

    def forward(self, problem: native_library.Problem, variant: str) -> None:
        library().forward(problem, variant)
        self._spoil(problem, "y")

    def backward(self, problem: native_library.Problem, variant: str) -> None:
        library().backward(problem, variant)
        self._spoil(problem, "grad_B")

    def _spoil(self, problem: native_library.Problem, name: str) -> None:
        if name == self.where:
            address = getattr(problem, name).data
            native_library.ctypes.c_float.from_address(address).value += 1.0


@needs_library
@pytest.mark.parametrize("where", ["y", "grad_B"])
def test_a_library_with_a_wrong_value_or_gradient_is_refused(where, monkeypatch):
    monkeypatch.setattr(native_library, "library", lambda: Faulty(where))
    monkeypatch.setattr(dispatch, "library", lambda: Faulty(where))
    assert "differs" in dispatch.available_backends("cpu")[NATIVE + HERE[0]]


def test_other_libraries_and_other_versions_are_refused_with_the_reason(
    tmp_path: Path, monkeypatch
):
    text = tmp_path / "_scan.so"
    text.write_text("not a library")
    for path in (text, Path(_ctypes.__file__)):
        with pytest.raises(NativeError, match="is not a scan library"):
            Library(path)
    if HERE:
        monkeypatch.setattr(native_library, "ABI", 99)
        with pytest.raises(NativeError, match="not 99: install again"):
            Library(native_library.library_path())


def test_without_the_library_the_chunked_scan_is_used_and_the_reason_is_given(monkeypatch):
    def missing() -> Library:
        raise NativeError("not built: no compiler")

    monkeypatch.setattr(dispatch, "library", missing)
    monkeypatch.delenv(dispatch.FORCE, raising=False)
    states = dispatch.available_backends("cpu")
    assert next(name for name, state in states.items() if state == "ok") == "torch-chunked"
    with dispatch.forced_backend("cpu", "torch-chunked"):
        assert describe_backend("cpu") == "torch-chunked (native: not built: no compiler)"


def test_the_environment_variable_selects_only_working_back_ends(monkeypatch):
    monkeypatch.setenv(dispatch.FORCE, "reference")
    assert describe_backend("cpu") == "reference (set by SPINEMAMBA_SCAN)"
    for wrong in ("abacus", "mamba-ssm"):
        monkeypatch.setenv(dispatch.FORCE, wrong)
        with pytest.raises(UserError, match=wrong):
            dispatch.choose_backend("cpu")


def test_pip_and_cmake_compile_with_the_same_options(repository: Path):
    kernels = repository / "SpineMambaSegment" / "spinemamba" / "selective_scan" / "kernels"
    cmake = (kernels / "CMakeLists.txt").read_text(encoding="utf-8")
    code = (kernels / "build.py").read_text(encoding="utf-8")
    body = {node.targets[0].id: node.value for node in ast.parse(code).body if is_constant(node)}
    for flags in ast.literal_eval(body["INSTRUCTIONS"]).values():
        for source, options in flags.items():
            variable = source.replace("scan", "", 1)
            assert f"set({variable} {' '.join(options)})" in cmake
    sources = sorted(path.name for path in kernels.glob("*.cpp"))
    project = (kernels.parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    for name in sources:
        assert name in cmake
        assert f"spinemamba/selective_scan/kernels/{name}" in project


def is_constant(node: ast.stmt) -> bool:
    """Return True if a statement assigns one name."""
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)


def test_python_and_scan_h_have_the_same_constants(repository: Path):
    header = (
        repository / "SpineMambaSegment" / "spinemamba" / "selective_scan" / "kernels" / "scan.h"
    )
    numbers = dict(re.findall(r"SCAN_(\w+) = (\d+);", header.read_text(encoding="utf-8")))
    assert numbers == {
        "ABI": str(native_library.ABI),
        "CHUNK": str(native_library.CHUNK),
        "PAD": str(native_library.PAD),
    }
