"""What the files say about a case: fingerprints, and whether it is done. Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from spinemamba import __version__
from spinemamba.cohort.found import FoundCase
from spinemamba.cohort.other_levels import files_with_levels
from spinemamba.common.atomic_files import exists_error, sha256
from spinemamba.common.errors import Code, UserError
from spinemamba.protocol.cohort import (
    CASES,
    DONE,
    RECORD_NAME,
    CaseRecord,
    Fingerprint,
    read_record,
)
from spinemamba.protocol.model_card import CARD, DEFAULT, find_model_for, read_card

LASTING = frozenset({Code.INPUT_BAD.value, Code.NO_SPINE.value})
"""Failures that another attempt with the same input, model and options cannot change."""

_BLOCK = 1 << 20
_UNREADABLE = "0" * 64
"""Hash of an input that cannot be read."""


class State(Enum):
    """What remains to do for a case."""

    DONE = "done"
    FAILED = "failed before"
    TO_DO = "to do"
    CHANGED = "done with another input, model or options"


UNFINISHED = (State.TO_DO, State.CHANGED)
"""States of cases that run; a caller asks before it replaces what is done."""


@dataclass(frozen=True)
class CohortOptions:
    """Options that decide the outputs of all cases.

    Attributes:
        model: Name of a bundled model, or folder of a model.
        modality: One of `job.MODALITIES`, for cases without one in the table.
        quality: One of `job.QUALITIES`.
        precision: One of `job.PRECISIONS`.
        measurements: Whether to measure.
        also: Further outputs, of `job.COHORT_EXTRAS`.
        keep_pieces: As in `job.SegmentJob`.
        fine_slices: As in `job.SegmentJob`.
    """

    model: str = DEFAULT
    modality: str = "auto"
    quality: str = "standard"
    precision: str = "auto"
    measurements: bool = True
    also: tuple[str, ...] = ()
    keep_pieces: bool = False
    fine_slices: bool = False

    def modality_of(self, case: FoundCase) -> str:
        """Return the modality of a case: its own, or that of all."""
        return self.modality if case.modality == "auto" else case.modality


class CaseStates:
    """Compares records of cases with their inputs, the model and the options.

    Args:
        out: Output folder.
        options: Options of the cohort.
        retry_failed: Whether a case that failed before is to do again, whatever the reason.

    Raises:
        UserError: If the model is missing or damaged.
    """

    def __init__(self, out: Path, options: CohortOptions, *, retry_failed: bool = False):
        self._cases = out / CASES
        self._options = options
        self._retry_failed = retry_failed
        folders = {find_model_for(options.model, modality) for modality in ("ct", "mr")}
        for folder in folders:
            read_card(folder)
        cards = [(folder / CARD).read_bytes() for folder in sorted(folders)]
        self._model_sha256 = sha256(b"".join(cards))

    def folder(self, case: FoundCase) -> Path:
        """Return the folder of a case."""
        return self._cases / case.name

    def record(self, case: FoundCase) -> CaseRecord | None:
        """Return the record of a case; None if there is none that can be read."""
        try:
            return read_record(self.folder(case))
        except UserError:
            return None

    def whole_record(self, case: FoundCase) -> CaseRecord | None:
        """Return the record of a case that failed or has all of its files; None otherwise."""
        record = self.record(case)
        return record if record and is_complete(record, self.folder(case)) else None

    def identify(self, case: FoundCase) -> tuple[Fingerprint, str]:
        """Return the fingerprint of a case, and the stamp of its input.

        Files whose names, sizes and times are those of the record are not read again.
        """
        stamp, record = stamp_of(case.files), self.record(case)
        if record is not None and stamp and record.input_stamp == stamp:
            digest = record.fingerprint.input_sha256
        else:
            digest = hash_of(case.files)
        options = asdict(self._options) | {
            "modality": self._options.modality_of(case),
            "model": "",  # its hash counts, not its place
            "version": __version__,
        }
        # Without these options, results of earlier versions stay valid.
        options = {k: v for k, v in options.items() if v or k not in ("keep_pieces", "fine_slices")}
        if case.levels_from is not None:
            options["levels_from"] = hash_of(files_with_levels(case.levels_from))
        text = json.dumps(options, sort_keys=True)
        return Fingerprint(digest, self._model_sha256, sha256(text.encode())), stamp

    def known_state(self, case: FoundCase) -> State:
        """Return what remains to do for a case; an input without a record is not read.

        Raises:
            UserError: If the place of the case has something else (OUTPUT_BAD).
        """
        folder = self.folder(case)
        if folder.exists() and not (folder / RECORD_NAME).exists():
            raise exists_error([folder])
        if not folder.exists():
            return State.TO_DO
        return self.state(case, self.identify(case)[0])

    def state(self, case: FoundCase, fingerprint: Fingerprint) -> State:
        """Return what remains to do for a case, given its fingerprint."""
        record = self.record(case)
        if record is None:
            # A record that cannot be read is damaged or of another version.
            return State.CHANGED if self.folder(case).exists() else State.TO_DO
        if record.fingerprint != fingerprint:
            return State.CHANGED if record.state == DONE else State.TO_DO
        if record.state == DONE:
            return State.DONE if is_complete(record, self.folder(case)) else State.TO_DO
        lasting = record.failure.code in LASTING
        return State.FAILED if lasting and not self._retry_failed else State.TO_DO


def is_complete(record: CaseRecord, folder: Path) -> bool:
    """Return whether all files of a record exist with their sizes."""
    try:
        return all((folder / f.name).stat().st_size == f.bytes for f in record.files.values())
    except OSError:
        return False


def stamp_of(files: Iterable[Path]) -> str:
    """Return a hash of names, sizes and times of files; empty if one cannot be found."""
    try:
        stats = [(path.name, s.st_size, s.st_mtime_ns) for path in files for s in [path.stat()]]
    except OSError:
        return ""
    return sha256(json.dumps(sorted(stats)).encode("utf-8", "surrogatepass"))


def hash_of(files: Iterable[Path]) -> str:
    """Return the SHA-256 of a file, or of the hashes of several files in any order.

    An input that cannot be read has a hash too, because the worker finds out why.
    """
    try:
        digests = sorted(_hash_of_file(path) for path in files)
    except OSError:
        return _UNREADABLE
    return digests[0] if len(digests) == 1 else sha256("".join(digests).encode())


def _hash_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
