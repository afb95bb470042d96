"""Surface quality for real label maps: ``python Testing/Benchmarks/surface_quality.py``.

Prints a table. Exports every vertebra with the default options, which takes minutes.
Needs the data folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "SpineMambaSegment"))

from spinemamba.export.exporter import Export, Target  # noqa: E402 - the path is set just above
from spinemamba.export.meshing.options import MeshOptions  # noqa: E402
from spinemamba.export.run_files import RunFiles, read_vertebrae  # noqa: E402

MASKS = {
    "VerSe gl003 (0.3 x 0.3 x 1.25 mm)": "verse/gl003_maskonly_seg.nii.gz",
    "VerSe 009 (1 x 1 x 2 mm)": "verse/verse009_maskonly_seg.nii.gz",
    "VerSe 010 (1 mm)": "verse/verse010_maskonly_seg.nii.gz",
    "LIDC 0001 (0.7 x 0.7 x 2.5 mm)": "lidc/lidc0001_seg.nii.gz",
}


def main() -> None:
    """Export each mask and print its row."""
    data = Path(os.environ.get("SPINEMAMBA_DATA", REPOSITORY.parent / "shared" / "data"))
    for name, path in MASKS.items():
        sys.stdout.write(row(name, data / path) + "\n")
        sys.stdout.flush()


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


if __name__ == "__main__":
    main()
