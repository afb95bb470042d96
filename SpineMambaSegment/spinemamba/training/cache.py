"""What cached cases were made of: a case is used again only if its files are the same still."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from spinemamba.checkpoint import sha256_of
from spinemamba.files import sha256
from spinemamba.training.layout import refuse
from spinemamba.training.own import OwnCase

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


def keyed(
    cases: list[OwnCase], made_up: Collection[str], report: Callable[[str], None]
) -> list[OwnCase]:
    """Return own cases with their keys; one that is there twice is left out and reported.

    Args:
        cases: What `own.find_cases` has found.
        made_up: Names that other cases have already.
        report: Told of cases with the same content.

    Raises:
        UserError: If files cannot be read; all are listed.
    """
    out: list[OwnCase] = []
    problems: list[str] = []
    content: dict[str, str] = {}
    images: dict[str, str] = {}
    for case in cases:
        try:
            image, labels = sha256_of(case.image), sha256_of(case.labels)
            fixed = not any(map(_points_elsewhere, (case.image, case.labels)))
        except OSError as error:
            problems.append(f"{Path(error.filename or case.image).name}: {error.strerror}")
            continue
        values = None if case.values is None else sorted(case.values.items())
        whole = sha256(json.dumps([image, labels, values]).encode())
        if fixed and whole in content:
            report(f"{case.name}: the same files as {content[whole]}; they are used once")
            continue
        if fixed and image in images:
            report(f"{case.name}: the same image as {images[image]}, with other labels")
        content[whole] = images[image] = case.name
        taken = case.name in made_up or case.name.startswith(("phantom", "composed"))
        name = f"{PREFIX}{case.name}" if taken else case.name
        out.append(replace(case, name=name, key=f"{OWN}{whole if fixed else ''}"))
    refuse(problems)
    return out


def _points_elsewhere(path: Path) -> bool:
    """Return whether a header says that the voxels lie in another file."""
    if not path.name.lower().endswith((".nrrd", ".mha")):
        return False
    with path.open("rb") as file:
        return ELSEWHERE.search(file.read(HEADER_BYTES)) is not None
