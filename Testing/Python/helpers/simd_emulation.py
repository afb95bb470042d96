"""The kernels of native/ for any instruction set, on any processor: compiled with simd_on_cpu.h."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from spinemamba.selective_scan import native_library
from spinemamba.selective_scan.native_library import Library

NATIVE_FOLDER = Path(native_library.__file__).parent / "kernels"
HEADER = Path(__file__).parent / "simd_on_cpu.h"

DOOR = """
#define SCAN_{upper}
#define SCAN_NAMESPACE scan_{variant}
#include "kernel.h"

extern "C" int scan_abi() {{ return SCAN_ABI; }}
extern "C" int scan_supports(const char* name) {{ return strcmp(name, "{variant}") ? -1 : 1; }}
extern "C" int scan_forward(const ScanProblem* p, const char*) {{
    int failed = 0;
    for (int64_t b = 0; b < p->batch; b++)
        failed |= scan_{variant}::forward(p, b, 0, 0, p->channels);
    return failed;
}}
extern "C" int scan_backward(const ScanProblem* p, const char*) {{
    const int64_t n = p->slices, all = p->channels;
    int failed = 0;
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t s = 0; s < n; s++) {{
            const int64_t first = all * s / n / SCAN_PAD * SCAN_PAD;
            const int64_t last = s + 1 == n ? all : all * (s + 1) / n / SCAN_PAD * SCAN_PAD;
            if (first < last) failed |= scan_{variant}::backward(p, b, s, first, last);
        }}
    return failed;
}}
extern "C" int scan_convolve(const ScanPass* p, const char*) {{
    for (int64_t b = 0; b < p->batch; b++) scan_{variant}::convolve(p, b, 0, 0, p->length);
    return 0;
}}
extern "C" int scan_gate(const ScanPass* p, const char*) {{
    for (int64_t b = 0; b < p->batch; b++) scan_{variant}::gate(p, b, 0, 0, p->length);
    return 0;
}}
"""
"""Replaces scan.cpp, for one variant and one thread."""

OPTIONS = ("-O0", "-w", "-std=c++14", "-ffp-contract=off", "-shared", "-fPIC")
"""Unoptimised, which compiles in a second instead of half a minute."""

INTRINSICS = ("immintrin.h", "emmintrin.h", "arm_neon.h")


@dataclass(frozen=True)
class Fault:
    """Text of one of the kernel's sources, and what to put in its place."""

    source: str
    old: str
    new: str


def has_compiler() -> bool:
    """Return whether the kernels can be compiled here."""
    return shutil.which("g++") is not None


def emulated_library(
    variant: str, folder: Path, fault: Fault | None = None, native: Path = NATIVE_FOLDER
) -> Library:
    """Compile a variant with emulated intrinsics.

    Args:
        variant: One of `native_library.VARIANTS`.
        folder: Where the sources and the library go.
        fault: A fault to plant.
        native: Folder of the kernel's sources.
    """
    for source in native.glob("*.h"):
        shutil.copy(source, folder)
    for name in INTRINSICS:
        (folder / name).write_text(f'#include "{HEADER}"\n', encoding="utf-8")
    if fault:
        source = folder / fault.source
        text = source.read_text(encoding="utf-8")
        assert fault.old in text
        source.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    door, library = folder / "door.cpp", folder / f"{variant}.so"
    door.write_text(DOOR.format(variant=variant, upper=variant.upper()), encoding="utf-8")
    words = ["g++", *OPTIONS, f"-I{folder}", str(door), "-o", str(library)]
    subprocess.run(words, check=True)
    return Library(library)
