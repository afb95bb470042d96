"""Cases that were found, and names for them. Standard library only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from spinemamba.cohort.image_files import stem_of
from spinemamba.common.atomic_files import sha256
from spinemamba.export.names import safe_case

_HASH_DIGITS = 6


@dataclass(frozen=True)
class FoundCase:
    """An image to segment.

    Attributes:
        source: The input as the list shows it: relative to the folder that was searched.
        path: What is read: an image file, or one file of a DICOM series.
        files: All files that decide the image.
        kind: Format, in words.
        modality: One of `job.MODALITIES`.
        name: Name of the case; valid in file names, unique.
        series_uid: SeriesInstanceUID of a DICOM series; empty for other images.
        image_uids: SOPInstanceUIDs of its files.
        levels_from: Another scan of the patient with named vertebrae, as in `job.SegmentJob`.
    """

    source: str
    path: Path
    files: tuple[Path, ...]
    kind: str
    modality: str = "auto"
    name: str = ""
    series_uid: str = ""
    image_uids: frozenset[str] = frozenset()
    levels_from: Path | None = None


@dataclass(frozen=True)
class Skipped:
    """Something that is no case.

    Attributes:
        source: As in `FoundCase`.
        reason: Why, in words.
    """

    source: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """What was found.

    Attributes:
        cases: Cases in the order of their names.
        skipped: What was left out, with reasons.
    """

    cases: tuple[FoundCase, ...]
    skipped: tuple[Skipped, ...] = ()

    def part(self, number: int, count: int) -> Listing:
        """Return every n-th case: part ``number``, from 1, of ``count`` parts."""
        return replace(self, cases=self.cases[number - 1 :: count])


def named(cases: Iterable[FoundCase]) -> tuple[FoundCase, ...]:
    """Return cases with unique names, sorted.

    The name is the path of the source with ``_`` for ``/`` and without the format; a BIDS name
    (``sub-...``) stands alone. Names do not depend on other cases, except that cases of equal names
    get a hash of their source.
    """
    cases = [case if case.name else replace(case, name=_name(case.source)) for case in cases]
    counts = Counter(case.name.lower() for case in cases)
    unique = (
        case if counts[case.name.lower()] == 1 else replace(case, name=_with_hash(case))
        for case in cases
    )
    return tuple(sorted(unique, key=lambda case: case.name))


def _name(source: str) -> str:
    path = PurePath(source)
    parts = [part for part in path.parent.parts if part not in ("/", "..", ".")]
    stem = stem_of(path) or path.name
    return safe_case(stem if stem.startswith("sub-") else "_".join([*parts, stem]))


def _with_hash(case: FoundCase) -> str:
    digest = sha256(case.source.encode("utf-8", "surrogatepass"))[:_HASH_DIGITS]
    return f"{case.name}-{digest}"


def counted(kinds: Sequence[str]) -> str:
    """Return kinds with their counts, most frequent first, such as "3 NIfTI, 1 NRRD"."""
    return ", ".join(f"{count} {kind}" for kind, count in Counter(kinds).most_common())
