"""Time of a whole case with the pipeline, compared with a plain sliding window.

The baseline ("slow way") is the fine network in a sliding window over the whole image, with an
overlap of 0.5 and the reference loop as scan. It takes minutes. By default one window is measured
and multiplied by the number of windows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from spinemamba.common.progress import ignore
from spinemamba.imaging.intensity import guess_modality, normalise
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.resample import grid_with_spacing, resample_box
from spinemamba.imaging.volume import Box, Geometry, Volume
from spinemamba.inference.model import LoadedNetwork, load_model
from spinemamba.inference.predict import pad_geometry, predict
from spinemamba.inference.sliding_window import window_boxes
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.segment import segment
from spinemamba.selective_scan.dispatch import forced_backend

_SLIDING_OVERLAP = 0.5


@dataclass(frozen=True)
class CaseRow:
    """Times of a whole case. Processor seconds are those of all threads.

    Attributes:
        cpu_s: Processor seconds of the whole pipeline, including reading.
        wall_s: Wall-clock time; meaningful on an idle computer only.
        stages_s: Wall-clock time of each stage.
        gigabytes: Peak memory of this process; None if the system does not report it.
        slow: The baseline.
        ratio: Processor seconds of the baseline divided by those of the pipeline.
        wall_ratio: The same for wall-clock time; None if not all windows were run.
    """

    cpu_s: float
    wall_s: float
    stages_s: dict[str, float]
    gigabytes: float | None
    slow: SlowWay
    ratio: float
    wall_ratio: float | None


@dataclass(frozen=True)
class SlowWay:
    """Time of the fine network in a sliding window over an image.

    Attributes:
        windows: Number of windows.
        windows_run: Number of windows that were run: all, or 1.
        cpu_s: Processor seconds of all windows; if one was run, its time times their number.
        wall_s: Wall-clock time; None if not all windows were run.
    """

    windows: int
    windows_run: int
    cpu_s: float
    wall_s: float | None


def measure_case(path: Path, slide: bool = False) -> CaseRow:
    """Segment an image with the default model, and measure or project the baseline.

    Args:
        path: Image file.
        slide: Whether to run all windows of the baseline, which takes minutes.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    model = load_model(find_model(DEFAULT), "cpu", "float32")
    volume = read_volume(path)
    segmentation = segment(volume, model)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    gigabytes = _peak_gigabytes()
    slow = _measured(volume, model.fine) if slide else _projected(volume.geometry, model.fine)
    return CaseRow(
        cpu_s=cpu,
        wall_s=wall,
        stages_s=segmentation.result.seconds,
        gigabytes=gigabytes,
        slow=slow,
        ratio=slow.cpu_s / cpu,
        wall_ratio=None if slow.wall_s is None else slow.wall_s / wall,
    )


def _boxes(geometry: Geometry, model: LoadedNetwork) -> list[Box]:
    grid = _grid(geometry, model)
    return window_boxes(grid.shape, model.patch_vox, _SLIDING_OVERLAP)


def _measured(volume: Volume, model: LoadedNetwork) -> SlowWay:
    """Run the baseline, from the image in memory to the aggregated predictions."""
    wall, cpu = time.perf_counter(), time.process_time()
    oriented, _ = canonical(volume)
    values = normalise(oriented.array, guess_modality(oriented.array))
    grid = _grid(oriented.geometry, model)
    image = torch.from_numpy(resample_box(values, oriented.geometry, grid))
    boxes = _boxes(oriented.geometry, model)
    with forced_backend("cpu", "reference"):
        predict(model, image, boxes, ignore, "segment")
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return SlowWay(len(boxes), len(boxes), cpu, wall)


def _projected(geometry: Geometry, model: LoadedNetwork) -> SlowWay:
    """Run one window of the baseline, and project the time of all."""
    windows, patch = len(_boxes(geometry, model)), torch.randn(1, 1, *model.patch_vox)
    with forced_backend("cpu", "reference"):
        cpu = time.process_time()
        model.logits(patch)
        cpu = time.process_time() - cpu
    return SlowWay(windows, 1, windows * cpu, None)


def _grid(geometry: Geometry, model: LoadedNetwork) -> Geometry:
    return pad_geometry(grid_with_spacing(geometry, model.spacing_mm), model.patch_vox)


def _peak_gigabytes() -> float | None:
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    rows = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(rows["VmHWM"].split()[0]) * 1024 / 1e9
