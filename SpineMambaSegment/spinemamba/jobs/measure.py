"""Measure a label image: read files, measure, write JSON, a CSV table and the HTML report."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

from spinemamba.anatomy.label_schemes import VERSE, Numbering
from spinemamba.common.atomic_files import all_or_none, check_place, whole_or_nothing
from spinemamba.common.errors import UserError
from spinemamba.common.json_schema import load
from spinemamba.common.progress import MEASURE, ignore
from spinemamba.common.progress import Progress as StageProgress
from spinemamba.findings.shape_flags import SHAPE_FLAGS
from spinemamba.imaging.intensity import choose_modality
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.imaging.truncation import without_padding
from spinemamba.imaging.volume import Volume
from spinemamba.jobs.outputs import refuse_overwriting_inputs
from spinemamba.labelmaps.is_labelmap import check_image
from spinemamba.labelmaps.read import LabelledSpine, read_vertebra_labels
from spinemamba.labelmaps.same_run import cuts_by_place, why_other
from spinemamba.measure.calibration import Calibration, read_line
from spinemamba.measure.given import NOTHING, Given
from spinemamba.measure.pelvis import NUMBERS, hip_centres
from spinemamba.measure.spine import Progress, measure_with_stance
from spinemamba.measure.stance import Stance
from spinemamba.protocol.job import MeasureJob
from spinemamba.protocol.level_doubt import level_warning
from spinemamba.protocol.measurements import KINDS, Item, Measurements, Vector
from spinemamba.protocol.quantities import of_kind
from spinemamba.protocol.result import Result, read_result
from spinemamba.report.case_page import write_page

_MEASURED = 0.8
"""Progress after measuring, before the report is written."""

_UNVERIFIED = "Levels not verified"

_COLUMNS = (
    "kind",
    "name",
    "view",
    "quantity",
    "value",
    "uncertainty",
    "unit",
    "finding",
    "not_given_because",
)
_COLUMNS += ("how",)
_DIGITS = 3
"""Decimals of the values in the CSV table."""


@dataclass(frozen=True)
class Sources:
    """Input files.

    Attributes:
        labels: Label image.
        image: Segmented image on the same grid, or None.
        modality: Modality of the image, one of `job.MODALITIES`.
        run: result.json of the run that made the labels, or None.
        named: Whether the user gave ``run``: a mismatch is then an error. A file that was found
            beside the labels is ignored if it does not match.
        corrected: Whether the labels are known to be a corrected version of those of the run.
        numbering: Label scheme of the label image; None to recognise it by anatomy.
        calibration: Line from Hounsfield units to densities, or None.
        hips_lps_mm: Centres of both femoral heads; empty if unknown.
        structures: Label image with both femurs and hip bones, which gives these centres; or None.
    """

    labels: Path
    image: Path | None = None
    modality: str = "auto"
    run: Path | None = None
    named: bool = False
    corrected: bool = False
    numbering: Numbering | None = None
    calibration: Calibration | None = None
    hips_lps_mm: tuple[Vector, ...] = ()
    structures: Path | None = None


@dataclass(frozen=True)
class MeasuredCase:
    """Measurements, with the inputs that the report needs.

    Attributes:
        measured: The measurements.
        labels: Label image with VerSe's values.
        image: Segmented image, or None.
        result: Result of the run, or None.
        stance: How the patient lies in the file's coordinates.
    """

    measured: Measurements
    labels: Volume
    image: Volume | None
    result: Result | None
    stance: Stance


@dataclass(frozen=True)
class _Case:
    """What is measured; attributes as in `MeasuredCase` and `Sources`."""

    labels: Volume
    image: Volume | None
    result: Result | None
    modality: str = "auto"
    given: Given = NOTHING


def measure_files(sources: Sources, progress: Progress) -> MeasuredCase:
    """Read the input files and measure.

    Args:
        sources: Input files.
        progress: As for `measure.spine`.

    Raises:
        UserError: If an input cannot be read or does not match the labels.
    """
    return measure_labels(
        sources, read_vertebra_labels(sources.labels, sources.numbering), progress
    )


def measure_labels(sources: Sources, spine: LabelledSpine, progress: Progress) -> MeasuredCase:
    """Measure labels that were read before, as `measure_files` does."""
    image = read_volume(sources.image) if sources.image else None
    result, alerts = result_of(sources, spine)
    if image is not None:
        check_image(image, sources.image.name)
    hips = sources.hips_lps_mm
    if sources.structures is not None:
        hips = hip_centres(read_labels(sources.structures), _numbers(sources.structures))
    given = Given(sources.calibration, hips, _flagged(result))
    case = _Case(spine.volume, image, result, sources.modality, given)
    return _measure(case, alerts, list(spine.notes), progress)


def measure_run(image: Volume, labels: Volume, result: Result) -> MeasuredCase:
    """Measure the labels of a run that has just ended, as `measure_files` does from its files."""
    case = _Case(labels, image, result, given=Given(flagged=_flagged(result)))
    return _measure(case, _doubts(result), [], lambda *_: None)


def _measure(case: _Case, alerts: list[str], notes: list[str], progress: Progress) -> MeasuredCase:
    labels, image, result, modality = case.labels, case.image, case.result, ""
    if image is not None:
        known = replace(
            without_padding(image), modality=result.modality if result else image.modality
        )
        modality = choose_modality(known, case.modality, notes.append)
    cuts = {} if result is None else cuts_by_place(result, labels)
    measured, stance = measure_with_stance(
        labels, image, modality, progress, cuts, given=case.given
    )
    measured = replace(
        measured, alerts=(*alerts, *measured.alerts), notes=(*measured.notes, *notes)
    )
    return MeasuredCase(measured, labels, image, result, stance)


def write_case_page(done: MeasuredCase, path: Path, title: str = "") -> None:
    """Write the report; a spine in an odd position is drawn upright."""
    image, labels = (
        None if volume is None else canonical(done.stance.stand(volume))[0]
        for volume in (done.image, done.labels)
    )
    measured = replace(done.measured, items=tuple(map(done.stance.upright, done.measured.items)))
    write_page(measured, (image, labels), done.result, path, title)


def run_measure(job: MeasureJob, progress: StageProgress = ignore) -> None:
    """Measure, and write all output files or none.

    Args:
        job: Input and output files.
        progress: Called often; may stop the work by raising `Cancelled`.

    Raises:
        UserError: If an input is not usable, or an output cannot be written.
    """
    refuse_overwriting_inputs(job)
    for path in job.outputs:
        check_place(path, overwrite=job.overwrite)
    progress(MEASURE, 0.0)
    share = _MEASURED if job.page else 1.0

    def report(name: str, fraction: float) -> None:
        progress(MEASURE, share * fraction)

    # The panel writes label images with VerSe's values.
    sources = Sources(
        job.input,
        job.image,
        job.modality,
        job.run,
        corrected=True,
        numbering=VERSE,
        calibration=read_line(job.calibration),
        hips_lps_mm=job.hips_lps_mm,
    )
    done = measure_files(sources, report)
    with all_or_none(job.outputs, overwrite=job.overwrite) as partial:
        write_json(done.measured, partial[job.output])
        if job.page:
            write_case_page(done, partial[job.page])
    progress(MEASURE, 1.0)


def result_of(sources: Sources, spine: LabelledSpine) -> tuple[Result | None, list[str]]:
    """Return the result of the run that made the labels, and alerts about their levels.

    Raises:
        UserError: If the user gave a result that does not belong to the labels.
    """
    if sources.run is None:
        return None, [f"{_UNVERIFIED}: no result of a run is known for these labels."]
    name = sources.run.name
    try:
        result = read_result(sources.run)
    except UserError as error:
        if sources.named:
            raise
        return None, [f"{_UNVERIFIED}: {error.message}"]
    if why := why_other(result, spine.volume, corrected=sources.corrected):
        if sources.named:
            raise UserError(
                f"{name} is not the result of these labels: {why}.",
                "Give the result.json that was written with them, or leave it out.",
            )
        alerts = [f"{_UNVERIFIED}: {name} is not the result of these labels ({why})."]
        return None, alerts + _doubts(result)
    return result, _doubts(result)


def _numbers(structures: Path) -> dict[str, int]:
    """Return the label values by the names in a JSON file beside the labels, or the usual ones.

    Raises:
        UserError: If the file is not a table of numbers and names.
    """
    names = structures.with_name(structures.name.split(".")[0] + ".json")
    if not names.is_file():
        return dict(NUMBERS)
    try:
        entries = load(names.read_text(encoding="utf-8"))
        return {str(name): int(number) for number, name in entries.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"{names.name} is not a table of label values and names: {error}.",
            'Write it as {"75": "femur_left"}, or move it away.',
        ) from error


def _flagged(result: Result | None) -> frozenset[str]:
    """Return the levels with flags on their shape, and not only on their name."""
    instances = () if result is None else result.instances
    return frozenset(
        item.name for item in instances if {flag.name for flag in item.flags} & set(SHAPE_FLAGS)
    )


def _doubts(result: Result) -> list[str]:
    """Return the alert about levels in doubt, if they are."""
    return list(filter(None, [level_warning(result.labelings, result.doubt)]))


def write_json(measured: Measurements, path: Path) -> None:
    """Write all measurements as JSON; `measurements.read_measurements` reads them.

    Raises:
        UserError: As `whole_or_nothing`.
    """
    text = json.dumps(measured.to_json(), indent=1, allow_nan=False) + "\n"
    with whole_or_nothing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_csv(measured: Measurements, path: Path) -> None:
    """Write a CSV row for every value, with unit, definition, and the reason if it is missing.

    Alerts are the first rows, with the kind "alert".

    Raises:
        UserError: As `whole_or_nothing`.
    """
    with whole_or_nothing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(_alert(text) for text in measured.alerts)
        for kind in KINDS:
            for item in measured.of(kind):
                writer.writerows(_rows(item))


def _alert(text: str) -> dict[str, str]:
    return {**dict.fromkeys(_COLUMNS, ""), "kind": "alert", "finding": text}


def _rows(item: Item) -> list[dict[str, str]]:
    finding = ", ".join(f"{key} {word}" for key, word in item.words.items())
    return [
        {
            "kind": item.kind,
            "name": item.name,
            "view": item.view,
            "quantity": quantity.key,
            "value": "" if (v := item.values.get(quantity.key)) is None else f"{v:.{_DIGITS}f}",
            "uncertainty": (
                "" if (u := item.uncertainties.get(quantity.key)) is None else f"{u:.{_DIGITS}f}"
            ),
            "unit": quantity.unit,
            "finding": finding,
            "not_given_because": item.reasons.get(quantity.key, ""),
            "how": quantity.how,
        }
        for quantity in of_kind(item.kind)
    ]
