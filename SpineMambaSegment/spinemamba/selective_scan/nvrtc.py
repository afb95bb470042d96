"""Compile and launch the CUDA kernels with NVRTC and the CUDA driver, through ctypes.

NVRTC is NVIDIA's runtime compiler. CUDA builds of torch contain it, on Windows too, and the result
fits the GPU and driver of the user. Torch's wrapper (`torch.cuda._compile_kernel`) is private and
requires CUDA_HOME.
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

from spinemamba.selective_scan.cuda_launch import CHUNK, MAX_STATES, Dim3, Problem
from spinemamba.selective_scan.native_library import NativeError

SOURCE = Path(__file__).parent / "kernels" / "scan.cu"
FORWARD = ("ends", "chain", "outputs")
BACKWARD = ("adjoint_ends", "adjoint_chain", "gradients")
"""Compiled for rank 0 only, because compilation takes ten times as long as for `FORWARD`."""


def kernel_names(rank: int) -> tuple[str, ...]:
    """Return the names of the kernels that are compiled for rank r."""
    return FORWARD if rank else FORWARD + BACKWARD


class _LoadedKernels:
    """Kernels loaded on a device, for n states and rank r.

    Args:
        device: CUDA device.
        states: Number n of states.
        rank: Rank r of the step sizes; 0 if the step sizes themselves are given.

    Raises:
        NativeError: If the kernels cannot be compiled or loaded.
    """

    def __init__(self, device: torch.device, states: int, rank: int):
        if states > MAX_STATES:
            raise NativeError(f"supports at most {MAX_STATES} states, not {states}")
        self._device = device
        major, minor = torch.cuda.get_device_capability(device)
        binary = compile_kernels(f"sm_{major}{minor}", states, rank)
        self._driver = _driver()
        module = c_void_p()
        with torch.cuda.device(device):
            torch.zeros(1, device=device)  # makes the context of torch current
            self._check(self._driver.cuModuleLoadData(byref(module), binary), "load")
        self._kernels = {name: self._function(module, name) for name in kernel_names(rank)}

    def launch(self, name: str, blocks: Dim3, threads: int, problem: Problem) -> None:
        """Queue a kernel on the current stream of torch."""
        arguments = (c_void_p * 1)(ctypes.cast(byref(problem), c_void_p))
        sizes = (c_uint(n) for n in (*blocks, threads, 1, 1, 0))
        with torch.cuda.device(self._device):
            stream = c_void_p(torch.cuda.current_stream().cuda_stream)
            status = self._driver.cuLaunchKernel(
                self._kernels[name], *sizes, stream, arguments, c_void_p()
            )
        self._check(status, f"run {name}")

    def _function(self, module: c_void_p, name: str) -> c_void_p:
        function = c_void_p()
        status = self._driver.cuModuleGetFunction(byref(function), module, name.encode())
        self._check(status, f"find {name}")
        return function

    def _check(self, status: int, action: str) -> None:
        if status:
            message = c_char_p()
            self._driver.cuGetErrorString(status, byref(message))
            raise NativeError(f"the driver cannot {action}: {(message.value or b'?').decode()}")


@cache
def kernels(device: torch.device, states: int, rank: int) -> _LoadedKernels:
    """Return the kernels for a device, n and r.

    They are compiled at the first call, which takes one or two seconds.

    Raises:
        NativeError: If the kernels cannot be compiled or loaded.
    """
    return _LoadedKernels(device, states, rank)


def compile_kernels(architecture: str, states: int, rank: int) -> bytes:
    """Compile kernels/scan.cu. No GPU is required.

    Args:
        architecture: GPU architecture, for example "sm_86".
        states: Number n of states.
        rank: Rank r of the step sizes.

    Returns:
        CUBIN image.

    Raises:
        NativeError: If NVRTC is missing or does not support the architecture.
    """
    nvrtc = _nvrtc(tuple(library_folders()))
    arguments = [f"--gpu-architecture={architecture}", "--std=c++17", "--ftz=true"]
    arguments += [f"-D{k}={v}" for k, v in (("STATES", states), ("RANK", rank), ("CHUNK", CHUNK))]
    options = (c_char_p * len(arguments))(*(text.encode() for text in arguments))
    program = c_void_p()
    source = SOURCE.read_bytes()
    _check(nvrtc, nvrtc.nvrtcCreateProgram(byref(program), source, b"scan.cu", 0, None, None))
    try:
        if nvrtc.nvrtcCompileProgram(program, len(arguments), options):
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


def _check(nvrtc: ctypes.CDLL, status: int) -> None:
    if status:
        nvrtc.nvrtcGetErrorString.restype = c_char_p
        raise NativeError(f"NVRTC: {nvrtc.nvrtcGetErrorString(c_int(status)).decode()}")


@cache
def _nvrtc(candidates: tuple[Path, ...]) -> ctypes.CDLL:
    """Load NVRTC from the first of the folders that contains it.

    Raises:
        NativeError: If it is missing.
    """
    folders = [f for f in candidates if f.is_dir()]
    windows = sys.platform == "win32"
    patterns = ("nvrtc-builtins*.dll", "nvrtc64_*.dll") if windows else ("libnvrtc*builtins*",)
    for folder in folders:
        if windows:
            os.add_dll_directory(str(folder))
        # NVRTC searches its builtins by file name only, so they must be loaded first.
        for path in sorted(folder.glob(patterns[0])):
            _load(path)
    paths = [p for f in folders for p in sorted(f.glob(patterns[1] if windows else "libnvrtc.so*"))]
    for path in paths:
        if "alt" not in path.name and (library := _load(path)) is not None:
            return library
    raise NativeError("this build of torch contains no NVRTC")


def library_folders() -> list[Path]:
    """Return the folders that may contain the CUDA libraries of torch."""
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
