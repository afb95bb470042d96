"""Throughput of a cohort against a loop over ``segment``: ``run.py cohort_speed --crops 20``.

Both write the labels, result and picture of crops of real CTs, with the bundled model. The loop
starts a process for each crop. Prints wall and CPU time of both, their ratios, and the peak memory
of the worker in each case, and in the first and the last third of the cases. On a busy computer,
the CPU time says more than the wall time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from public_cases import data_folder

from spinemamba.imaging.read import read_volume
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import write_image
from spinemamba.protocol.cohort import CASES, read_record

IMAGES = (
    "verse/verse005_ct.nii.gz",
    "verse/verse006_ct.nii.gz",
    "verse/verse008_ct.nii.gz",
    "verse/verse012_ct.nii.gz",
    "tptbox/ct.nii.gz",
    "totalsegmentator/ts_example_ct.nii.gz",
)
HEIGHT_MM, STEP_MM = 90.0, 30.0


def write_crops(folder: Path, count: int) -> None:
    """Write crops of `HEIGHT_MM` from all images in turn."""
    volumes = [read_volume(data_folder() / name) for name in IMAGES]
    written = 0
    for step in range(count):
        for number, volume in enumerate(volumes):
            crop = _crop(volume, step * STEP_MM)
            if crop is not None and written < count:
                write_image(crop, folder / f"crop{written:02d}_of{number}_{step}.nii.gz")
                written += 1


def _crop(volume: Volume, start_mm: float) -> Volume | None:
    """Return a part along the axis nearest to the patient's axis; None beyond the end."""
    geometry = volume.geometry
    axis = 2 - int(np.argmax(np.abs(np.asarray(geometry.direction_lps)[2])))
    first = round(start_mm / geometry.spacing_mm[axis])
    last = first + round(HEIGHT_MM / geometry.spacing_mm[axis])
    if last > volume.array.shape[axis] and start_mm > 0:
        return None
    index = [slice(None)] * 3
    index[axis] = slice(first, last)
    array = np.ascontiguousarray(volume.array[tuple(index)])
    corner = np.zeros(3)
    corner[axis] = first
    origin = tuple(float(x) for x in np.ravel(geometry.to_lps_mm(corner)))
    return Volume(array, Geometry(array.shape, geometry.spacing_mm, origin, geometry.direction_lps))


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Return the wall and the CPU time of child processes in seconds."""
    before, start = os.times(), time.perf_counter()
    work()
    after = os.times()
    cpu = after.children_user + after.children_system
    return (
        time.perf_counter() - start,
        cpu - before.children_user - before.children_system,
    )


def run(*words: str) -> None:
    """Run a command of the package."""
    command = [sys.executable, "-m", "spinemamba", *words]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main(words: list[str]) -> int:
    """Run both in turn, and print the times."""
    parser = argparse.ArgumentParser("cohort_speed", description=__doc__)
    parser.add_argument("--crops", type=int, default=20)
    parser.add_argument(
        "--rounds", type=int, default=1, help="turns of both, if other programs use the computer"
    )
    parser.add_argument("--workers", default="1", help="worker processes of the cohort")
    args = parser.parse_args(words)
    times: dict[str, list[tuple[float, float]]] = {"cohort": [], "loop": []}
    with tempfile.TemporaryDirectory() as name:
        crops = Path(name) / "crops"
        crops.mkdir()
        write_crops(crops, args.crops)
        paths = sorted(crops.iterdir())
        for number in range(args.rounds):
            folder = Path(name) / f"round{number}"
            for path in paths[number :: args.rounds]:
                path.rename(_made(folder / "in") / path.name)
            times["cohort"].append(timed(partial(_together, folder, args.workers)))
            times["loop"].append(timed(partial(_one_by_one, folder)))
            _print(times, list(Path(name).glob("round*")))
    return 0


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _together(folder: Path, workers: str) -> None:
    out = str(folder / "out")
    run("cohort", str(folder / "in"), out, "--no-measurements", "--workers", workers)


def _one_by_one(folder: Path) -> None:
    out = _made(folder / "loop")
    for path in sorted((folder / "in").iterdir()):
        run("segment", str(path), str(out / f"{path.name}.seg.nrrd"), "--report")


def _print(times: dict[str, list[tuple[float, float]]], folders: list[Path]) -> None:
    """Print the sums so far."""
    out = sys.stdout
    done = [len(list(f.glob("loop/*.seg.nrrd"))) for f in folders]
    cases = [path for f in sorted(folders) for path in sorted((f / "out" / CASES).iterdir())]
    records = [record for record in map(read_record, cases) if record.summary]
    out.write(f"{len(records)} cases by the cohort, {sum(done)} by the loop\n")
    sums = {name: np.sum(values, axis=0) for name, values in times.items()}
    for name, (wall_s, cpu_s) in sums.items():
        out.write(f"{name:7} {wall_s:7.1f} s, CPU {cpu_s:7.1f} s\n")
    wall, cpu = sums["loop"] / sums["cohort"]
    out.write(f"loop / cohort: {wall:.2f}, CPU {cpu:.2f}\n")
    _print_memory([record.memory_mb for record in records if record.memory_mb])
    out.flush()


def _print_memory(peaks_mb: list[float]) -> None:
    """Print the peak memory of the worker in each case, in the order of the cases."""
    third = max(1, len(peaks_mb) // 3)
    first, last = max(peaks_mb[:third]), max(peaks_mb[-third:])
    listed = " ".join(f"{peak_mb:.0f}" for peak_mb in peaks_mb)
    sys.stdout.write(f"peak memory of the worker in MB: {listed}\n")
    sys.stdout.write(f"first third {first:.0f} MB, last third {last:.0f} MB\n")
