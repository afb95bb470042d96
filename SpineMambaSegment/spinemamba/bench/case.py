"""A whole case: the pipeline as it is, and what the same model would take without its ideas.

The slow way is the fine network slid over all of the image, at half a window's overlap, with the
scan as a loop. One window of it is measured; the others would take as long.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from spinemamba.checkpoint import LoadedNetwork, load_model
from spinemamba.image_io import read_volume
from spinemamba.models import DEFAULT, find_model
from spinemamba.predict import grow_to
from spinemamba.resample import grid_with_spacing
from spinemamba.scan import forced_backend
from spinemamba.segment import segment
from spinemamba.volume import Geometry
from spinemamba.windows import window_boxes

SLIDING_OVERLAP = 0.5


@dataclass(frozen=True)
class CaseRow:
    """A whole case. Processor seconds are those of all threads.

    Attributes:
        cpu_s: Processor seconds of the whole pipeline, reading included.
        wall_s: By the clock on the wall; means something on an idle computer only.
        stages_s: By the clock on the wall, by stage.
        sliding_windows: Windows of the slow way.
        sliding_window_cpu_s: Processor seconds of one of them, measured.
        sliding_cpu_s: Of all of them, projected.
        ratio: How much the pipeline saves.
        gigabytes: Most memory that this process held so far; None where that is not told.
    """

    cpu_s: float
    wall_s: float
    stages_s: dict[str, float]
    sliding_windows: int
    sliding_window_cpu_s: float
    sliding_cpu_s: float
    ratio: float
    gigabytes: float | None


def measure_case(path: Path) -> CaseRow:
    """Segment an image with the bundled model, and project what the slow way would take."""
    wall, cpu = time.perf_counter(), time.process_time()
    model = load_model(find_model(DEFAULT), "cpu", "float32")
    volume = read_volume(path)
    done = segment(volume, model)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    gigabytes = _most_gigabytes()
    shape = _grid(volume.geometry, model.fine)
    windows = len(window_boxes(shape, model.fine.patch_vox, SLIDING_OVERLAP))
    one = _sliding_window_s(model.fine)
    return CaseRow(
        cpu_s=cpu,
        wall_s=wall,
        stages_s=done.result.seconds,
        sliding_windows=windows,
        sliding_window_cpu_s=one,
        sliding_cpu_s=windows * one,
        ratio=windows * one / cpu,
        gigabytes=gigabytes,
    )


def _grid(geometry: Geometry, model: LoadedNetwork) -> tuple[int, int, int]:
    return grow_to(grid_with_spacing(geometry, model.spacing_mm), model.patch_vox).shape


def _sliding_window_s(model: LoadedNetwork) -> float:
    patch = torch.randn(1, 1, *model.patch_vox)
    with forced_backend("cpu", "reference"):
        started = time.process_time()
        model.answer(patch)
        return time.process_time() - started


def _most_gigabytes() -> float | None:
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    rows = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(rows["VmHWM"].split()[0]) * 1024 / 1e9
