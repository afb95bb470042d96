"""Capabilities of this computer: devices, memory, and working scan back ends."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from spinemamba import __version__
from spinemamba.inference.precision import AUTO, choose_precision
from spinemamba.protocol.model_card import DEFAULT, bundled_models, find_model, read_card
from spinemamba.selective_scan.dispatch import available_backends, describe_backend


def probe() -> dict[str, Any]:
    """Return a JSON-compatible report for the panel, the shell and bug reports.

    It contains no names of people or files.
    """
    return {
        "spinemamba": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "memory_gb": memory_gb(),
        "devices": devices(),
        "mamba_ssm": find_spec("mamba_ssm") is not None,
        "causal_conv1d": find_spec("causal_conv1d") is not None,
        "models": bundled_models(),
    }


def devices() -> list[dict[str, Any]]:
    """Return each device with its name, memory, scan back ends and precision.

    The precision is the one that "auto" selects for the bundled model.
    """
    listed = [{"device": "cpu", "name": platform.processor() or platform.machine()}]
    for k in range(torch.cuda.device_count()):
        listed.append({"device": f"cuda:{k}", "name": torch.cuda.get_device_name(k), **_free(k)})
    if torch.backends.mps.is_available():
        listed.append({"device": "mps", "name": "Apple GPU"})
    card = read_card(find_model(DEFAULT))
    for device in listed:
        kind = device["device"].partition(":")[0]
        device["scan"] = describe_backend(kind)
        device["scan_backends"] = available_backends(kind)
        device["precision"] = choose_precision(AUTO, torch.device(device["device"]), card)
    return listed


def _free(k: int) -> dict[str, Any]:
    try:
        free, total = torch.cuda.mem_get_info(k)
    # A GPU in exclusive use by another process is listed, but raises an error.
    except RuntimeError as error:
        return {"error": str(error).partition("\n")[0]}
    return {"free_gb": round(free / 1e9, 1), "total_gb": round(total / 1e9, 1)}


def memory_gb() -> dict[str, float] | None:
    """Return total and available memory in GB; None if the system does not report it."""
    table = Path("/proc/meminfo")
    if table.exists():
        rows = dict(line.split(":") for line in table.read_text().splitlines())
        names = {"total": "MemTotal", "available": "MemAvailable"}
        return {k: round(int(rows[v].split()[0]) * 1024 / 1e9, 1) for k, v in names.items()}
    if sys.platform == "win32":
        return _windows_memory_gb()
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return {"total": round(total / 1e9, 1)}
    return None


def _windows_memory_gb() -> dict[str, float] | None:
    # MEMORYSTATUSEX: dwLength, dwMemoryLoad, then seven numbers of bytes. The first two of these
    # are the total and the available memory.
    status = struct.pack("=2L7Q", 64, *[0] * 8)
    buffer = ctypes.create_string_buffer(status, 64)
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(buffer):
        return None
    total, available = struct.unpack_from("=2Q", buffer, 8)
    return {"total": round(total / 1e9, 1), "available": round(available / 1e9, 1)}
