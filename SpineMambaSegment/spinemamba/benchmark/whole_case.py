"""A whole case: the pipeline as it is, and what the same model would take without its ideas.

The slow way is the fine network slid over all of the image, at half a window's overlap, with the
scan as a loop. It takes minutes: unless it is asked for, one window of it is measured, as the
others would take as long.
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
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.inference.model import LoadedNetwork, load_model
from spinemamba.inference.predict import pad_geometry, predict
from spinemamba.inference.sliding_window import Box, window_boxes
from spinemamba.protocol.model_card import DEFAULT, find_model
from spinemamba.segment import segment
from spinemamba.selective_scan.dispatch import forced_backend

SLIDING_OVERLAP = 0.5


@dataclass(frozen=True)
class CaseRow:
    """A whole case. Processor seconds are those of all threads.

    Attributes:
        cpu_s: Processor seconds of the whole pipeline, reading included.
        wall_s: By the clock on the wall; means something on an idle computer only.
        stages_s: By the clock on the wall, by stage.
        gigabytes: Most memory that this process held so far; None where that is not told.
        slow: The slow way.
        ratio: How many times the processor seconds of the pipeline it takes.
        wall_ratio: The same by the clock on the wall; None if not all of it was run.
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
    """The fine network slid over all of an image.

    Attributes:
        windows: How many there are.
        windows_run: How many of them were run: all, or 1.
        cpu_s: Processor seconds of all of them; if one was run, of that one times their number.
        wall_s: By the clock on the wall; None if not all were run.
    """

    windows: int
    windows_run: int
    cpu_s: float
    wall_s: float | None


def measure_case(path: Path, slide: bool = False) -> CaseRow:
    """Segment an image with the bundled model, and go the slow way or project what it would take.

    Args:
        path: The image.
        slide: Whether to run the slow way, which takes minutes.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    model = load_model(find_model(DEFAULT), "cpu", "float32")
    volume = read_volume(path)
    done = segment(volume, model)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    gigabytes = _most_gigabytes()
    slow = _slid(volume, model.fine) if slide else _projected(volume.geometry, model.fine)
    return CaseRow(
        cpu_s=cpu,
        wall_s=wall,
        stages_s=done.result.seconds,
        gigabytes=gigabytes,
        slow=slow,
        ratio=slow.cpu_s / cpu,
        wall_ratio=None if slow.wall_s is None else slow.wall_s / wall,
    )


def _boxes(geometry: Geometry, model: LoadedNetwork) -> list[Box]:
    grid = _grid(geometry, model)
    return window_boxes(grid.shape, model.patch_vox, SLIDING_OVERLAP)


def _slid(volume: Volume, model: LoadedNetwork) -> SlowWay:
    """Go the slow way, from the image that has been read to the blended answers."""
    wall, cpu = time.perf_counter(), time.process_time()
    upright, _ = canonical(volume)
    values = normalise(upright.array, guess_modality(upright.array))
    grid = _grid(upright.geometry, model)
    image = torch.from_numpy(resample_box(values, upright.geometry, grid))
    boxes = _boxes(upright.geometry, model)
    with forced_backend("cpu", "reference"):
        predict(model, image, boxes, ignore, "segment")
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return SlowWay(len(boxes), len(boxes), cpu, wall)


def _projected(geometry: Geometry, model: LoadedNetwork) -> SlowWay:
    """Run one window of the slow way."""
    windows, patch = len(_boxes(geometry, model)), torch.randn(1, 1, *model.patch_vox)
    with forced_backend("cpu", "reference"):
        cpu = time.process_time()
        model.logits(patch)
        cpu = time.process_time() - cpu
    return SlowWay(windows, 1, windows * cpu, None)


def _grid(geometry: Geometry, model: LoadedNetwork) -> Geometry:
    return pad_geometry(grid_with_spacing(geometry, model.spacing_mm), model.patch_vox)


def _most_gigabytes() -> float | None:
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    rows = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(rows["VmHWM"].split()[0]) * 1024 / 1e9
