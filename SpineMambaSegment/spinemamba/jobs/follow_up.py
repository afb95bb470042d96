"""Compare two results of a patient: read files, match levels, measure, write JSON, CSV and page."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from spinemamba import __version__
from spinemamba.anatomy.label_schemes import VERSE
from spinemamba.common.atomic_files import all_or_none, check_place
from spinemamba.common.progress import MEASURE, ignore
from spinemamba.common.progress import Progress as StageProgress
from spinemamba.export.run_files import find_files
from spinemamba.jobs.measure import MeasuredCase, Sources, measure_labels
from spinemamba.jobs.outputs import refuse_overwriting_inputs
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.measure.calibration import read_line
from spinemamba.measure.follow_up.comparison import differences
from spinemamba.measure.follow_up.matching import Matching, match_levels, with_moved_names
from spinemamba.measure.follow_up.record import FOLLOW_UP, Change, FollowUp
from spinemamba.measure.spine import Progress
from spinemamba.protocol.job import FollowUpJob
from spinemamba.protocol.measurements import Measurements

_DENSITIES = ("trabecular_hu", "trabecular_mg_ml")
_SCANNERS = (
    "Densities depend on scanner, voltage, reconstruction and contrast medium: compare them only "
    "if these are the same."
)
_POSITION = (
    "Angles and slips depend on the position of the patient: lying and standing images differ."
)


@dataclass(frozen=True)
class Compared:
    """A follow-up with the measurements behind it.

    Attributes:
        follow_up: Content of the file.
        before: The first result, with the names of the second one.
        after: The second result.
    """

    follow_up: FollowUp
    before: MeasuredCase
    after: MeasuredCase


def compare_results(before: Sources, after: Sources, progress: Progress) -> Compared:
    """Match the levels of two results by shape, measure both and compare.

    Args:
        before: Files of the first scan.
        after: Files of the second scan.
        progress: As for `measure.spine`.

    Raises:
        UserError: If an input cannot be read, or has no vertebra.
    """
    old, new = (read_vertebra_labels(s.labels, s.numbering) for s in (before, after))
    matching = match_levels(old.volume, new.volume)
    if matching.shift:
        old = replace(old, volume=with_moved_names(old.volume, matching.shift))
        before = replace(before, run=None)
    first = measure_labels(before, old, progress)
    second = measure_labels(after, new, progress)
    return Compared(_follow_up(first, second, matching), first, second)


def _follow_up(before: MeasuredCase, after: MeasuredCase, matching: Matching) -> FollowUp:
    changes = tuple(_changes(before.measured, after.measured))
    alerts = [matching.doubt] if matching.doubt else []
    if shift := matching.shift:
        way = "down" if shift > 0 else "up"
        alerts.append(
            f"By shape, the names of the first result are {abs(shift)} off: they were moved {way} "
            "to those of the second result. Check which names are right."
        )
    for which, case in (("First", before), ("Second", after)):
        alerts += [f"{which} result: {alert}" for alert in case.measured.alerts]
    notes = [_POSITION]
    if any(change.quantity in _DENSITIES for change in changes):
        notes.append(_SCANNERS)
    return FollowUp(
        __version__, matching.shift, changes, matching.matches, tuple(alerts), tuple(notes)
    )


def _changes(before: Measurements, after: Measurements) -> Iterator[Change]:
    for found in differences(before, after):
        yield Change(
            kind=found.kind,
            name=found.name,
            view=found.view,
            quantity=found.key,
            unit=found.quantity.unit,
            before=found.before,
            after=found.after,
            change=found.change,
            uncertainty=found.uncertainty,
            beyond=found.is_beyond,
        )


def run_follow_up(job: FollowUpJob, progress: StageProgress = ignore) -> None:
    """Compare, and write follow_up.json and the page, or neither.

    Args:
        job: Input and output files.
        progress: Called often; may stop the work by raising `Cancelled`.

    Raises:
        UserError: If an input is not usable, or an output cannot be written.
    """
    from spinemamba.report.follow_up_page import write_page

    refuse_overwriting_inputs(job)
    for path in job.outputs:
        check_place(path, overwrite=job.overwrite)
    progress(MEASURE, 0.0)
    calibration, done = read_line(job.calibration), [0.0, 0.0]

    def report(name: str, fraction: float) -> None:
        # Both results are measured, one after the other.
        done[0] += done[1] if fraction < done[1] else 0.0
        done[1] = fraction
        progress(MEASURE, min(1.0, (done[0] + fraction) / 2))

    # The panel writes label images with VerSe's values.
    own = {"corrected": True, "numbering": VERSE, "calibration": calibration}
    after = Sources(job.input, job.image, run=job.run, **own)
    if job.foreign:
        files = find_files(job.before)
        before = Sources(files.labels, job.before_image, run=files.result, calibration=calibration)
    else:
        before = Sources(job.before, job.before_image, run=job.before_run, **own)
    compared = compare_results(before, after, report)
    with all_or_none(job.outputs, overwrite=job.overwrite) as partial:
        FOLLOW_UP.write(compared.follow_up, partial[job.output])
        if job.page is not None:
            write_page(compared.follow_up, partial[job.page], "")
    progress(MEASURE, 1.0)


def write_follow_up(compared: Compared, paths: tuple[Path, Path, Path], title: str = "") -> None:
    """Write JSON, CSV and the page, all or none; existing files are replaced.

    Args:
        compared: The comparison.
        paths: Files to write: JSON, CSV, HTML.
        title: Heading of the page; no name is taken from a file.

    Raises:
        UserError: As `all_or_none`.
    """
    from spinemamba.report.follow_up_page import write_page

    data, table, page = paths
    with all_or_none(list(paths), overwrite=True) as partial:
        FOLLOW_UP.write(compared.follow_up, partial[data])
        _write_csv(compared.follow_up, partial[table])
        write_page(compared.follow_up, partial[page], title)


def _write_csv(follow_up: FollowUp, path: Path) -> None:
    columns = tuple(Change.__dataclass_fields__)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for change in follow_up.changes:
            values = (getattr(change, name) for name in columns)
            writer.writerow([f"{v:.3f}" if isinstance(v, float) else v for v in values])
