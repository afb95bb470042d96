"""One measuring from file to file: what the worker and the shell both do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from spinemamba.anatomy.label_schemes import VERSE, Numbering
from spinemamba.common.atomic_files import all_or_none, check_place
from spinemamba.common.errors import UserError
from spinemamba.common.progress import MEASURE, ignore
from spinemamba.common.progress import Progress as StageProgress
from spinemamba.findings.build_result import level_warning
from spinemamba.imaging.intensity import choose_modality
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.truncation import without_padding
from spinemamba.imaging.volume import Volume
from spinemamba.jobs.outputs import spare_inputs
from spinemamba.labelmaps.is_labelmap import check_image
from spinemamba.labelmaps.read import LabelledSpine, read_vertebra_labels
from spinemamba.labelmaps.same_run import cuts_by_place, why_other
from spinemamba.measure.spine import Progress, measure_standing
from spinemamba.measure.stance import Stance
from spinemamba.measure.tables import write_json
from spinemamba.protocol.job import MeasureJob
from spinemamba.protocol.measurements import Measurements
from spinemamba.protocol.result import Result, read_result
from spinemamba.report.case_page import write_page

MEASURED = 0.8
"""Share of the work that is done when the numbers are there, and the page is still to draw."""

UNVERIFIED = "Levels not verified"


@dataclass(frozen=True)
class Sources:
    """The files that are read.

    Attributes:
        labels: Label image.
        image: What was segmented, with the same voxels; None for none.
        modality: One of `job.MODALITIES`, of the image.
        run: result.json of the run that made the labels; None if none is known.
        named: Whether the user named the result; one that was found is left if it does not fit.
        corrected: Whether the result is known to be that of the labels before a person's changes.
        numbering: What the values of a label image mean; None to judge by anatomy.
    """

    labels: Path
    image: Path | None = None
    modality: str = "auto"
    run: Path | None = None
    named: bool = False
    corrected: bool = False
    numbering: Numbering | None = None


@dataclass(frozen=True)
class Study:
    """What was measured, and of what; image and result are None if there is none."""

    measured: Measurements
    labels: Volume
    image: Volume | None
    result: Result | None
    stance: Stance


def study(sources: Sources, progress: Progress) -> Study:
    """Read files and measure.

    Args:
        sources: What is read.
        progress: As for `spine.measure`.

    Raises:
        UserError: For everything that the user can put right.
    """
    spine = read_vertebra_labels(sources.labels, sources.numbering)
    labels = spine.volume
    image = read_volume(sources.image) if sources.image else None
    result, alerts = _result_of(sources, spine)
    modality, notes = "", list(spine.notes)
    if image is not None:
        check_image(image, sources.image.name)
        known = replace(
            without_padding(image), modality=result.modality if result else image.modality
        )
        modality = choose_modality(known, sources.modality, notes.append)
    cuts = {} if result is None else cuts_by_place(result, labels)
    measured, stance = measure_standing(labels, image, modality, progress, cuts)
    measured = replace(
        measured, alerts=(*alerts, *measured.alerts), notes=(*measured.notes, *notes)
    )
    return Study(measured, labels, image, result, stance)


def write_study_page(done: Study, path: Path, title: str = "") -> None:
    """Write the report; a spine that lies in its header is shown as it stands."""
    image, labels = (
        None if volume is None else canonical(done.stance.stand(volume))[0]
        for volume in (done.image, done.labels)
    )
    measured = replace(done.measured, items=tuple(map(done.stance.upright, done.measured.items)))
    write_page(measured, (image, labels), done.result, path, title)


def run_measure(job: MeasureJob, progress: StageProgress = ignore) -> None:
    """Measure and write; all files or none.

    Args:
        job: What is read, and where it goes.
        progress: Called often; may stop the work by raising `Cancelled`.

    Raises:
        UserError: For everything that the user can put right.
    """
    spare_inputs(job)
    for path in job.outputs:
        check_place(path, overwrite=job.overwrite)
    progress(MEASURE, 0.0)
    share = MEASURED if job.page else 1.0

    def tell(name: str, fraction: float) -> None:
        progress(MEASURE, share * fraction)

    # The panel writes label images by the names of its segments.
    sources = Sources(job.input, job.image, job.modality, job.run, corrected=True, numbering=VERSE)
    done = study(sources, tell)
    with all_or_none(job.outputs, overwrite=job.overwrite) as partial:
        write_json(done.measured, partial[job.output])
        if job.page:
            write_study_page(done, partial[job.page])
    progress(MEASURE, 1.0)


def _result_of(sources: Sources, spine: LabelledSpine) -> tuple[Result | None, list[str]]:
    """Return the result of the run that made the labels, and what it says of their levels.

    Raises:
        UserError: If the user named a result that is not that of the labels.
    """
    if sources.run is None:
        return None, [f"{UNVERIFIED}: no result of a run is known for these labels."]
    name = sources.run.name
    try:
        result = read_result(sources.run)
    except UserError as error:
        if sources.named:
            raise
        return None, [f"{UNVERIFIED}: {error.message}"]
    if why := why_other(result, spine.volume, corrected=sources.corrected):
        if sources.named:
            raise UserError(
                f"{name} is not the result of these labels: {why}.",
                "Give the result.json that was written with them, or leave it out.",
            )
        said = [f"{UNVERIFIED}: {name} is not the result of these labels ({why})."]
        return None, said + ([level_warning(result.labelings)] if result.ambiguous else [])
    return result, [level_warning(result.labelings)] if result.ambiguous else []
