"""Training cases on disk: one memory-mapped file per case, and the index of a folder of them.

A file is named by the SHA-256 of what its case is made from, and is written once. An interrupted
preparation therefore continues with the cases that are missing, and a patch is drawn by reading
only its own part of one file.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

from spinemamba.common.atomic_files import sha256, whole_or_nothing
from spinemamba.common.errors import Code, UserError
from spinemamba.common.json_schema import JsonFormat, Sha256
from spinemamba.imaging.intensity import Modality
from spinemamba.inference.model import sha256_of
from spinemamba.training.data.dataset import DATASET_VERSION, TENSORS, Case
from spinemamba.training.data.origin import Origin
from spinemamba.training.data.tensors import load_tensors, map_tensors, save_tensors

INDEX = "index.json"

_SUFFIX = ".safetensors"

_OWN_FILE = re.compile(r"[0-9a-f]{64}" + re.escape(_SUFFIX))

_ABOUT = ("name", "key", "origin")
"""Fields of a case that the index holds as well; they may differ from those in the file."""

_VALUES = tuple(field.name for field in fields(Case) if field.name not in (*TENSORS, *_ABOUT))
"""Fields that a file holds as JSON, beside the `TENSORS` that the case has."""


class TrainingCase(Protocol):
    """A case to draw patches from: in memory (`Case`) or on disk (`StoredCase`)."""

    @property
    def name(self) -> str:
        """Name of the case."""

    @property
    def origin(self) -> Origin:
        """Kind, source and weight."""

    @property
    def levels(self) -> tuple[int, ...]:
        """Network channels of the levels whose core is in the case."""

    def opened(self) -> Case:
        """Return the case with its tensors."""


@dataclass(frozen=True)
class IndexEntry:
    """One case of a folder.

    Attributes:
        name: Name of the case.
        file: Name of its file, without the ending.
        size: Size of the file in bytes.
        modified_ns: Time of the last change of the file; with the size, it tells whether the file
            must be verified.
        key: Identifies the source files, see `gather`.
        kind: Kind of the case, see `Origin`.
        source: Source and licence, see `Origin`.
        weight: Sampling weight, see `Origin`.
        levels: Network channels of the levels whose core is in the case.
        modality: Modality of the image, see `Origin`.
    """

    name: str
    file: Sha256
    size: int
    modified_ns: int
    key: str
    kind: str
    source: str
    weight: float
    levels: tuple[int, ...]
    modality: Modality = "ct"


@dataclass(frozen=True)
class CaseIndex:
    """Content of the index of a folder.

    Attributes:
        spacing_mm: Voxel spacing of the cases.
        dataset_version: Version of the conversion from images to cases.
        cases: Cases in the order that patches are drawn from.
    """

    spacing_mm: float
    dataset_version: int
    cases: tuple[IndexEntry, ...]


CASE_INDEX = JsonFormat(
    CaseIndex,
    "an index of training cases",
    "Delete it; it will be rebuilt.",
    Code.MODEL_BAD,
    version=1,
)
"""Format of index.json in a folder of cases."""


@dataclass(frozen=True)
class StoredCase:
    """A case in a file.

    Attributes:
        name: Name of the case; the file may have been written under another one.
        path: The file.
        key: Identifies the source files, see `gather`.
        origin: Kind, source and licence, and weight of the case.
        levels: Network channels of the levels whose core is in the case.
    """

    name: str
    path: Path
    key: str
    origin: Origin
    levels: tuple[int, ...]

    def opened(self) -> Case:
        """Return the case; its tensors are read from the file as far as they are used.

        Raises:
            UserError: If the file cannot be read (INPUT_BAD, MODEL_BAD).
        """
        tensors, about = map_tensors(self.path)
        every = {name: tensors.get(name) for name in TENSORS}
        values = {name: _from_json(about["values"][name]) for name in _VALUES}
        return Case(**every, **values, name=self.name, key=self.key, origin=self.origin)


class CaseStore:
    """A folder of cases at one voxel spacing.

    Args:
        folder: The folder; created with the first case.
        spacing_mm: Voxel spacing of the cases.
    """

    def __init__(self, folder: Path, spacing_mm: float):
        self.folder, self.spacing_mm = folder, spacing_mm

    def read(self, report: Callable[[str], None]) -> list[StoredCase]:
        """Return the cases of the index; an empty list if there is none, or a damaged one.

        Files that have changed since the index was written are verified; damaged and missing ones
        are left out.

        Args:
            report: Receives a message about an index or a file that cannot be used.

        Raises:
            UserError: If the cases have another voxel spacing (INPUT_BAD).
        """
        path = self.folder / INDEX
        if not os.path.lexists(path):
            return []
        try:
            index = CASE_INDEX.read(path, str(path))
        except UserError as error:
            report(f"{error.message} The cases are listed again from the data of this call.")
            return []
        if index.dataset_version != DATASET_VERSION:
            report(f"{path} was written by another version. The cases are made again.")
            return []
        if index.spacing_mm != self.spacing_mm:
            raise UserError(
                f"{path} lists cases with voxels of {index.spacing_mm:g} mm; this network needs "
                f"{self.spacing_mm:g} mm.",
                "Choose another folder, or delete this one; its cases will be made again.",
            )
        cases = []
        for entry in index.cases:
            try:
                cases.append(self._case(entry))
            except UserError as error:
                report(f"{error.message} {entry.name} is made again from the data of this call.")
        return cases

    def in_order(self, cases: list[StoredCase]) -> list[StoredCase]:
        """Return cases in the order of the index, and others at the end.

        A case that was made again after damage thus keeps its place.
        """
        try:
            index = CASE_INDEX.read(self.folder / INDEX)
        except UserError:
            return cases
        place = {entry.name: number for number, entry in enumerate(index.cases)}
        return sorted(cases, key=lambda case: place.get(case.name, len(place)))

    def _case(self, entry: IndexEntry) -> StoredCase:
        """Return a case of the index, verified if its file has changed.

        Raises:
            UserError: If the file is missing or damaged (INPUT_BAD, MODEL_BAD).
        """
        path = self.folder / f"{entry.file}{_SUFFIX}"
        if _stamp(path) != (entry.size, entry.modified_ns):
            load_tensors(path)
        origin = Origin(entry.kind, entry.source, entry.weight, entry.modality)
        return StoredCase(entry.name, path, entry.key, origin, entry.levels)

    def path_of(self, name: str, identity: str) -> Path:
        """Return the file of a case.

        Args:
            name: Name of the case, if cases with equal sources differ; otherwise empty.
            identity: Identifies the sources of the case.
        """
        about = [name, identity, self.spacing_mm, DATASET_VERSION]
        return self.folder / f"{sha256(json.dumps(about).encode())}{_SUFFIX}"

    def add(self, case: Case, path: Path) -> StoredCase:
        """Write a case, completely or not at all.

        Args:
            case: The case.
            path: Its file, see `path_of`.

        Raises:
            UserError: If the file cannot be written (OUTPUT_BAD, DISK_FULL).
        """
        every = {name: getattr(case, name) for name in TENSORS}
        tensors = {k: v.contiguous() for k, v in every.items() if v is not None}
        about: dict[str, Any] = {
            "name": case.name,
            "key": case.key,
            "origin": asdict(case.origin),
            "levels": case.levels,
            "values": {name: getattr(case, name) for name in _VALUES},
        }
        save_tensors(tensors, about, path)
        return StoredCase(case.name, path, case.key, case.origin, case.levels)

    def find(self, name: str, path: Path) -> StoredCase | None:
        """Return the case of an interrupted preparation; None if there is no usable file of it."""
        if not path.is_file():
            return None
        try:
            _, about = load_tensors(path)
            origin, levels = Origin(**about["origin"]), tuple(map(int, about["levels"]))
            return StoredCase(name, path, str(about["key"]), origin, levels)
        except (UserError, KeyError, TypeError, ValueError):
            return None

    def write(self, cases: list[StoredCase]) -> None:
        """Write the index, and remove files of this folder that it does not list.

        Raises:
            UserError: If the index cannot be written (OUTPUT_BAD, DISK_FULL).
        """
        entries = tuple(_entry(case) for case in cases)
        index = CaseIndex(self.spacing_mm, DATASET_VERSION, entries)
        with whole_or_nothing(self.folder / INDEX) as partial:
            CASE_INDEX.write(index, partial)
        self._remove_all_but({case.path.name for case in cases})

    def _remove_all_but(self, names: Collection[str]) -> None:
        for path in self.folder.iterdir():
            if _OWN_FILE.fullmatch(path.name) and path.name not in names:
                # Windows does not delete files that another training has open.
                with contextlib.suppress(OSError):
                    path.unlink()


def files_digest(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the SHA-256s of several files, in their order."""
    return sha256(" ".join(map(sha256_of, paths)).encode())


def _entry(case: StoredCase) -> IndexEntry:
    origin = case.origin
    size, modified_ns = _stamp(case.path)
    return IndexEntry(
        case.name,
        case.path.name.removesuffix(_SUFFIX),
        size,
        modified_ns,
        case.key,
        origin.kind,
        origin.source,
        origin.weight,
        case.levels,
        origin.modality,
    )


def _from_json(value: Any) -> Any:
    """Return a value of a case; JSON has lists for tuples."""
    return tuple(map(_from_json, value)) if isinstance(value, list) else value


def _stamp(path: Path) -> tuple[int, int]:
    """Return size and time of the last change of a file; zeros if it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def renamed(case: StoredCase, name: str) -> StoredCase:
    """Return a case under another name."""
    return case if case.name == name else replace(case, name=name)
