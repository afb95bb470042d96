"""How pip builds the scan library: each instruction set with compiler options of its own.

setuptools gives one set of options to all sources of an extension, which does not do here, and
wants a Python module, which this library is not. A computer without a compiler installs the
package without the library, because pyproject.toml says that it is optional.
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
"""Options of every source, by kind of compiler. Where a product and a sum are one operation the
source says so: what a compiler joins would be other bits with each of them, and slower on some."""

INSTRUCTIONS = {
    "unix": {"scan_avx512": ("-mavx512f", "-mfma"), "scan_avx2": ("-mavx2", "-mfma")},
    "msvc": {"scan_avx512": ("/arch:AVX512",), "scan_avx2": ("/arch:AVX2",)},
}
"""Further options of single sources, on x86."""


class BuildScan(build_ext):
    """Compiles and links the scan library."""

    def build_extension(self, ext: Extension) -> None:
        """Build the library where Python would put its extension."""
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
        # One call may compile for both kinds of Mac.
        return [part for flag in flags for part in ("-Xarch_x86_64", flag)]
    return list(flags) if platform.machine() in ("x86_64", "AMD64") else []
