"""The kernels of kernels/scan.cu on a CPU: compiled by the C++ compiler with cuda_on_cpu.h."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from ctypes import byref, c_char_p, c_uint, c_void_p
from pathlib import Path

import torch

from spinemamba.selective_scan.cuda_launch import CHUNK, Dim3, Problem
from spinemamba.selective_scan.nvrtc import SOURCE, kernel_names

HEADER = Path(__file__).parent / "cuda_on_cpu.h"

DOOR = """
#include "{source}"
extern "C" int emulate(const char* name, const unsigned* blocks, unsigned threads,
                       const Problem* p) {{
    {calls}
    return 1;
}}
"""


def has_compiler() -> bool:
    """Return whether the kernels can be compiled here."""
    return shutil.which("g++") is not None


class EmulatedKernels:
    """Implementation of `cuda_launch.Kernels` that records the launched kernels."""

    def __init__(self, library: Path):
        self._emulate = ctypes.CDLL(str(library)).emulate
        self._emulate.argtypes = [c_char_p, c_void_p, c_uint, c_void_p]
        self.launched: list[str] = []

    def launch(self, name: str, blocks: Dim3, threads: int, problem: Problem) -> None:
        """Run a kernel now."""
        self.launched.append(name)
        done = self._emulate(name.encode(), byref((c_uint * 3)(*blocks)), threads, byref(problem))
        assert done == 0, f"no kernel {name}"


class EmulatingCompiler:
    """Implementation of `cuda_launch.Compiler`.

    Args:
        folder: Where the compiled libraries go.
        replace: Text of the source and its replacement, to plant a fault.
        flags: Further options of the compiler.
    """

    def __init__(self, folder: Path, replace: tuple[str, str] = ("", ""), flags: tuple = ()):
        self._folder, self._replace, self._flags = folder, replace, flags
        self._compiled: dict[tuple[int, int], EmulatedKernels] = {}

    def __call__(self, device: torch.device, states: int, rank: int) -> EmulatedKernels:
        """Compile for n states and rank r, once."""
        if (states, rank) not in self._compiled:
            self._compiled[states, rank] = EmulatedKernels(self._compile(states, rank))
        return self._compiled[states, rank]

    def _compile(self, states: int, rank: int) -> Path:
        text = SOURCE.read_text(encoding="utf-8")
        old, new = self._replace
        assert old in text
        source = self._folder / "scan.cu"
        source.write_text(text.replace(old, new) if old else text, encoding="utf-8")
        calls = " ".join(
            f'if (!__builtin_strcmp(name, "{k}")) return run_grid({k}, blocks, threads, *p), 0;'
            for k in kernel_names(rank)
        )
        door, library = self._folder / "door.cpp", self._folder / f"scan_{states}_{rank}.so"
        door.write_text(DOOR.format(source=source, calls=calls), encoding="utf-8")
        values = {"STATES": states, "RANK": rank, "CHUNK": CHUNK}
        defines = [f"-D{name}={value}" for name, value in values.items()]
        words = ["g++", "-O0", "-w", "-shared", "-fPIC", "-include", str(HEADER), *defines]
        subprocess.run([*words, *self._flags, str(door), "-o", str(library)], check=True)
        return library
