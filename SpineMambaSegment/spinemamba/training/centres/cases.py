"""Training cases from volumes with centres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from spinemamba.common.errors import UserError
from spinemamba.imaging.local_mean import divide_by_local_mean
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.resample import grid_with_spacing
from spinemamba.imaging.volume import Volume
from spinemamba.training.centres.outlines import outline_bodies
from spinemamba.training.centres.read import Centre, CentreCase, find_centre_cases, read_centres
from spinemamba.training.centres.zones import core_known_mask, unknown_mask
from spinemamba.training.data.case_maker import CaseMaker, replaced
from spinemamba.training.data.case_store import CaseStore, StoredCase, files_digest
from spinemamba.training.data.dataset import MR_UNITS, Case, make_case, sample_nearest
from spinemamba.training.data.origin import Origin

CENTRES = "centres:"
"""Beginning of the keys of these cases."""

KIND = "centres"

_OUTLINE_SPACING_MM = 2.0
"""Networks with smaller voxels learn from the grid of the images; see `dataset.make_case`."""


def centre_case(name: str, image: Volume, centres: tuple[Centre, ...], spacing_mm: float) -> Case:
    """Return the training case of an MR with centres.

    Args:
        name: Name of the case.
        image: MR in canonical orientation.
        centres: Centres from head to foot.
        spacing_mm: Voxel spacing of the network.

    Raises:
        UserError: If a centre is outside of the image, or no body stands out (INPUT_BAD).
    """
    _check_inside(name, image, centres)
    found = outline_bodies(image, centres)
    if not found.labels.array.any():
        raise UserError(
            f"{name}: no vertebral body stands out at its centres.",
            "Check that the centres are in LPS millimetres of the image.",
        )
    finest = spacing_mm / 2 if spacing_mm < _OUTLINE_SPACING_MM else None
    case = make_case(
        name,
        found.labels,
        spacing_mm,
        image=image.with_array(divide_by_local_mean(image) * MR_UNITS),
        unknown=image.with_array(unknown_mask(found).astype(np.uint8)),
        finest_mm=finest,
    )
    grid = grid_with_spacing(image.geometry, case.spacing_mm)
    known = sample_nearest(image.with_array(core_known_mask(found).astype(np.uint8)), grid)
    origin = Origin(kind=KIND, modality="mr")
    return replace(case, core_known=torch.from_numpy(known), origin=origin)


def _check_inside(name: str, image: Volume, centres: tuple[Centre, ...]) -> None:
    for centre in centres:
        index = image.geometry.to_index_zyx(np.array(centre.lps_mm))
        if not ((index > -0.5) & (index < np.array(image.array.shape) - 0.5)).all():
            raise UserError(
                f"{name}: the centre at {centre.lps_mm} mm is outside of the image.",
                "Give positions in LPS millimetres (x to the left, y to the back, z to the head).",
            )


def with_centre_cases(cases: list[StoredCase], folder: Path, maker: CaseMaker) -> list[StoredCase]:
    """Return the cases with exactly those of a folder of volumes with centres.

    Cases whose files have changed are made again.

    Raises:
        UserError: If the folder has none, or one of them cannot be used (INPUT_BAD).
    """
    found = {entry.name: entry for entry in find_centre_cases(folder)}
    keys = {name: CENTRES + _digest(entry) for name, entry in found.items()}
    others = {case.name for case in cases if not case.key.startswith(CENTRES)}
    if taken := sorted(others & found.keys()):
        raise UserError(f"{taken[0]}: two cases have this name.", "Rename the image of --centres.")
    old = {case.name: case.key for case in cases}
    missing = [name for name, key in keys.items() if old.get(name) != key]
    kept = [c for c in cases if not c.key.startswith(CENTRES) or c.name in found]
    return replaced(kept, maker.made(_Maker(found, keys, maker.store), missing))


def _digest(entry: CentreCase) -> str:
    return files_digest((entry.image, entry.file))


class _Maker:
    """Makes the case of a name, unless an interrupted call has; can be sent to a process."""

    def __init__(
        self, found: Mapping[str, CentreCase], keys: Mapping[str, str], store: CaseStore
    ) -> None:
        self.found, self.keys, self.store = found, keys, store

    def __call__(self, name: str) -> StoredCase:
        path = self.store.path_of(name, self.keys[name])
        if (case := self.store.find(name, path)) is not None:
            return case
        entry = self.found[name]
        image = canonical(read_volume(entry.image))[0]
        made = centre_case(name, image, read_centres(entry.file), self.store.spacing_mm)
        return self.store.add(replace(made, key=self.keys[name]), path)
