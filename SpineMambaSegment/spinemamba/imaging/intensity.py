"""From scanner values to what the network was trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from spinemamba.common.errors import UserError
from spinemamba.imaging.volume import Volume

Modality = Literal["ct", "mr"]

CT_WINDOW_HU = (-250.0, 1250.0)
"""Fat to cortical bone. Metal and air carry no further information about vertebrae."""

MR_PERCENTILES = (1.0, 99.0)

FAT_HU = -40.0
"""Fat and air lie below; nothing else in a body does."""

LEAST_FAT = 0.005
"""Share of the voxels of a CT, also of a tight crop, that lie below `FAT_HU`."""

NO_TISSUE_HU = -300.0
"""Below lie lungs, air and padding."""

SOFT_HU = (-200.0, 300.0)
LEAST_SOFT = 0.05
"""Share of the voxels of a CT within `SOFT_HU`: fat, soft tissue and much of a vertebra."""

MOST_BRIGHT_HU = 900.0
"""In a CT of a body at most a tenth of the voxels is brighter; water and air are not."""

MOST_BONE = 0.5
"""Share of bone in a tight crop; the rest is zero in a CT that was reduced to bone."""

LEAST_RANGE_HU = 300.0
"""From fat to dense bone; what spans less is scaled, or stored in 8 bits."""

THRESHOLD_HU = 150.0
"""Where a CT is reduced to bone, with zeros elsewhere, nothing lies between zero and this."""

PADDED = 0.05
"""A bright value that more voxels have is no tissue: measured values scatter."""

SAMPLE = 500_000
"""Voxels that are looked at."""

UNITS_REMEDY = (
    "Convert it to Hounsfield units (air -1000, water 0; often 1024 is to be subtracted), or "
    "choose the modality 'auto' or 'mr'."
)
NORMALISATION = {"ct_window_hu": CT_WINDOW_HU, "mr_percentiles": MR_PERCENTILES}
"""What a model's card says of it."""


def guess_modality(array: np.ndarray) -> Modality:
    """Tell CT from MR by its values.

    CT in Hounsfield units has fat near -100 and air near -1000, also in a tight crop; MR has no
    negative values of that size.

    Args:
        array: Image, shape (z, y, x).

    Returns:
        "ct" if more than `LEAST_FAT` of the voxels lie below `FAT_HU`, else "mr".
    """
    sample = array[::2, ::4, ::4]
    return "ct" if np.mean(sample < FAT_HU) > LEAST_FAT else "mr"


def choose_modality(
    volume: Volume, wanted: str, warn: Callable[[str], None] = lambda message: None
) -> Modality:
    """Return how an image is treated.

    Args:
        volume: Image in any orientation.
        wanted: "ct", "mr", or "auto": what the file says, else what the values look like; values
            that are not Hounsfield units are treated as those of an MR, of which only the order
            counts.
        warn: Told where file, values and ``wanted`` contradict each other.

    Raises:
        UserError: If ``wanted`` is "ct" and the values are not Hounsfield units.
    """
    said = volume.modality
    if wanted != "auto":
        if said is not None and said != wanted:
            warn(f"The file says that it is a {said.upper()}; it is treated as {wanted.upper()}.")
        if wanted == "ct":
            check_hounsfield(volume)
        return "ct" if wanted == "ct" else "mr"
    guess = said or guess_modality(volume.array)
    if guess == "ct" and (problem := hounsfield_problem(volume)):
        warn(f"{problem} It is treated as MR, whose values have no fixed unit.")
        return "mr"
    return "ct" if guess == "ct" else "mr"


def check_hounsfield(volume: Volume) -> None:
    """Refuse an image whose values are not Hounsfield units.

    Raises:
        UserError: As `hounsfield_problem`.
    """
    if problem := hounsfield_problem(volume):
        raise UserError(problem, UNITS_REMEDY)


def hounsfield_problem(volume: Volume) -> str | None:
    """Return a sentence if the values of an image are not Hounsfield units, else None.

    What may be padding or clipped air is left aside. A CT that was reduced to bone is recognised by
    its gap above zero.

    Args:
        volume: Image of a body in any orientation, also a tight crop.
    """
    step = max(1, round((volume.array.size / SAMPLE) ** (1 / 3)))
    values = volume.array[::step, ::step, ::step].ravel()
    least, most = float(values.min()), float(values.max())
    reason = _scale_problem(values, least, most)
    return None if reason is None else f"The values are not Hounsfield units: {reason}."


def _scale_problem(values: np.ndarray, least: float, most: float) -> str | None:
    if most - least < LEAST_RANGE_HU:
        return f"they only span {least:g} to {most:g}"
    padding = (0, least if least < NO_TISSUE_HU else 0, _bright_padding(values))
    rest = values[~np.isin(values, padding)]
    if not rest.size:
        return f"there are only {least:g}, 0 and {most:g}"
    only_bone = _share(values == 0) > MOST_BONE and _share(rest < THRESHOLD_HU) < 0.001
    bright = float(np.percentile(rest, 50 if only_bone else 90))
    if bright > MOST_BRIGHT_HU:
        share = "half" if only_bone else "a tenth"
        return f"{share} of the image is brighter than {bright:.0f}, as only dense bone is"
    if not only_bone and _share(rest < FAT_HU) < LEAST_FAT:
        return f"hardly any are as low as those of fat or air (the lowest is {least:g})"
    soft = _share((rest > SOFT_HU[0]) & (rest < SOFT_HU[1]))
    if soft < LEAST_SOFT:
        return f"only {100 * soft:.1f} % of them are those of soft tissue"
    return None


def _share(mask: np.ndarray) -> float:
    return float(np.mean(mask))


def _bright_padding(values: np.ndarray) -> float:
    """Return the value of padding that is brighter than a body can be; NaN if there is none."""
    found, counts = np.unique(values[values > MOST_BRIGHT_HU], return_counts=True)
    padding = counts.size and counts.max() > PADDED * values.size
    return float(found[counts.argmax()]) if padding else float("nan")


def normalise(array: np.ndarray, modality: Modality) -> np.ndarray:
    """Scale an image to about [-1, 1], the range the network is trained on.

    Args:
        array: Image, any shape and number type.
        modality: "ct" maps `CT_WINDOW_HU` to [-1, 1] and clips; "mr" does so with the 1st and
            99th percentile of the voxels above zero, then clips to [-1, 1.5].

    Returns:
        float32 array of the same shape.
    """
    if modality == "ct":
        low, high = CT_WINDOW_HU
        return (np.clip(array, low, high).astype(np.float32) - low) * (2 / (high - low)) - 1
    sample = array.reshape(-1)[:: max(1, array.size // 500_000)].astype(np.float32)
    positive = sample[sample > 0]
    low, high = np.percentile(positive if positive.size else sample, MR_PERCENTILES)
    scaled = (array.astype(np.float32) - low) * (2 / max(high - low, 1e-6)) - 1
    return np.clip(scaled, -1.0, 1.5)
