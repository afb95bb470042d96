"""A cohort without networks: small images, and a worker process that segments by a threshold."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

SITE = """
import sys
if "--pipeline" in sys.orig_argv:
    import fake_method
    fake_method.install()
"""
"""Python executes a file of this content at its start, if it is named sitecustomize.py."""

FAIL, SLOW_S, LOG = "FAKE_METHOD_FAIL", "FAKE_METHOD_SLOW_S", "FAKE_METHOD_LOG"
"""Variables: how cases fail, such as ``a=crash b=oom-once``; the seconds that each case takes; and
a folder that gets an empty file for each attempt at a case."""

_BONE = 300
_L3 = 22


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return an environment in which workers of a cohort segment by a threshold.

    Args:
        folder: Folder for files of this helper; created.
        more: Further variables, such as `FAIL`.
    """
    site = folder / "site"
    site.mkdir(parents=True, exist_ok=True)
    (site / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    log = folder / "log"
    log.mkdir(exist_ok=True)
    package = Path(sys.modules["spinemamba"].__file__).parents[1]
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [str(site), str(Path(__file__).parent), str(package), *filter(None, before)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path),
        LOG: str(log),
        "OMP_NUM_THREADS": "1",
        **more,
    }


def attempts(env: Mapping[str, str]) -> dict[str, int]:
    """Return how often each case was segmented."""
    counts: dict[str, int] = {}
    for path in Path(env[LOG]).iterdir():
        name = path.name.partition("@")[0]
        counts[name] = counts.get(name, 0) + 1
    return counts


def write_scan(path: Path, seed: int = 0, *, bone: bool = True) -> Path:
    """Write an image of 16 voxels along each axis, with a bright block if ``bone``."""
    from spinemamba.imaging.volume import Geometry, Volume
    from spinemamba.imaging.write import write_image

    array = np.random.default_rng(seed).integers(-100, 100, (16, 16, 16)).astype(np.int16)
    if bone:
        array[4:12, 4:12, 4:12] += 600
    path.parent.mkdir(parents=True, exist_ok=True)
    geometry = Geometry(array.shape, (2.0, 2.0, 2.0), (float(seed), 0.0, 0.0), np.eye(3))
    write_image(Volume(array, geometry), path)
    return path


def install() -> None:
    """Replace the networks of this process, and draw pictures of few pixels."""
    from spinemamba.jobs import pipeline, segment
    from spinemamba.report import run_picture

    segment.segment_on_device = _segment
    segment.translate_out_of_memory = contextlib.nullcontext
    pipeline._kept_model = lambda: None
    run_picture._DPI = 20


def _segment(volume: Any, job: Any, report: Any, load: Any) -> Any:
    from synthetic_results import result_of

    from spinemamba.common.errors import Code, UserError

    case, (progress, warn) = job.output.parent.name, report
    progress("segment", 0.0)
    first = not list(Path(os.environ[LOG]).glob(f"{case}@*"))
    (Path(os.environ[LOG]) / f"{case}@{time.time_ns()}").touch()
    how = dict(item.split("=") for item in os.environ.get(FAIL, "").split()).get(case, "")
    if how and (first or not how.endswith("-once")):
        _fail(how.removesuffix("-once"), case)
    end_s = time.monotonic() + float(os.environ.get(SLOW_S, "0"))
    while time.monotonic() < end_s:
        progress("segment", 0.5)
        time.sleep(0.01)
    labels = volume.with_array(np.where(volume.array > _BONE, _L3, 0).astype(np.uint8))
    if not labels.array.any():
        raise UserError("No vertebra found.", "Choose another volume.", Code.NO_SPINE)
    warn("Look at the levels.")
    return SimpleNamespace(labels=labels, result=replace(result_of(labels), run_id=job.run_id))


def _fail(how: str, case: str) -> None:
    from spinemamba.common.errors import Code, UserError

    if how == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "oom":
        raise UserError("Too little memory.", "Close programs.", Code.OOM_HOST)
    if how == "bug":
        raise RuntimeError(case)
    raise ValueError(how)
