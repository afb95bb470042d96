"""Files of a reviewed case: written again with new levels, or copied with a new status.

Files that the cohort has not written, such as notes of a user, are kept. After a renaming they may
have the earlier names, which a warning says.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from spinemamba.anatomy.terminology import SegmentInfo
from spinemamba.common.errors import Code, UserError
from spinemamba.common.progress import ignore
from spinemamba.imaging.volume import Volume
from spinemamba.jobs.cohort_case import EXTRA_ROLES, MEASUREMENTS, CohortCase
from spinemamba.jobs.segment import read_input
from spinemamba.protocol.cohort import RECORD_NAME, CaseRecord
from spinemamba.protocol.job import STL, CohortJob
from spinemamba.protocol.manifest import CSV, JSON, read_manifest
from spinemamba.protocol.result import Result
from spinemamba.protocol.review import APPROVED, BY_TAG, STATUS_TAG, STATUS_TEXT

if TYPE_CHECKING:
    from spinemamba.segment import Segmentation


def renamed_case(
    folder: Path,
    record: CaseRecord,
    found: tuple[Volume, Result],
    segments: Sequence[SegmentInfo],
) -> CohortCase:
    """Return a case whose files can be written again.

    Args:
        folder: Folder of the case.
        record: Its record.
        found: Labels and result with the new levels.
        segments: Metadata of the new segments.

    Raises:
        UserError: If the image cannot be read, or the labels are not on its grid.
    """
    labels, result = found
    wanted = {*record.files, *record.missing}
    job = CohortJob(
        Path(record.image),
        folder,
        case=record.case,
        source=record.input,
        fingerprint=record.fingerprint,
        modality=result.modality,
        measurements=MEASUREMENTS in wanted,
        also=tuple(word for word, role in EXTRA_ROLES.items() if role in wanted),
    )
    done: Segmentation = SimpleNamespace(labels=labels, result=result)
    return CohortCase.of(job, _image_of(job, labels), done, segments)


def _image_of(job: CohortJob, labels: Volume) -> Volume:
    """Return the image on the grid of the labels, which is finer with --fine-slices.

    Raises:
        UserError: If the image cannot be read, or has another grid.
    """
    difference = ""
    for fine_slices in (False, True):
        options = replace(job.segment_job(job.output), fine_slices=fine_slices)
        image = read_input(options, ignore, lambda text: None)
        difference = image.geometry.difference(labels.geometry)
        if not difference:
            return image
    raise UserError(
        f"Labels and image have different grids: {difference}.",
        "Run the cohort again, and read the case again.",
        Code.INPUT_BAD,
    )


def keep_other_files(folder: Path, record: CaseRecord, new: Path) -> tuple[str, ...]:
    """Copy files that the cohort has not written into the new folder of a case; return their names.

    Args:
        folder: Folder of the case.
        record: Its record.
        new: The new folder, with all files that were written again.

    Raises:
        UserError: If the manifest of the surfaces is damaged.
    """
    ours = {RECORD_NAME, *(file.name for file in record.files.values())}
    ours |= set(_surface_files(folder, record))
    kept = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name in ours or (path.is_dir() and not path.is_symlink()) or (new / name).exists():
            continue
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, new / name, follow_symlinks=False)
        kept.append(name)
    return tuple(kept)


def _surface_files(folder: Path, record: CaseRecord) -> Iterator[str]:
    """Yield the files that the cohort has written into the folder of the surfaces."""
    if (listed := record.files.get(EXTRA_ROLES[STL])) is None:
        return
    surfaces = Path(listed.name).parent
    manifest = read_manifest(folder / surfaces)
    names = [f.name for v in manifest.vertebrae for f in v.files if f.format == STL]
    for name in (JSON, CSV, *names):
        yield (surfaces / name).as_posix()


def mark_surfaces(manifest_path: Path, segments: Sequence[SegmentInfo]) -> None:
    """Write the status of the vertebrae into the manifest of their surfaces; not atomic.

    Raises:
        UserError: If the manifest is damaged.
    """
    manifest = read_manifest(manifest_path.parent)
    tags = {segment.name: segment.tags for segment in segments}
    entries = tuple(
        replace(
            entry,
            reviewed=tags[entry.level].get(STATUS_TAG) == STATUS_TEXT[APPROVED],
            reviewed_by=tags[entry.level].get(BY_TAG, ""),
        )
        if entry.level in tags
        else entry
        for entry in manifest.vertebrae
    )
    for name, data in replace(manifest, vertebrae=entries).contents().items():
        (manifest_path.parent / name).write_bytes(data)
