"""What cached cases were made of: a case is used again only if its files are the same still."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from spinemamba.common.atomic_files import sha256
from spinemamba.inference.model import sha256_of
from spinemamba.training.data.read_dataset import UserCase

OWN, REAL, MADE_UP = "own:", "real:", "made up:"
"""Beginnings of keys: where a case comes from. A key that is nothing else fits no case."""

PREFIX = "own/"
"""Before the name of an own case that other cases have already."""

ELSEWHERE = re.compile(rb"^(data ?file:|ElementDataFile *= *(?!LOCAL))", re.MULTILINE)
"""Line of an NRRD or MetaImage header whose voxels lie in another file."""

HEADER_BYTES = 1 << 16


def digest_of(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of what files hold, one after the other.

    Raises:
        OSError: If one cannot be read.
    """
    return sha256(" ".join(map(sha256_of, paths)).encode())


def with_keys(
    cases: list[UserCase], taken: Collection[str], report: Callable[[str], None]
) -> list[UserCase]:
    """Return own cases with their keys; one that is there twice is left out and reported.

    A case whose files cannot be read gets a key that fits none: `own.check_cases` says why.

    Args:
        cases: What `own.find_cases` has found.
        taken: Names that other cases have already.
        report: Told of cases with the same content.
    """
    out: list[UserCase] = []
    names: dict[str, str] = {}
    for case in cases:
        name = case.name
        if name in taken or name.startswith(("phantom", "composed")):
            name = PREFIX + name
        image, whole = _content(case)
        if whole and whole in names:
            report(f"{name}: the same files as {names[whole]}; they are used once")
            continue
        if image and image in names:
            report(f"{name}: the same image as {names[image]}, with other labels")
        names[whole] = names[image] = name
        out.append(replace(case, name=name, key=OWN + whole))
    return out


def _content(case: UserCase) -> tuple[str, str]:
    """Return digests of a case's image and of all that it is made of; empty if not known."""
    try:
        image, labels = sha256_of(case.image), sha256_of(case.labels)
        if any(map(_points_elsewhere, (case.image, case.labels))):
            return "", ""
    except OSError:
        return "", ""
    values = None if case.values is None else sorted(case.values.items())
    return image, sha256(json.dumps([image, labels, values]).encode())


def _points_elsewhere(path: Path) -> bool:
    """Return whether a header says that the voxels lie in another file."""
    if not path.name.lower().endswith((".nrrd", ".mha")):
        return False
    with path.open("rb") as file:
        return ELSEWHERE.search(file.read(HEADER_BYTES)) is not None
