"""Surface quality for real label maps: ``python Testing/Benchmarks/run.py surface_quality``.

Prints a table. Exports every vertebra with the default options, which takes minutes.
Needs the data folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from public_cases import public_cases

from spinemamba.export.exporter import Export, Target
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.run_files import RunFiles, read_vertebrae

MASKS = {
    "gl003": "VerSe gl003 (0.3 x 0.3 x 1.25 mm)",
    "verse009": "VerSe 009 (1 x 1 x 2 mm)",
    "verse010": "VerSe 010 (1 mm)",
    "lidc0001": "LIDC 0001 (0.7 x 0.7 x 2.5 mm)",
}
"""Cases of the list of public cases, and their names in the table."""


def main(words: list[str]) -> int:
    """Export each label map and print its row."""
    argparse.ArgumentParser("surface_quality", description=__doc__).parse_args(words)
    data = public_cases()
    for case, name in MASKS.items():
        sys.stdout.write(row(name, data.label(case)) + "\n")
        sys.stdout.flush()
    return 0


def row(name: str, mask: Path) -> str:
    """Return the row of the table for one label map."""
    with tempfile.TemporaryDirectory() as folder:
        vertebrae = read_vertebrae(RunFiles(mask, None))
        entries = Export(vertebrae, Target(Path(folder)), MeshOptions()).run().vertebrae
    closed = sum(entry.watertight for entry in entries)
    cut = sum(entry.self_intersections > 0 for entry in entries)
    volume = max(abs(entry.mesh_volume_ml / entry.label_volume_ml - 1) for entry in entries)
    p95_mm = max(entry.deviation_p95_mm for entry in entries)
    most_mm = max(entry.deviation_max_mm for entry in entries)
    cells = (
        *(name, len(entries), "all" if closed == len(entries) else closed, cut or "none"),
        *(f"{100 * volume:.2f} %", f"{p95_mm:.2f} mm", f"{most_mm:.2f} mm"),
    )
    return f"| {' | '.join(map(str, cells))} |"
