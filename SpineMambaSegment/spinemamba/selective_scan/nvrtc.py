"""NVRTC, NVIDIA's compiler at run time, and the CUDA driver, both through ctypes.

Torch ships NVRTC with its CUDA builds, on Windows too; what is compiled fits the user's card and
driver. Torch's own wrapper (`torch.cuda._compile_kernel`) is private and wants CUDA_HOME.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_void_p
from functools import cache
from pathlib import Path

import torch

from spinemamba.selective_scan.cuda_launch import CHUNK, MOST_STATES, Dim3, Problem
from spinemamba.selective_scan.native_library import NativeError

SOURCE = Path(__file__).parent / "kernels" / "scan.cu"
FORWARD = ("ends", "chain", "outputs")
BACKWARD = ("adjoint_ends", "adjoint_chain", "gradients")
"""Compiled for rank 0 only; they take ten times as long as the others."""


def kernel_names(rank: int) -> tuple[str, ...]:
    """Return the kernels that are compiled for rank r."""
    return FORWARD if rank else FORWARD + BACKWARD


class LoadedKernels:
    """The kernels on a device, for n states and rank r.

    Args:
        device: A CUDA device.
        states: n.
        rank: r.

    Raises:
        NativeError: If they cannot be compiled or loaded.
    """

    def __init__(self, device: torch.device, states: int, rank: int):
        if states > MOST_STATES:
            raise NativeError(f"has room for {MOST_STATES} states, not {states}")
        self._device = device
        major, minor = torch.cuda.get_device_capability(device)
        binary = compile_kernels(f"sm_{major}{minor}", states, rank)
        self._driver = _driver()
        module = c_void_p()
        with torch.cuda.device(device):
            torch.zeros(1, device=device)  # torch makes its context current
            self._check(self._driver.cuModuleLoadData(byref(module), binary), "load")
        self._kernels = {name: self._function(module, name) for name in kernel_names(rank)}

    def launch(self, name: str, blocks: Dim3, threads: int, problem: Problem) -> None:
        """Run a kernel on torch's stream."""
        arguments = (c_void_p * 1)(ctypes.cast(byref(problem), c_void_p))
        sizes = (c_uint(n) for n in (*blocks, threads, 1, 1, 0))
        with torch.cuda.device(self._device):
            stream = c_void_p(torch.cuda.current_stream().cuda_stream)
            done = self._driver.cuLaunchKernel(
                self._kernels[name], *sizes, stream, arguments, c_void_p()
            )
        self._check(done, f"run {name}")

    def _function(self, module: c_void_p, name: str) -> c_void_p:
        found = c_void_p()
        done = self._driver.cuModuleGetFunction(byref(found), module, name.encode())
        self._check(done, f"find {name}")
        return found

    def _check(self, done: int, what: str) -> None:
        if done:
            word = c_char_p()
            self._driver.cuGetErrorString(done, byref(word))
            raise NativeError(f"the driver cannot {what}: {(word.value or b'?').decode()}")


@cache
def kernels(device: torch.device, states: int, rank: int) -> LoadedKernels:
    """Return the kernels for a device, n and r; compiled at the first call, in a second or two.

    Raises:
        NativeError: If they cannot be compiled or loaded.
    """
    return LoadedKernels(device, states, rank)


def compile_kernels(architecture: str, states: int, rank: int) -> bytes:
    """Compile `kernels/scan.cu`; needs no GPU.

    Args:
        architecture: For example "sm_86".
        states: n.
        rank: r.

    Raises:
        NativeError: If there is no NVRTC, or it does not know the architecture.
    """
    nvrtc = _nvrtc()
    words = [f"--gpu-architecture={architecture}", "--std=c++17", "--ftz=true"]
    words += [f"-D{k}={v}" for k, v in (("STATES", states), ("RANK", rank), ("CHUNK", CHUNK))]
    options = (c_char_p * len(words))(*(word.encode() for word in words))
    program = c_void_p()
    source = SOURCE.read_bytes()
    _check(nvrtc, nvrtc.nvrtcCreateProgram(byref(program), source, b"scan.cu", 0, None, None))
    try:
        if nvrtc.nvrtcCompileProgram(program, len(words), options):
            log = _text(nvrtc, program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog)
            raise NativeError(f"NVRTC: {log.decode(errors='replace').strip().splitlines()[0]}")
        return _text(nvrtc, program, nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
    finally:
        nvrtc.nvrtcDestroyProgram(byref(program))


def _text(
    nvrtc: ctypes.CDLL, program: c_void_p, size: Callable[..., int], get: Callable[..., int]
) -> bytes:
    length = c_size_t()
    _check(nvrtc, size(program, byref(length)))
    buffer = ctypes.create_string_buffer(length.value)
    _check(nvrtc, get(program, buffer))
    return buffer.raw


def _check(nvrtc: ctypes.CDLL, done: int) -> None:
    if done:
        nvrtc.nvrtcGetErrorString.restype = c_char_p
        raise NativeError(f"NVRTC: {nvrtc.nvrtcGetErrorString(c_int(done)).decode()}")


@cache
def _nvrtc() -> ctypes.CDLL:
    """Load NVRTC from torch's own folders, or from where the system has it.

    Raises:
        NativeError: If it is not there.
    """
    folders = [f for f in library_folders() if f.is_dir()]
    windows = sys.platform == "win32"
    patterns = ("nvrtc-builtins*.dll", "nvrtc64_*.dll") if windows else ("libnvrtc*builtins*",)
    for folder in folders:
        if windows:
            os.add_dll_directory(str(folder))
        # NVRTC looks for its builtins by their bare name: they have to be there already.
        for path in sorted(folder.glob(patterns[0])):
            _load(path)
    found = [p for f in folders for p in sorted(f.glob(patterns[1] if windows else "libnvrtc.so*"))]
    for path in found:
        if "alt" not in path.name and (library := _load(path)) is not None:
            return library
    raise NativeError("torch came without NVRTC")


def library_folders() -> list[Path]:
    """Return the folders where torch's CUDA libraries may lie."""
    site = Path(torch.__file__).parents[1]
    nvidia = [*site.glob("nvidia/*/lib"), *site.glob("nvidia/*/bin"), *site.glob("nvidia/*/bin/*")]
    return [Path(torch.__file__).parent / "lib", *nvidia]


def _load(path: Path) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return None


@cache
def _driver() -> ctypes.CDLL:
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError as error:
        raise NativeError("no NVIDIA driver") from error
