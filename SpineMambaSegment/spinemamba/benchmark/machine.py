"""Description of the computer of a benchmark, without anything that identifies it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from spinemamba import __version__
from spinemamba.inference.probe import memory_gb


def machine() -> dict[str, Any]:
    """Return processor, load and versions, without names of computers, people or files."""
    memory = memory_gb()
    return {
        "spinemamba": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "memory_gb": None if memory is None else memory["total"],
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    if table.exists():
        lines = table.read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
