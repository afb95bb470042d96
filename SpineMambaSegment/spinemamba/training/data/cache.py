"""Keys of cached cases: a case is reused only if its source files are unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from spinemamba.common.atomic_files import sha256
from spinemamba.inference.model import sha256_of
from spinemamba.training.data.read_dataset import UserCase

USER, PUBLIC, PHANTOM = "own:", "real:", "made up:"
"""Beginnings of keys, by source. A key that is only a beginning matches no case."""

PREFIX = "own/"
"""Prefix of the name of a user's case if another case has the same name."""

DETACHED = re.compile(rb"^(data ?file:|ElementDataFile *= *(?!LOCAL))", re.MULTILINE)
"""Line of an NRRD or MetaImage header that refers to another file for the voxels."""

HEADER_BYTES = 1 << 16


def files_digest(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the SHA-256s of several files, in their order.

    Raises:
        OSError: If a file cannot be read.
    """
    return sha256(" ".join(map(sha256_of, paths)).encode())


def with_keys(
    cases: list[UserCase], other_names: Collection[str], report: Callable[[str], None]
) -> list[UserCase]:
    """Return the user's cases with their keys; duplicates are left out and reported.

    A case whose files cannot be read gets a key that matches no case; `read_dataset.check_cases`
    then reports the error.

    Args:
        cases: Cases as found by `read_dataset.find_cases`.
        other_names: Names of other cases.
        report: Receives messages about cases with equal content.
    """
    out: list[UserCase] = []
    names: dict[str, str] = {}
    for case in cases:
        name = case.name
        if name in other_names or name.startswith(("phantom", "composed")):
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
        image, labels = sha256_of(case.image), sha256_of(case.labels)
        if any(map(_is_detached, (case.image, case.labels))):
            return "", ""
    except OSError:
        return "", ""
    values = None if case.values is None else sorted(case.values.items())
    return image, sha256(json.dumps([image, labels, values]).encode())


def _is_detached(path: Path) -> bool:
    """Return whether the header of a file refers to another file for the voxels."""
    if not path.name.lower().endswith((".nrrd", ".mha")):
        return False
    with path.open("rb") as file:
        return DETACHED.search(file.read(HEADER_BYTES)) is not None
