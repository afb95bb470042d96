"""Divide the vertebrae of a label image into parts: read files, divide, write a label image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spinemamba.anatomy.label_schemes import VERSE
from spinemamba.anatomy.labels import ORDER
from spinemamba.common.progress import MEASURE, ignore
from spinemamba.common.progress import Progress as StageProgress
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.imaging.write import check_output
from spinemamba.jobs.measure import Sources, result_of
from spinemamba.jobs.outputs import refuse_overwriting_inputs
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.labelmaps.same_run import cuts_by_place
from spinemamba.measure.spine import Progress
from spinemamba.parts.spine import SpineParts, divide_spine
from spinemamba.protocol.job import PartsJob

_DIVIDED = 0.95
"""Progress after dividing, before the file is written."""


@dataclass(frozen=True)
class DividedCase:
    """The parts of a spine, and messages to the user.

    Attributes:
        parts: The parts.
        notes: How the file was read, and doubts about the levels.
    """

    parts: SpineParts
    notes: tuple[str, ...]


def divide_file(sources: Sources, progress: Progress = ignore) -> DividedCase:
    """Read a label image and divide its vertebrae into parts.

    Args:
        sources: The label image, and the result of the run that made it; an image is not used.
        progress: As for `parts.spine.divide_spine`.

    Raises:
        UserError: If a file cannot be read, or the result does not belong to the labels.
    """
    spine = read_vertebra_labels(sources.labels, sources.numbering)
    result, alerts = result_of(sources, spine)
    cuts = {} if result is None else cuts_by_place(result, spine.volume)
    parts = divide_spine(spine.volume, cuts, progress)
    return DividedCase(parts, (*alerts, *spine.notes))


def write_parts(parts: SpineParts, path: Path) -> None:
    """Write a label image of parts. The ending of the name selects the format.

    Raises:
        UserError: If the file cannot be written; no partial file remains.
    """
    write_labels(parts.labels, path, parts.segments())


def run_parts(job: PartsJob, progress: StageProgress = ignore) -> None:
    """Divide the vertebrae of a label image, and write the parts.

    Args:
        job: Input and output files.
        progress: Called often; may stop the work by raising `Cancelled`.

    Raises:
        UserError: If an input is not usable, or the output cannot be written.
    """
    refuse_overwriting_inputs(job)
    check_output(job.output, overwrite=job.overwrite)
    progress(MEASURE, 0.0)
    # The panel writes label images with VerSe's values.
    sources = Sources(job.input, run=job.run, corrected=True, numbering=VERSE)
    done = divide_file(sources, lambda _, share: progress(MEASURE, _DIVIDED * share))
    write_parts(done.parts, job.output)
    progress(MEASURE, 1.0)


def missing_by_reason(parts: SpineParts) -> dict[str, list[str]]:
    """Return the names of missing parts and discs, by reason, from top to bottom."""
    out: dict[str, list[str]] = {}
    for done in sorted(parts.vertebrae, key=lambda v: ORDER[v.vertebra.name]):
        reasons: dict[str, list[str]] = {}
        for part, reason in done.missing.items():
            reasons.setdefault(reason, []).append(part.name)
        for reason, names in reasons.items():
            listed = f" ({', '.join(names)})" if done.is_divided else ""
            out.setdefault(reason, []).append(f"{done.vertebra.name}{listed}")
    for name, reason in parts.missing.items():
        out.setdefault(reason, []).append(f"disc {name}")
    return out
