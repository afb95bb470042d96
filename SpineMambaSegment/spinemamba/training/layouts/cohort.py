"""The output folder of a cohort: the cases that a reader has approved in the triage."""

from __future__ import annotations

from pathlib import Path

from spinemamba.common.errors import UserError
from spinemamba.protocol.cohort import CASES, RECORD_NAME, CaseRecord, read_record
from spinemamba.training.layouts.bids import subject_in
from spinemamba.training.layouts.user_case import UserCase, UserDataset

_TRANSLATION = (("names of the segments", "levels, as the reader has approved them"),)


def matches(folder: Path) -> bool:
    """Return whether a folder is the output of ``spinemamba cohort``."""
    return any((folder / CASES).glob(f"*/{RECORD_NAME}"))


def read(folder: Path, ignore: tuple[str, ...]) -> UserDataset:
    """Return the data set in a folder; see `find.find_dataset`.

    Raises:
        UserError: If no case is approved, or the image of one is missing.
    """
    places = sorted(path.parent for path in (folder / CASES).glob(f"*/{RECORD_NAME}"))
    records = [(place, record) for place in places if (record := _record(place)) is not None]
    approved = [(place, record) for place, record in records if record.is_approved]
    if not approved:
        raise UserError(
            f"No case of {folder} is approved.",
            "Approve cases in the triage page, and run spinemamba apply-review.",
        )
    missing = [record.case for _, record in approved if not Path(record.image).is_file()]
    if missing:
        raise UserError(
            f"The images of {len(missing)} approved cases are missing: {', '.join(missing[:6])}.",
            "Put them back to where the cohort has read them.",
        )
    cases = [
        UserCase(
            record.case,
            Path(record.image),
            place / record.files["labels"].name,
            None,
            modality="mr" if record.summary.modality == "mr" else "ct",
            patient=subject_in(record.case, record.input),
        )
        for place, record in approved
    ]
    note = f"{len(cases)} of {len(records)} cases are approved; the others are not used."
    return UserDataset("cohort of SpineMamba Segment", tuple(cases), _TRANSLATION, (note,))


def _record(folder: Path) -> CaseRecord | None:
    try:
        return read_record(folder)
    except UserError:
        return None
