"""Apply the decisions of a triage to the output folder of a cohort."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from spinemamba.cohort.dicom_series import series_with
from spinemamba.cohort.image_files import files_of, kind_of
from spinemamba.cohort.run import LOCKS
from spinemamba.cohort.state import hash_of, is_complete
from spinemamba.common.atomic_files import sha256
from spinemamba.common.errors import Code, UserError
from spinemamba.common.locks import try_lock
from spinemamba.common.scratch import sweep
from spinemamba.jobs.reviewed_case import Applied, ReviewedCase, apply_decision
from spinemamba.protocol.cohort import CASES, RECORD_NAME, CaseRecord, CaseReview, read_record
from spinemamba.protocol.review import Decision, Triage


@dataclass(frozen=True)
class Outcome:
    """What became of a decision.

    Attributes:
        case: Name of the case.
        text: What was done, or why nothing was.
        is_refused: Whether the decision was refused.
    """

    case: str
    text: str
    is_refused: bool = False


def whole_records(out: Path) -> list[CaseRecord]:
    """Return the records of all cases of an output folder that failed or have all files.

    Raises:
        UserError: If it is not the output folder of a cohort.
    """
    if not (out / CASES).is_dir():
        raise UserError(f"{out} has no folder {CASES}.", "Give the output folder of a cohort.")
    sweep(out / CASES)  # puts back a case that a killed process was replacing
    folders = sorted(path.parent for path in (out / CASES).glob(f"*/{RECORD_NAME}"))
    return [record for folder in folders if (record := _record(folder)) is not None]


def _record(folder: Path) -> CaseRecord | None:
    try:
        record = read_record(folder)
    except UserError:
        return None
    return record if is_complete(record, folder) else None


def apply_review(out: Path, triage: Triage, report: Callable[[Outcome], None]) -> list[Outcome]:
    """Apply all decisions that fit; each case changes as a whole or not at all.

    Args:
        out: Output folder of the cohort.
        triage: The decisions.
        report: Called with the outcome of each decision.

    Raises:
        UserError: If ``out`` is not the output folder of a cohort.
    """
    if not (out / CASES).is_dir():
        raise UserError(f"{out} has no folder {CASES}.", "Give the output folder of a cohort.")
    (out / LOCKS).mkdir(exist_ok=True)
    sweep(out / CASES)  # puts back a case that a killed process was replacing
    outcomes = []
    for decision in triage.decisions:
        try:
            done = Outcome(decision.case, _apply(out, decision, triage.reviewer))
        # One wrong decision must not stop the others.
        except UserError as error:
            done = Outcome(decision.case, f"refused. {error}", is_refused=True)
        outcomes.append(done)
        report(done)
    return outcomes


def _apply(out: Path, decision: Decision, reviewer: str) -> str:
    """Apply a decision; return what was done.

    Raises:
        UserError: If it does not fit the case, or cannot be applied.
    """
    if decision.case not in {path.name for path in (out / CASES).iterdir()}:
        raise UserError("There is no such case.", "Give the folder of the cohort that was read.")
    folder = out / CASES / decision.case
    digest = sha256(json.dumps([reviewer, asdict(decision)], sort_keys=True).encode())
    with try_lock(out / LOCKS / f"{decision.case}.lock", "run with this case"):
        record = read_record(folder)
        if record.review is not None and record.review.decision_sha256 == digest:
            return "applied before"
        _check_result(folder, record, decision)
        if decision.levels:
            _check_image(record)
        review = CaseReview(decision.status, reviewer, decision.time, decision.note, digest)
        applied = apply_decision(ReviewedCase(folder, record, decision, review))
    return "; ".join([", ".join(_words(decision, record.review, reviewer)), *_left(applied)])


def _left(applied: Applied) -> Iterator[str]:
    """Yield which files could not be written with the new levels."""
    for role, reason in applied.lost.items():
        yield f"{role} removed ({reason})"
    if applied.kept:
        yield f"not renamed, because they are not of the cohort: {', '.join(applied.kept)}"


def _words(decision: Decision, before: CaseReview | None, reviewer: str) -> Iterator[str]:
    """Yield what a decision does, and which one of another reader it replaces."""
    if decision.levels:
        first, last = decision.levels[0], decision.levels[-1]
        pairs = [f"{first.before} is {first.after}"]
        pairs += [f"{last.before} is {last.after}"] if last != first else []
        yield f"renamed ({' to '.join(pairs)})"
    yield decision.status or "open"
    if before is not None and before.reviewer != reviewer and before.status != decision.status:
        yield f"instead of {before.status or 'open'} by {before.reviewer or 'no name'}"
    if decision.note:
        yield "noted"


def _check_result(folder: Path, record: CaseRecord, decision: Decision) -> None:
    """Check that a case is whole, and has the result that the reader saw.

    Raises:
        UserError: If not.
    """
    if record.summary is None or not is_complete(record, folder):
        raise UserError("The case has failed, or lacks files.", "Run the cohort again.")
    found = sha256((folder / record.files["result"].name).read_bytes())
    if found != decision.result_sha256:
        raise UserError(
            "The decision is about another result of this case.",
            "Read the case again in the current triage page.",
        )


def _check_image(record: CaseRecord) -> None:
    """Check that the image is the one that was segmented; its pictures are drawn again.

    Raises:
        UserError: If it is missing or differs (INPUT_BAD).
    """
    path = Path(record.image)
    if not record.image or not path.is_file():
        raise UserError(
            f"The image {record.input} is not where the cohort has read it.",
            "Put it back, or run the cohort again with the new place.",
            Code.INPUT_BAD,
        )
    files = files_of(path) if kind_of(path) else series_with(path, record.input).files
    if hash_of(files) != record.fingerprint.input_sha256:
        raise UserError(
            f"The image {record.input} has changed since the run.",
            "Run the cohort again, and read the case again.",
            Code.INPUT_BAD,
        )
