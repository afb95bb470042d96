"""Training cases from a folder of the user, in one of the layouts that `layouts.find` reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.labels import BY_VALUE, ORDER
from spinemamba.anatomy.terminology import level_named
from spinemamba.common.atomic_files import sha256
from spinemamba.common.processes import Mapper
from spinemamba.imaging.intensity import normalise
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.volume import Volume
from spinemamba.inference.model import sha256_of
from spinemamba.labelmaps.read import values_in
from spinemamba.training.data.dataset import BONE_HU, MR_UNITS, Case, make_case
from spinemamba.training.data.origin import PREFIX, SYNTHETIC, Origin
from spinemamba.training.layouts.check import CaseReport, check_case
from spinemamba.training.layouts.pairing import raise_if_any
from spinemamba.training.layouts.read_labels import read_case_labels
from spinemamba.training.layouts.user_case import UserCase

_NEAR_LABEL_MM = 4.0
"""Voxels this close to a label are known to be background."""

USER = "user:"
"""Beginning of the keys of the user's cases. A key that is only the beginning matches no case."""

_DETACHED = re.compile(rb"^(data ?file:|ElementDataFile *= *(?!LOCAL))", re.MULTILINE)
"""Line of an NRRD or MetaImage header that refers to another file for the voxels."""

_HEADER_BYTES = 1 << 16


def with_keys(
    cases: Iterable[UserCase], other_names: Collection[str], report: Callable[[str], None]
) -> list[UserCase]:
    """Return the user's cases with their keys; duplicates are left out and reported.

    A case whose files cannot be read gets a key that matches no case; `check_cases`
    then reports the error.

    Args:
        cases: Cases as found by `find_cases`.
        other_names: Names of other cases.
        report: Receives messages about cases with equal content.
    """
    out: list[UserCase] = []
    names: dict[str, str] = {}
    for case in cases:
        name = case.name
        if name in other_names or name.startswith(SYNTHETIC):
            name = PREFIX + name
        image, content = _digests(case)
        if content and content in names:
            report(f"{name}: the same files as {names[content]}; they are used once")
            continue
        if image and image in names:
            report(f"{name}: the same image as {names[image]}, with other labels")
        names[content] = names[image] = name
        out.append(replace(case, name=name, key=USER + content))
    return out


def _digests(case: UserCase) -> tuple[str, str]:
    """Return digests of a case's image and of its whole content; empty strings if unknown."""
    try:
        files = (case.image, *_label_files(case.labels))
        if any(map(_is_detached, files)):
            return "", ""
        image, *labels = map(sha256_of, files)
    except OSError:
        return "", ""
    values = None if case.values is None else sorted(case.values.items())
    said = labels if case.labels.is_dir() else labels[0]
    content = [image, said, values] + ([case.modality] if case.modality != "ct" else [])
    return image, sha256(json.dumps(content).encode())


def _label_files(path: Path) -> list[Path]:
    """Return the label image, or the masks of levels in a folder."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if level_named(p.name.partition(".")[0]))


def _is_detached(path: Path) -> bool:
    """Return whether the header of a file refers to another file for the voxels."""
    if not path.name.lower().endswith((".nrrd", ".mha")):
        return False
    with path.open("rb") as file:
        return _DETACHED.search(file.read(_HEADER_BYTES)) is not None


def check_cases(
    cases: Sequence[UserCase], report: Callable[[str], None], each: Mapper = map
) -> tuple[CaseReport, ...]:
    """Read every file once, so that errors appear before a long training.

    Args:
        cases: Cases as found by `find_cases`.
        report: Receives progress and warnings.
        each: Applies a function to many items, possibly in several processes.

    Returns:
        What was found in each case.

    Raises:
        UserError: If files cannot be used; all problems are listed with their files. So it is if
            no case has a vertebra.
    """
    reports = []
    for number, found in enumerate(each(check_case, cases), start=1):
        report(f"checked {number} of {len(cases)}: {found.case.name}")
        for warning in found.warnings:
            report(f"warning: {warning}")
        reports.append(found)
    raise_if_any([text for found in reports for text in _located(found)])
    return tuple(reports)


def _located(found: CaseReport) -> list[str]:
    """Return the problems of a case with its folder, and that it is empty if it must not be."""
    folder = found.case.name.rpartition("/")[0]
    problems = list(found.problems)
    if found.empty and not found.case.labels.is_dir():
        problems.append(f"{found.case.labels.name}: holds no vertebra")
    return [f"{folder}/{text}" if folder else text for text in problems]


def load_user_cases(
    cases: Iterable[UserCase], spacing_mm: float, report: Callable[[str], None]
) -> Iterator[Case]:
    """Yield the user's cases at the voxel spacing of a network.

    Voxels that may be unlabelled vertebrae are left out of the loss: in CT, bright voxels above the
    first and below the last labelled slice; in MR, everything beyond the centres of the first and
    the last labelled vertebra that is not close to a label. Elsewhere, voxels without a label are
    background. A case without a vertebra, as the heads and legs of TotalSegmentator, is all
    background.
    """
    for case in cases:
        report(case.name)
        image, labels, unknown = read_user_case(case)
        if case.modality == "mr":
            image = image.with_array(normalise(image.array, "mr") * MR_UNITS)
        new = make_case(case.name, labels, spacing_mm, image=image, unknown=unknown)
        yield replace(new, key=case.key, origin=Origin(modality=case.modality))


def read_user_case(case: UserCase) -> tuple[Volume, Volume, Volume]:
    """Return the image, the labels with VerSe's values, and a mask of voxels without a label.

    All are in canonical orientation on the grid of the image; see `load_user_cases` for the mask.
    """
    image = read_volume(case.image)
    labels, left_out = read_case_labels(case)
    unknown = np.zeros(labels.array.shape, np.uint8) if left_out is None else left_out
    volumes = (image, labels, labels.with_array(unknown.astype(np.uint8)))
    image, labels, mask = (canonical(volume.on(image.geometry))[0] for volume in volumes)
    if case.modality == "mr":
        mask.array[_beyond_labels(labels)] = 1
    else:
        mask.array[_bright_outside_labels(image.array, labels.array)] = 1
    mask.array[labels.array > 0] = 0
    return image, labels, mask


def _bright_outside_labels(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return a mask of bright voxels above and below all labels, (z, y, x)."""
    rows = np.flatnonzero((labels > 0).any(axis=(1, 2)))
    if not rows.size:
        return np.zeros(labels.shape, bool)
    unknown = ndimage.binary_dilation(image > BONE_HU, iterations=2)
    unknown[rows[0] : rows[-1] + 1] = False
    return unknown


def _beyond_labels(labels: Volume) -> np.ndarray:
    """Return a mask of what lies beyond the first and the last labelled vertebra, (z, y, x).

    In MR, brightness does not tell bone, and the sacrum is often not labelled. It reaches higher
    than the lower edge of L5, so that voxels count from the centre of the lowest vertebra on.
    """
    if not (present := values_in(labels.array)):
        return np.zeros(labels.array.shape, bool)
    centres = ndimage.center_of_mass(labels.array > 0, labels.array, present)
    by_name = {BY_VALUE[v].name: c[0] for v, c in zip(present, centres, strict=True)}
    order = sorted(by_name, key=ORDER.__getitem__)
    beyond = np.zeros(labels.array.shape, bool)
    if order[0] != "C1":
        beyond[round(by_name[order[0]]) :] = True
    if order[-1] not in ("Sacrum", "Coccyx"):
        beyond[: round(by_name[order[-1]])] = True
    distance_mm = ndimage.distance_transform_edt(labels.array == 0, labels.spacing_mm)
    return beyond & (distance_mm > _NEAR_LABEL_MM)
