"""A worker that finds three boxes at once, or stops where a test wants it; also the probe.

Called as the real ones: ``-m spinemamba.worker job.json`` and ``-m spinemamba probe``.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.common.errors import Code, UserError
from spinemamba.common.progress import STAGES
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.result import InstanceResult, LevelsFrom, Result
from spinemamba.worker import main

NAMES = ("T12", "L1", "L2")
FACTS = {
    "torch": "2.9.0",
    "mamba_ssm": False,
    "causal_conv1d": False,
    "devices": [
        {"device": "cpu", "name": "Test CPU", "scan": "torch-chunked", "precision": "float32"},
        {"device": "cuda:0", "name": "Test GPU", "free_gb": 20.5, "total_gb": 24.0},
    ],
}
FACTS["devices"][1] |= {"scan": "nvrtc", "precision": "bfloat16"}


def run(
    job: SegmentJob, progress: Callable[[str, float], None], warn: Callable[[str], None]
) -> None:
    """Do what the environment says in each stage, then paint the boxes."""
    stop_at, how = os.environ.get("STOP_AT"), os.environ.get("HOW")
    for stage in STAGES:
        for quarter in range(5):
            progress(stage, quarter / 4)
            time.sleep(float(os.environ.get("PAUSE_S", "0")))
        if stage == stop_at and os.environ.get("ONLY_IN", "") in str(job.input):
            _stop(stage, how, progress)
    sys.stdout.write("a line for the log\n")
    sys.stdout.flush()
    if os.environ.get("WARN"):
        warn(os.environ["WARN"])
    _paint(job, _other_scan(job, warn))


def _other_scan(job: SegmentJob, warn: Callable[[str], None]) -> LevelsFrom | None:
    """Return an entry with all that the other scan says."""
    if getattr(job, "levels_from", None) is None:
        return None
    from spinemamba.labelmaps.other_scan import read_other_scan

    other = read_other_scan(job.levels_from)
    warn(f"The levels of {other.source}, used as evidence, are in doubt themselves.")
    levels = tuple((outline.number, outline.level) for outline in other.outlines)
    certainty = sum(outline.certainty for outline in other.outlines)
    return LevelsFrom(
        other.source, "shape", "found", not other.in_doubt, 0, certainty, levels, (), None
    )


def _stop(stage: str, how: str | None, progress: Callable[[str, float], None]) -> None:
    if how == "crash":
        os.abort()
    if how == "fail":
        raise RuntimeError("secret")
    if how in Code.__members__:
        raise UserError("The value is 3.", "Take 4.", Code(how))
    while True:
        if how != "deaf":
            progress(stage, 1.0)
        time.sleep(0.01)


def _paint(job: SegmentJob, other: LevelsFrom | None) -> None:
    # Imported here: a run that is stopped before starts in half the time.
    import numpy as np
    import SimpleITK as sitk

    from spinemamba.common.atomic_files import whole_or_nothing

    image = sitk.ReadImage(str(job.input))
    if job.fine_slices:
        image = _with_fine_slices(image)
    shape = image.GetSize()[::-1]
    labels = np.zeros(shape, np.uint8)
    for k, name in enumerate(NAMES):
        # From head to tail: the last of the three is the lowest.
        depth = slice((9 - 3 * k) * shape[0] // 12, (11 - 3 * k) * shape[0] // 12)
        middle = [slice(n // 3, 2 * n // 3) for n in shape[1:]]
        labels[(depth, *middle)] = BY_NAME[name].value
    out = sitk.GetImageFromArray(labels)
    out.CopyInformation(image)
    with contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(whole_or_nothing(path)) for path in job.outputs)
        sitk.WriteImage(out, str(first), useCompression=True)
        result = replace(result_of(labels, image), levels_from=other)
        if other is not None:
            result = replace(result, warnings=(f"From {other.source}.",))
        result.write(second)


def _with_fine_slices(image: Any) -> Any:
    """Return an empty image in which every slice along k is three, as for slices of 3 mm."""
    import SimpleITK as sitk

    fine = sitk.Image(*image.GetSize()[:2], 3 * image.GetDepth(), sitk.sitkInt16)
    fine.SetSpacing((*image.GetSpacing()[:2], image.GetSpacing()[2] / 3))
    fine.SetDirection(image.GetDirection())
    fine.SetOrigin(image.TransformContinuousIndexToPhysicalPoint((0.0, 0.0, -1 / 3)))
    return fine


def result_of(labels: Any, image: Any) -> Result:
    """Return a result for the boxes."""
    ml = math.prod(image.GetSpacing()) / 1000
    counts = {name: int((labels == BY_NAME[name].value).sum()) for name in NAMES}
    even = (1 / len(NETWORK_LEVELS),) * len(NETWORK_LEVELS)
    instances = tuple(
        InstanceResult(
            k + 1, BY_NAME[name].value, name, 0.9, (), even, (0.0,) * 3, counts[name] * ml,
            True, (), (Flag("box", None, "It is a box."),) if name == "L1" else (),
        )
        for k, name in enumerate(NAMES)
    )  # fmt: skip
    return Result(
        run_id="run-1", model_name="boxes", model_version="1", model_hash="abc",
        package_version="0", device="cpu", scan_backend="none", modality="ct", seconds={},
        shape=labels.shape, spacing_mm=image.GetSpacing()[::-1],
        origin_lps_mm=image.GetOrigin(), direction_lps=image.GetDirection(),
        instances=instances, labelings=(), ambiguous=True, warnings=(),
    )  # fmt: skip


if __name__ == "__main__":
    if "probe" in sys.argv:
        time.sleep(float(os.environ.get("PAUSE_S", "0")))
        sys.stdout.write(json.dumps(FACTS))
        sys.exit(0)
    code = main(sys.argv[3:], run=run, grace_s=float(os.environ.get("GRACE_S", "0.3")))
    sys.stderr.flush()
    os._exit(code)
