"""Apply the decision of a reader to the files of a case.

The rules are those of the review in Slicer: an approved vertebra keeps its level, the level solver
names the vertebrae with the levels of the reader fixed, and every step is logged.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spinemamba.anatomy.label_schemes import VERSE
from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.anatomy.terminology import SegmentInfo
from spinemamba.common.errors import UserError
from spinemamba.common.folders import replace_folder
from spinemamba.common.scratch import scratch
from spinemamba.editing.relabel import new_values, relabel
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.imaging.volume import Volume
from spinemamba.jobs.cohort_case import EXTRA_ROLES, NO_SURFACE, listed
from spinemamba.jobs.reviewed_files import keep_other_files, mark_surfaces, renamed_case
from spinemamba.jobs.segment import segments_of
from spinemamba.labelmaps.read import LabelledSpine, read_vertebra_labels, remap_values
from spinemamba.labelmaps.same_run import check_same_run
from spinemamba.protocol.cohort import CaseRecord, CaseReview, CaseSummary
from spinemamba.protocol.job import STL
from spinemamba.protocol.level_doubt import changes_with_levels
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
_NOT_RENAMED = "Not of this cohort, and perhaps with the earlier names: "
_OLD_NAMES = (_NOT_RENAMED, NO_SURFACE)
"""Beginnings of warnings that a renaming makes again."""

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


@dataclass(frozen=True)
class Applied:
    """A case after its review.

    Attributes:
        record: Its new record.
        lost: Outputs that could not be made again, with the reasons.
        kept: Files that are not of the cohort, and may have the earlier names of a renamed case.
    """

    record: CaseRecord
    lost: Mapping[str, str]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class _New:
    """What the new folder of a case has.

    Attributes:
        files: Files by role.
        missing: Outputs that could not be made, with the reasons.
        warnings: Warnings for the record.
        kept: As in `Applied`.
    """

    files: Mapping[str, Path]
    missing: Mapping[str, str]
    warnings: tuple[str, ...]
    kept: tuple[str, ...] = ()


def apply_decision(case: ReviewedCase) -> Applied:
    """Replace the folder of a case by one with the decision; return what became of it.

    Raises:
        UserError: If the labels were changed since the run, an approved vertebra would get another
            level, no spine can have these levels, or a file cannot be read or written.
    """
    record = case.record
    before = read_result(case.folder / record.files["result"].name)
    # Runs write VerSe's label values.
    spine = read_vertebra_labels(case.folder / record.files["labels"].name, VERSE)
    check_same_run(spine, before)
    after = _named(before, spine, case.decision)
    value_of = new_values(before, after)
    labels = spine.volume.with_array(remap_values(spine.volume.array, value_of))
    segments = _segments(spine, (before, after), case)
    with scratch(case.folder.parent) as hidden:
        new = hidden / case.folder.name
        write = _write_same if after == before else _write_renamed
        made = write(case, (labels, after), segments, new)
        files = {**made.files, "review": new / f"{record.case}{REVIEW_END}"}
        _write_log(case, (before, after), files["review"])
        record = replace(
            record,
            summary=CaseSummary.of(after),
            files=listed(files, new),
            missing=dict(made.missing),
            warnings=made.warnings,
            review=case.review,
        )
        record.write(new)
        replace_folder(new, case.folder, hidden)
    lost = {role: why for role, why in made.missing.items() if role in case.record.files}
    return Applied(record, lost, made.kept)


def _write_same(
    case: ReviewedCase, found: tuple[Volume, Result], segments: list[SegmentInfo], new: Path
) -> _New:
    """Copy a case whose levels stay; write the status of its vertebrae."""
    shutil.copytree(case.folder, new, symlinks=True)
    files = {role: new / file.name for role, file in case.record.files.items()}
    write_labels(found[0], files["labels"], segments)
    if EXTRA_ROLES[STL] in files:
        mark_surfaces(files[EXTRA_ROLES[STL]], segments)
    return _New(files, case.record.missing, case.record.warnings)


def _write_renamed(
    case: ReviewedCase, found: tuple[Volume, Result], segments: list[SegmentInfo], new: Path
) -> _New:
    """Write all files of a case again."""
    again = renamed_case(case.folder, case.record, found, segments)
    new.mkdir()
    files = again.write_files(new)
    kept = keep_other_files(case.folder, case.record, new)
    earlier = [text for text in case.record.warnings if not text.startswith(_OLD_NAMES)]
    warnings = [text for text in earlier if not changes_with_levels(text)]
    warnings += [text for text in found[1].warnings if changes_with_levels(text)]
    warnings += again.warnings
    if kept:
        warnings.append(f"{_NOT_RENAMED}{', '.join(kept)}.")
    return _New(files, again.missing, tuple(dict.fromkeys(warnings)), kept)


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
