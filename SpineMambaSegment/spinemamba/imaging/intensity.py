"""Modality detection, checks of Hounsfield units, and intensity normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spinemamba.common.errors import UserError
from spinemamba.imaging.volume import Volume

Modality = Literal["ct", "mr"]

CT_WINDOW_HU = (-250.0, 1250.0)
"""From fat to cortical bone. Lower and higher values (air, metal) are clipped."""

_MR_PERCENTILES = (1.0, 99.0)

_UNITS_REMEDY = (
    "Convert it to Hounsfield units (air -1000, water 0; often by subtracting 1024), or "
    "choose the modality 'auto' or 'mr'."
)
NORMALISATION = {"ct_window_hu": CT_WINDOW_HU, "mr_percentiles": _MR_PERCENTILES}
"""Entry of the model card."""

LOCAL_MEAN = {"mr_local_mean_mm": 35.0, "mr_floor": 0.06}
"""Entry of the card of a model whose MR is divided by the local mean, see `local_mean.py`.

Standard deviation of the Gaussian that averages, wider than a vertebra, and the share of the 99th
percentile that is added to the mean, so that air stays dark.
"""


def uses_local_mean(normalisation: Mapping[str, Any]) -> bool:
    """Return whether a model divides MR by its local mean, by the entry of its card."""
    return LOCAL_MEAN.keys() <= normalisation.keys()


@dataclass(frozen=True)
class HounsfieldOptions:
    """Thresholds of the check of Hounsfield units, each with its reason.

    Attributes:
        fat_hu: Of all tissue in a body, only fat and air (lungs) have lower values.
        least_fat_share: Least share of voxels below ``fat_hu`` in a CT, including a tight crop.
        no_tissue_hu: Lungs, air and padding have lower values.
        soft_hu: Range of fat, soft tissue and much of a vertebra.
        least_soft_share: Least share of voxels in that range in a CT.
        most_bright_hu: Upper limit of the 90th percentile of a CT, of the median in a bone-only CT.
        bone_only_share: Share of zeros in a bone-only CT: bone fills at most half of a tight crop.
        bone_only_hu: Threshold of a bone-only CT: no values between zero and this.
        least_range_hu: Least range of a CT, from fat to dense bone. A smaller one is rescaled, or
            stored in 8 bits.
        padding_share: Share of voxels with one bright value from which on it is padding: tissue
            has noise.
        sample_vox: Number of voxels that are checked.
    """

    fat_hu: float = -40.0
    least_fat_share: float = 0.005
    no_tissue_hu: float = -300.0
    soft_hu: tuple[float, float] = (-200.0, 300.0)
    least_soft_share: float = 0.05
    most_bright_hu: float = 900.0
    bone_only_share: float = 0.5
    bone_only_hu: float = 150.0
    least_range_hu: float = 300.0
    padding_share: float = 0.05
    sample_vox: int = 500_000


def guess_modality(array: np.ndarray, options: HounsfieldOptions = HounsfieldOptions()) -> Modality:
    """Guess the modality from the intensities.

    CT in Hounsfield units has fat near -100 and air near -1000, even in a tight crop; MR has no
    negative values of that magnitude.

    Args:
        array: Image, shape (z, y, x).
        options: Thresholds.

    Returns:
        "ct" if enough voxels are as dark as fat, else "mr".
    """
    sample = array[::2, ::4, ::4]
    return "ct" if np.mean(sample < options.fat_hu) > options.least_fat_share else "mr"


def choose_modality(
    volume: Volume, requested: str, warn: Callable[[str], None] = lambda message: None
) -> Modality:
    """Return the modality as which an image is normalised.

    Args:
        volume: Image in any orientation.
        requested: "ct", "mr", or "auto". "auto" takes the modality from the file, else guesses it
            from the values. Values that are not Hounsfield units are then treated as MR, for which
            only their order matters.
        warn: Called with a warning if file, values and ``requested`` contradict each other.

    Raises:
        UserError: If ``requested`` is "ct" and the values are not Hounsfield units.
    """
    stated = volume.modality
    if requested != "auto":
        if stated is not None and stated != requested:
            warn(
                f"The modality of the file is {stated.upper()}; it is treated as "
                f"{requested.upper()}."
            )
        if requested == "ct":
            _check_hounsfield(volume)
        return "ct" if requested == "ct" else "mr"
    guess = stated or guess_modality(volume.array)
    if guess == "ct" and (problem := hounsfield_problem(volume)):
        warn(f"{problem} It is treated as MR, whose values have no fixed unit.")
        return "mr"
    return "ct" if guess == "ct" else "mr"


def _check_hounsfield(volume: Volume) -> None:
    """Refuse an image whose values are not Hounsfield units."""
    if problem := hounsfield_problem(volume):
        raise UserError(problem, _UNITS_REMEDY)


def hounsfield_problem(
    volume: Volume, options: HounsfieldOptions = HounsfieldOptions()
) -> str | None:
    """Return a sentence if the values of an image are not Hounsfield units, else None.

    Padding and clipped air are excluded. A bone-only CT is recognised by its gap above zero.

    Args:
        volume: Image of a body in any orientation; may be a tight crop.
        options: Thresholds.
    """
    step = max(1, round((volume.array.size / options.sample_vox) ** (1 / 3)))
    values = volume.array[::step, ::step, ::step].ravel()
    least, most = float(values.min()), float(values.max())
    reason = _scale_problem(values, least, most, options)
    return None if reason is None else f"The values are not Hounsfield units: {reason}."


def _scale_problem(
    values: np.ndarray, least: float, most: float, options: HounsfieldOptions
) -> str | None:
    if most - least < options.least_range_hu:
        return f"they only span {least:g} to {most:g}"
    padding = (0, least if least < options.no_tissue_hu else 0, _bright_padding(values, options))
    rest = values[~np.isin(values, padding)]
    if not rest.size:
        return f"there are only {least:g}, 0 and {most:g}"
    only_bone = (
        _share(values == 0) > options.bone_only_share
        and _share(rest < options.bone_only_hu) < 0.001
    )
    bright = float(np.percentile(rest, 50 if only_bone else 90))
    if bright > options.most_bright_hu:
        share = "half" if only_bone else "a tenth"
        return f"{share} of the image is brighter than {bright:.0f}, as only dense bone is"
    if not only_bone and _share(rest < options.fat_hu) < options.least_fat_share:
        return f"hardly any are as low as those of fat or air (the lowest is {least:g})"
    low, high = options.soft_hu
    soft = _share((rest > low) & (rest < high))
    if soft < options.least_soft_share:
        return f"only {100 * soft:.1f} % of them are those of soft tissue"
    return None


def _share(mask: np.ndarray) -> float:
    return float(np.mean(mask))


def _bright_padding(values: np.ndarray, options: HounsfieldOptions) -> float:
    """Return the value of bright padding; NaN if there is none."""
    bright, counts = np.unique(values[values > options.most_bright_hu], return_counts=True)
    is_padding = counts.size and counts.max() > options.padding_share * values.size
    return float(bright[counts.argmax()]) if is_padding else float("nan")


def normalise(array: np.ndarray, modality: Modality) -> np.ndarray:
    """Scale an image to about [-1, 1], the input range of the networks.

    Args:
        array: Image, any shape and dtype.
        modality: "ct" maps `CT_WINDOW_HU` to [-1, 1] and clips; "mr" maps the 1st and 99th
            percentile of the voxels above zero, and clips to [-1, 1.5].

    Returns:
        float32 array of the same shape.
    """
    if modality == "ct":
        low, high = CT_WINDOW_HU
        return (np.clip(array, low, high).astype(np.float32) - low) * (2 / (high - low)) - 1
    sample = array.reshape(-1)[:: max(1, array.size // 500_000)].astype(np.float32)
    positive = sample[sample > 0]
    low, high = np.percentile(positive if positive.size else sample, _MR_PERCENTILES)
    scaled = (array.astype(np.float32) - low) * (2 / max(high - low, 1e-6)) - 1
    return np.clip(scaled, -1.0, 1.5)
