"""Apply the decision of a reader to the files of a case.

The rules are those of the review in Slicer: an approved vertebra keeps its level, the level solver
names the vertebrae with the levels of the reader fixed, and every step is logged.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

from spinemamba.anatomy.label_schemes import VERSE
from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.anatomy.terminology import SegmentInfo
from spinemamba.common.errors import UserError
from spinemamba.common.folders import replace_folder
from spinemamba.common.progress import ignore
from spinemamba.common.scratch import scratch
from spinemamba.editing.relabel import new_values, relabel
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.imaging.volume import Volume
from spinemamba.jobs.cohort_case import CohortCase, listed
from spinemamba.jobs.segment import read_input, segments_of
from spinemamba.labelmaps.read import LabelledSpine, read_vertebra_labels, remap_values
from spinemamba.labelmaps.same_run import check_same_run
from spinemamba.protocol.cohort import CaseRecord, CaseReview, CaseSummary
from spinemamba.protocol.job import DICOM_SEG, CohortJob
from spinemamba.protocol.level_doubt import is_level_warning
from spinemamba.protocol.result import Result, read_result
from spinemamba.protocol.review import (
    APPROVED,
    AT_TAG,
    BY_HAND,
    BY_TAG,
    FLAGGED,
    INSTANCE_TAG,
    NAMED_TAG,
    OPEN,
    REVIEW,
    REVIEW_END,
    STATUS_TAG,
    STATUS_TEXT,
    Decision,
    LogEntry,
    LoggedChange,
    Review,
)

_ENTRY_TAG = "TerminologyEntry"
_TITLES = {APPROVED: "Approve", FLAGGED: "Flag", OPEN: "Withdraw the status"}


@dataclass(frozen=True)
class ReviewedCase:
    """A case and the decision about it.

    Attributes:
        folder: Folder of the case.
        record: Its record.
        decision: What the reader decided.
        review: The same, as the record stores it.
    """

    folder: Path
    record: CaseRecord
    decision: Decision
    review: CaseReview


def apply_decision(case: ReviewedCase) -> CaseRecord:
    """Replace the folder of a case by one with the decision; return its new record.

    Raises:
        UserError: If the labels were changed since the run, an approved vertebra would get another
            level, no spine can have these levels, or a file cannot be read or written.
    """
    files = {role: case.folder / file.name for role, file in case.record.files.items()}
    before = read_result(files["result"])
    spine = read_vertebra_labels(files["labels"], VERSE)  # runs write VerSe's label values
    check_same_run(spine, before)
    after = _named(before, spine, case.decision)
    value_of = new_values(before, after)
    labels = spine.volume.with_array(remap_values(spine.volume.array, value_of))
    infos = _segments(spine, (before, after), case)
    with scratch(case.folder.parent) as hidden:
        new = hidden / case.folder.name
        if after == before:
            shutil.copytree(case.folder, new)
            written, missing = {}, case.record.missing
        else:
            new.mkdir()
            written, missing = _write_renamed(case, labels, after, new)
        paths = {role: new / path.relative_to(case.folder) for role, path in files.items()}
        paths |= written
        write_labels(labels, paths["labels"], infos)
        paths["review"] = new / f"{case.record.case}{REVIEW_END}"
        _write_log(case, (before, after), paths["review"])
        record = replace(
            case.record,
            summary=CaseSummary.of(after),
            files=listed({r: p for r, p in paths.items() if r not in missing}, new),
            missing=missing,
            warnings=_warnings(case.record, after),
            review=case.review,
        )
        record.write(new)
        replace_folder(new, case.folder, hidden)
    return record


def _named(before: Result, spine: LabelledSpine, decision: Decision) -> Result:
    """Return the result with the levels of the reader.

    Raises:
        UserError: If a vertebra is another one than the reader saw, is approved, or no spine can
            have these levels.
    """
    if not decision.levels:
        return before
    known = {item.id: item.name for item in before.instances}
    approved = {
        label.level.name
        for label in spine.file.vertebrae
        if label.segment.tags.get(STATUS_TAG) == STATUS_TEXT[APPROVED]
    }
    names = dict(known)
    for level in decision.levels:
        if known.get(level.id) != level.before:
            raise UserError(
                f"Vertebra {level.id} is not {level.before} any more.", "Make the page again."
            )
        if level.before in approved:
            raise UserError(
                f"{level.before} is approved and cannot be changed.",
                "Withdraw the approval first, and apply that review.",
            )
        names[level.id] = level.after
    # The reader saw all names: none may change without being seen.
    return relabel(before, names)


def _segments(
    spine: LabelledSpine, results: tuple[Result, Result], case: ReviewedCase
) -> list[SegmentInfo]:
    """Return the segments with new levels, status, reviewer and time; other tags stay."""
    before, after = results
    old = {label.level.value: label.segment.tags for label in spine.file.vertebrae}
    status, review = STATUS_TEXT[case.decision.status], case.review
    infos = []
    for info, item in zip(segments_of(after), after.instances, strict=True):
        was = next(other for other in before.instances if other.id == item.id)
        tags = {**old.get(was.label, {}), **info.tags, INSTANCE_TAG: str(item.id)}
        tags |= {STATUS_TAG: status, BY_TAG: review.reviewer if status else ""}
        tags |= {AT_TAG: review.time if status else ""}
        if was.name != item.name:
            tags[NAMED_TAG] = BY_HAND
        kept = {name: text for name, text in tags.items() if text and name != _ENTRY_TAG}
        infos.append(replace(info, tags=kept))
    return infos


def _write_renamed(
    case: ReviewedCase, labels: Volume, result: Result, folder: Path
) -> tuple[dict[str, Path], dict[str, str]]:
    """Write all files of a case again; return their paths, and outputs that could not be made."""
    record = case.record
    extras = {"surfaces": "stl", "dicom_seg": DICOM_SEG}
    job = CohortJob(
        Path(record.image),
        case.folder,
        case=record.case,
        source=record.input,
        fingerprint=record.fingerprint,
        modality=result.modality,
        measurements="measurements" in record.files,
        also=tuple(word for role, word in extras.items() if role in record.files),
    )
    image = read_input(job.segment_job(folder), ignore, lambda text: None)
    again = CohortCase.of(job, image, SimpleNamespace(labels=labels, result=result))
    written = again.write_files(folder)
    return written, again.missing


def _warnings(record: CaseRecord, result: Result) -> tuple[str, ...]:
    """Return the warnings of a case; those about levels are of the new result."""
    kept = [text for text in record.warnings if not is_level_warning(text)]
    about = [text for text in result.warnings if is_level_warning(text)]
    return (*kept, *about)


def _write_log(case: ReviewedCase, results: tuple[Result, Result], path: Path) -> None:
    """Write the review of the case, with the steps of earlier reviews."""
    earlier = case.folder / path.name
    log: Sequence[LogEntry] = ()
    fixed: Mapping[str, str] | None = None
    if earlier.exists():
        review = REVIEW.read(earlier)
        log, fixed = review.log or (), review.fixed_levels
    before, after = results
    ids = {item.id: f"V{item.label}" for item in after.instances}
    if before != after:
        fixed = {ids[number]: level for number, level in after.fixed_levels}
    review = Review(after.to_json(), fixed, (*log, *_entries(case, results, ids)))
    path.write_text(REVIEW.to_text(review, indent=1), encoding="utf-8")


def _entries(
    case: ReviewedCase, results: tuple[Result, Result], ids: Mapping[int, str]
) -> list[LogEntry]:
    """Return the steps of the decision: names, status, note."""
    before, after = results
    time, reviewer = case.review.time, case.review.reviewer
    entries = []
    was = {item.id: item.name for item in before.instances}
    status_before = "" if case.record.review is None else STATUS_TEXT[case.record.review.status]

    def change(number: int, name: str, statuses: tuple[str, str]) -> LoggedChange:
        volume = next(item.volume_ml for item in after.instances if item.id == number)
        level = BY_VALUE[next(i.label for i in after.instances if i.id == number)].name
        return LoggedChange(ids[number], name, level, *statuses, volume, volume, 1.0)

    renamed = [item.id for item in after.instances if was[item.id] != item.name]
    if renamed:
        title = f"Use {after.instances[0].name} to {after.instances[-1].name}"
        same = (status_before, status_before)
        changes = tuple(change(number, was[number], same) for number in renamed)
        entries.append(LogEntry(time, title, reviewer, changes))
    if case.decision.status != (case.record.review.status if case.record.review else OPEN):
        title = f"{_TITLES[case.decision.status]} ({len(ids)})"
        both = (status_before, STATUS_TEXT[case.decision.status])
        changes = tuple(change(item.id, item.name, both) for item in after.instances)
        entries.append(LogEntry(time, title, reviewer, changes))
    if case.decision.note:
        entries.append(LogEntry(time, f"Note: {case.decision.note}", reviewer, ()))
    return entries
