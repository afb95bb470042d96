"""Measure the export of a whole spine: ``python Testing/Benchmarks/run.py export_speed``.

The input has 24 simple vertebrae, C1 to L5, in 512 x 512 x 400 voxels of 0.7 x 0.7 x 1.6 mm. Prints
the seconds of reading and of the export, and the share of each step in the export.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from spinemamba.anatomy.labels import LABELS
from spinemamba.anatomy.terminology import segment_info
from spinemamba.export import exporter
from spinemamba.export.exporter import Export, Target
from spinemamba.export.meshing import smooth
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.run_files import RunFiles, read_vertebrae
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.imaging.volume import Geometry, Volume

SHAPE, SPACING_MM = (400, 512, 512), (1.6, 0.7, 0.7)
LEVELS = [label for label in LABELS if label.name not in ("T13", "L6", "Sacrum", "Coccyx")]


def spine() -> Volume:
    """Return 24 vertebrae of body, ring and processes, increasing in size from the head down."""
    array = np.zeros(SHAPE, np.uint8)
    for k, label in enumerate(LEVELS):
        size = 0.5 + 0.5 * k / 23
        middle = np.array([590 - 24.5 * k, 190 + 25 * np.sin(k / 4), 180])
        low = np.maximum(((middle - np.array([14, 45, 50])) / SPACING_MM).astype(int), 0)
        high = ((middle + np.array([14, 90, 50])) / SPACING_MM).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        grid = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1)
        z, y, x = np.moveaxis(grid * SPACING_MM - middle, -1, 0)
        body = (np.hypot(x / (25 * size), y / (18 * size)) < 1) & (abs(z) < 11)
        back = y - 29 * size
        ring = abs(np.hypot(x, back) - 14 * size) + abs(z) / 3 < 4.5
        spinous = (abs(x) < 4) & (back > 12 * size) & (back < 45 * size) & (abs(z) < 8)
        wings = (abs(x) < 42 * size) & (abs(back) < 5) & (abs(z) < 5) & (np.hypot(x, back) > 11)
        array[box][(body | ring | spinous | wings) & (array[box] == 0)] = label.value
    return Volume(array, Geometry(SHAPE, SPACING_MM, (0.0, 0.0, 0.0), np.eye(3)))


def timed(owner: object, name: str, seconds: dict[str, float], key: str) -> None:
    """Replace a function by one that adds its run time to ``seconds``."""
    function: Callable = getattr(owner, name)

    def count(*arguments: object, **more: object) -> object:
        start = time.perf_counter()
        try:
            return function(*arguments, **more)
        finally:
            seconds[key] = seconds.get(key, 0.0) + time.perf_counter() - start

    setattr(owner, name, count)


def main(words: list[str]) -> int:
    """Write and read a label map, export it, and print the times."""
    argparse.ArgumentParser("export_speed", description=__doc__).parse_args(words)
    seconds: dict[str, float] = {}
    timed(exporter, "make_raw_surface", seconds, "voxels to surface")
    timed(exporter, "smooth", seconds, "smoothing")
    timed(smooth, "reduce_at_self_intersections", seconds, "search for self-intersections")
    timed(smooth, "deviation", seconds, "deviation from the label")
    timed(exporter.formats, "encode", seconds, "files")
    timed(exporter, "write_together", seconds, "files")
    with tempfile.TemporaryDirectory() as folder:
        labels = Path(folder) / "spine.seg.nrrd"
        write_labels(spine(), labels, [segment_info(label.value) for label in LEVELS])
        start = time.perf_counter()
        vertebrae = read_vertebrae(RunFiles(labels, None))
        read = time.perf_counter()
        manifest = Export(vertebrae, Target(Path(folder)), MeshOptions()).run()
        end = time.perf_counter()
    triangles = sum(entry.triangles for entry in manifest.vertebrae)
    sound = sum(entry.watertight and not entry.self_intersections for entry in manifest.vertebrae)
    worst = max(entry.deviation_p95_mm for entry in manifest.vertebrae)
    out = sys.stdout
    out.write(f"{len(manifest.vertebrae)} vertebrae, {triangles} triangles, {sound} sound\n")
    out.write(f"p95 deviation at most {worst:.2f} mm\n")
    out.write(f"reading {read - start:.1f} s, exporting {end - read:.1f} s\n")
    for key, value in sorted(seconds.items(), key=lambda item: -item[1]):
        out.write(f"{100 * value / (end - read):3.0f} %  {key}\n")
    return 0
