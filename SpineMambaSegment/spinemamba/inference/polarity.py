"""Contrast of an MR: whether a network reads the image or its inverse better.

The signal of marrow, discs and fluid relative to each other depends on the sequence. Where it is
the opposite of what a network has learned, as in some images of water, names are lost before
bodies are. The coarse network therefore reads both the image and its inverse, and what it is more
certain of is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinemamba.common.errors import UserError
from spinemamba.common.progress import Progress
from spinemamba.imaging.local_mean import inverse
from spinemamba.imaging.volume import Volume
from spinemamba.inference.coarse import CoarsePrediction, coarse_stage
from spinemamba.inference.model import LoadedNetwork

LEAST_GAIN = 1.02
"""The inverse is used if its certainty is at least this, relative to that of the image. It is at
most 0.98 on real volumes and at least 1.04 on inverted ones."""


@dataclass(frozen=True)
class CoarseReading:
    """What the coarse network read.

    Attributes:
        image: The image or its inverse.
        prediction: Prediction of the coarse network on it.
        inverted: Whether it is the inverse.
    """

    image: Volume
    prediction: CoarsePrediction
    inverted: bool = False


def coarse_stage_of_either(
    image: Volume, model: LoadedNetwork, progress: Progress
) -> CoarseReading:
    """Find the spine in an MR or in its inverse.

    Args:
        image: MR divided by its local mean, in canonical orientation.
        model: The coarse network.
        progress: Called after every window of the image, not of its inverse.

    Raises:
        UserError: If no spine is found in either (NO_SPINE).
    """
    opposite = image.with_array(inverse(image.array))
    readings, errors = [], []
    for volume, report in ((image, progress), (opposite, _check_only(progress))):
        try:
            prediction = coarse_stage(volume, model, report)
        except UserError as error:
            errors.append(error)
        else:
            readings.append(CoarseReading(volume, prediction, volume is opposite))
    if not readings:
        raise errors[0]
    if len(readings) == 2:
        plain, inverted = (np.float64(each.prediction.certainty) for each in readings)
        return readings[int(inverted > LEAST_GAIN * plain)]
    return readings[0]


def _check_only(progress: Progress) -> Progress:
    """Return a progress that stays at the end of the stage, but can still cancel the run."""
    return lambda stage, fraction: progress(stage, 1.0)
