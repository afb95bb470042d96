"""A spine segmented with three faults: what the run wrote, and the truth.

The whole chain is one level too high, two vertebrae are one, and one was missed.
"""

from __future__ import annotations

import numpy as np

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.imaging.volume import Geometry
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.result import InstanceResult, LabelingResult, Result

TRUTH = ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "Sacrum")
FOUND = ("T9", "T10", "T12", "L1", "L3", "L4", "Sacrum")
"""T12 is missing, L2 and L3 are one, and all but the sacrum are named one too high."""

HOLDS = ("T10", "T11", "L1", "L2", "L4", "L5", "Sacrum")


def planted(truth: np.ndarray) -> np.ndarray:
    """Return the labels of the faulty result."""
    labels = np.zeros(truth.shape, np.uint8)
    for found, level in zip(FOUND, HOLDS, strict=True):
        labels[truth == BY_NAME[level].value] = BY_NAME[found].value
    labels[truth == BY_NAME["L3"].value] = BY_NAME["L1"].value
    return labels


def result_of(labels: np.ndarray, geometry: Geometry) -> Result:
    """Return what the run that made the faults says of them."""
    even = (1 / len(NETWORK_LEVELS),) * len(NETWORK_LEVELS)
    double = (Flag("volume", 2.0, "Volume is 2.0 times that of its neighbours."),)
    far = (Flag("step", 61.0, "The next vertebra is 61 mm away: one may be missing."),)
    reasons = {"L1": double, "T10": far}
    instances = tuple(
        InstanceResult(
            id=k, label=BY_NAME[name].value, name=name, posterior=0.58, alternatives=(),
            level_probabilities=even, centroid_lps_mm=(0.0, 0.0, -30.0 * k), volume_ml=30.0,
            complete=True, cut_sides=(), flags=reasons.get(name, ()), is_sacrum=name == "Sacrum",
        )
        for k, name in enumerate(FOUND, start=1)
    )  # fmt: skip
    return Result(
        run_id="r", model_name="planted", model_version="1", model_hash="h", package_version="0",
        device="cpu", scan_backend="none", modality="ct", seconds={}, shape=labels.shape,
        spacing_mm=geometry.spacing_mm, origin_lps_mm=geometry.origin_lps_mm,
        direction_lps=tuple(np.ravel(geometry.direction_lps)),
        instances=instances, warnings=(), ambiguous=True,
        labelings=(LabelingResult(FOUND, 0.58), LabelingResult(HOLDS, 0.39)),
    )  # fmt: skip
