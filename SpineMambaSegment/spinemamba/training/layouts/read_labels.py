"""Read the labels of a case with VerSe's values, from whatever its layout has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.errors import UserError
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.volume import Volume
from spinemamba.labelmaps.read import read_vertebra_labels, remap_values, values_in
from spinemamba.labelmaps.recognise_scheme import guess_numbering, label_stats
from spinemamba.training.layouts.user_case import IGNORED, UserCase, Values

_DISC, _ENDPLATE = 100, 200
"""What SPINEPS adds to the number of a vertebra for its disc and its endplates."""

_SUBREGIONS = frozenset(range(41, 51))
_BESIDE_SUBREGIONS = frozenset((26, 60, 61, 62, 100))
"""Sub-regions of vertebrae in SPINEPS and TPTBox, and the other values of these files."""


def read_case_labels(case: UserCase) -> tuple[Volume, np.ndarray | None]:
    """Return the labels of a case with VerSe's values, and the voxels to leave out of the loss.

    Returns:
        uint8 labels on their own grid; a mask (z, y, x), or None if no voxel is left out.

    Raises:
        UserError: If the file cannot be read, holds a value without a meaning, or its numbering
            cannot be recognised.
    """
    if case.values is None:
        return _recognised(case.labels), None
    stored = read_labels(case.labels)
    present = values_in(stored.array)
    if unknown := [value for value in present if value not in case.values]:
        raise UserError(
            f"It holds the unknown values {unknown[:5]}.", "Correct the file, or name the values."
        )
    ignored = [value for value, level in case.values.items() if level == IGNORED]
    levels = {value: level for value, level in case.values.items() if level > 0}
    left_out = np.isin(stored.array, ignored) if set(ignored) & set(present) else None
    return stored.with_array(remap_values(stored.array, levels)), left_out


def _recognised(path: Path) -> Volume:
    """Return labels with VerSe's values, by the names or by the numbering of a file.

    Raises:
        UserError: As `read_vertebra_labels`; or if a value is not a level.
    """
    try:
        spine = read_vertebra_labels(path)
    except UserError as error:
        if (volume := _of_spineps(path)) is not None:
            return volume
        raise error
    if not spine.left_out or (spine.file.numbering is None and path.is_dir()):
        return spine.volume
    if (volume := _of_spineps(path)) is not None:
        return volume
    raise UserError(
        f"It holds {', '.join(name for name, _ in spine.left_out[:5])} besides vertebrae.",
        "Remove all other labels.",
    )


def _of_spineps(path: Path) -> Volume | None:
    """Return the vertebrae of an instance mask of SPINEPS; None if it is none.

    Discs are background. Endplates belong to their vertebra, as in VerSe's masks.

    Raises:
        UserError: If the mask holds sub-regions only, or its numbers are not levels.
    """
    if path.is_dir():
        return None
    stored = read_labels(path)
    present = values_in(stored.array)
    if _SUBREGIONS & set(present) and set(present) <= _SUBREGIONS | _BESIDE_SUBREGIONS:
        raise UserError(
            "It holds sub-regions of vertebrae (41 to 50), which have no level.",
            "Give the mask with one value per vertebra, NAME_seg-vert_msk.",
        )
    values = _spineps_values()
    if max(present, default=0) <= _DISC or not set(present) <= values.keys():
        return None
    vertebrae = stored.with_array(remap_values(stored.array, values))
    instances = values_in(vertebrae.array)
    numbering = guess_numbering(label_stats(vertebrae), instances, path.name)
    levels = {value: numbering.levels[value].value for value in instances}
    return vertebrae.with_array(remap_values(vertebrae.array, levels))


def _spineps_values() -> Values:
    own = {value: value for value in BY_VALUE}
    discs = {_DISC + value: 0 for value in BY_VALUE}
    return own | discs | {_ENDPLATE + value: value for value in BY_VALUE}
