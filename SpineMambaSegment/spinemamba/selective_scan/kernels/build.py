"""Build of the scan library by pip, with separate compiler options for each instruction set.

setuptools passes the same options to all sources of an extension and expects a Python module, which
this library is not. Without a compiler, the package is installed without the library, which is
optional in pyproject.toml.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext

OPTIONS = {
    "unix": (
        *("-O3", "-std=c++14", "-fno-math-errno", "-ffp-contract=off"),
        *("-fvisibility=hidden", "-pthread"),
    ),
    "msvc": ("/O2", "/EHsc", "/std:c++14"),
}
"""Options of all sources, by kind of compiler. Contraction is off, because fused multiply-adds are
explicit in the sources: those chosen by a compiler would change bits, and are slower with some."""

INSTRUCTIONS = {
    "unix": {"scan_avx512": ("-mavx512f", "-mfma"), "scan_avx2": ("-mavx2", "-mfma")},
    "msvc": {"scan_avx512": ("/arch:AVX512",), "scan_avx2": ("/arch:AVX2",)},
}
"""Additional options of single sources on x86."""


class BuildScan(build_ext):
    """Compile and link the scan library."""

    def build_extension(self, ext: Extension) -> None:
        """Build the library at the path of a Python extension."""
        kind = "msvc" if self.compiler.compiler_type == "msvc" else "unix"
        objects: list[str] = []
        for source in ext.sources:
            objects += self.compiler.compile(
                [source],
                output_dir=self.build_temp,
                depends=ext.depends,
                extra_postargs=[*OPTIONS[kind], *_instructions(kind, Path(source).stem)],
            )
        self.compiler.link_shared_object(
            objects,
            self.get_ext_fullpath(ext.name),
            extra_postargs=["-pthread"] if kind == "unix" else [],
            build_temp=self.build_temp,
            target_lang="c++",
        )


def _instructions(kind: str, stem: str) -> list[str]:
    flags = INSTRUCTIONS[kind].get(stem, ())
    if sys.platform == "darwin":
        # One call may compile for both x86 and ARM.
        return [part for flag in flags for part in ("-Xarch_x86_64", flag)]
    return list(flags) if platform.machine() in ("x86_64", "AMD64") else []
