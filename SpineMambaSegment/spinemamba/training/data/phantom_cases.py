"""Synthetic spines as training cases, with designed vertebrae or with real shapes."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from functools import partial

import numpy as np

from spinemamba.common.atomic_files import sha256
from spinemamba.common.errors import UserError
from spinemamba.imaging.orientation import canonical
from spinemamba.phantom import ShapeBank, make_phantom, random_options
from spinemamba.training.data.case_maker import CaseMaker, replaced
from spinemamba.training.data.case_store import CaseStore, StoredCase, files_digest
from spinemamba.training.data.data_list import DataList
from spinemamba.training.data.dataset import Case, make_case
from spinemamba.training.data.origin import PHANTOM_SOURCE, Origin
from spinemamba.training.data.vertebra_shapes import (
    extract_all_shapes,
    load_shapes,
    save_shapes,
)

PHANTOM = "phantom:"
"""Beginning of the keys of phantoms."""

_SHAPES = "shapes.safetensors"

_FINEST_PHANTOM_MM = 1.5

_DESIGNED_EVERY = 4
"""If real shapes are available, every fourth phantom still has designed shapes: there are few real
shapes, and none of them is unusual."""


def with_phantoms(
    cases: list[StoredCase], seeds: range, data: DataList | None, maker: CaseMaker
) -> list[StoredCase]:
    """Return cases with phantoms.

    Args:
        cases: Cases of earlier calls.
        seeds: Seeds of the phantoms.
        data: Data list with donors of vertebral shapes; None for designed shapes only.
        maker: Makes the missing phantoms; the shapes are kept beside the folder of its cases.
    """
    shapes, key = None, PHANTOM
    if data is not None and data.donors and seeds:
        shapes, digest = _shapes(data, maker)
        key += digest
    cached = {case.name: case for case in cases}
    names = {f"{kind}{seed}" for kind in ("phantom", "composed") for seed in seeds}
    if count := sum(case.key.startswith(PHANTOM) and case.name not in names for case in cases):
        maker.report(f"{count} phantoms of earlier calls are also used")
    missing = []
    for seed in seeds:
        designed = shapes is None or seed % _DESIGNED_EVERY == 0
        composed = cached.get(f"composed{seed}")
        if f"phantom{seed}" in cached or (composed and (designed or composed.key == key)):
            continue
        missing.append((seed, designed))
    make = partial(_make_phantom, maker.store, shapes, key, data)
    return replaced(cases, maker.made(make, missing))


def _make_phantom(
    store: CaseStore,
    shapes: ShapeBank | None,
    key: str,
    data: DataList | None,
    wanted: tuple[int, bool],
) -> StoredCase:
    """Make the phantom of a seed, with designed or real shapes, unless a call has made it."""
    seed, designed = wanted
    name, key = (f"phantom{seed}", PHANTOM) if designed else (f"composed{seed}", key)
    path = store.path_of(name, key)
    if (found := store.find(name, path)) is not None:
        return found
    case = phantom_case(seed, store.spacing_mm, None if designed else shapes)
    if not designed:
        case = replace(case, origin=replace(case.origin, source=data.shapes_source()))
    return store.add(replace(case, key=key), path)


def _shapes(data: DataList, maker: CaseMaker) -> tuple[ShapeBank, str]:
    """Return the real vertebral shapes, and the digest of their source files.

    They are extracted at the first call, cached beside the checkpoint, and extracted again if
    their source files have changed.
    """
    path = maker.store.folder.parent / _SHAPES
    # gather_cases has read these files before, so they can be read.
    said = json.dumps([asdict(donor) for donor in data.donors])
    digest = files_digest(data.label(donor.case) for donor in data.donors)
    digest = sha256((said + digest).encode())
    if os.path.lexists(path):
        try:
            return load_shapes(path, digest), digest
        except UserError as error:
            maker.report(f"{error.message} It is rebuilt.")
    save_shapes(extract_all_shapes(data, maker.report), path, digest)
    return load_shapes(path, digest), digest


def phantom_case(seed: int, spacing_mm: float, shapes: ShapeBank | None = None) -> Case:
    """Return a phantom as a training case, in memory.

    Args:
        seed: Seed of the phantom.
        spacing_mm: Voxel spacing of the network.
        shapes: Real vertebral shapes; None for designed ones.

    Returns:
        The case, named "composed" and the seed with real shapes, else "phantom" and the seed.
    """
    kind = "phantom" if shapes is None else "composed"
    step_mm = max(_FINEST_PHANTOM_MM, spacing_mm / 2)
    options = random_options(np.random.default_rng(seed), (step_mm,) * 3)
    phantom = make_phantom(seed, options, shapes)
    labels, _ = canonical(phantom.labels)
    image, _ = canonical(phantom.image)
    tissues, _ = canonical(phantom.tissues)
    case = make_case(f"{kind}{seed}", labels, spacing_mm, image=image, tissues=tissues)
    return replace(case, origin=Origin(kind, PHANTOM_SOURCE))
