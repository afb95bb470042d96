"""Segment a volume: read it, run the method, write labels, result and picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.anatomy.terminology import SegmentInfo, segment_info
from spinemamba.common.atomic_files import all_or_none
from spinemamba.common.progress import Progress, Warn
from spinemamba.imaging.intensity import choose_modality
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.imaging.truncation import without_padding
from spinemamba.imaging.volume import Volume
from spinemamba.inference.device import Load, translate_out_of_memory, with_model
from spinemamba.jobs.outputs import check_outputs
from spinemamba.labelmaps.other_scan import read_other_scan
from spinemamba.levels.pins import parse_pin
from spinemamba.protocol.flags import names, sentences
from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.model_card import find_model, find_model_for
from spinemamba.protocol.result import Result

if TYPE_CHECKING:
    from spinemamba.imaging.curved_planar import View
    from spinemamba.inference.model import Model
    from spinemamba.segment import Segmentation


@dataclass(frozen=True)
class RunFiles:
    """Output files of a run, and its result."""

    labels: Path
    result: Path | None
    picture: Path | None
    result_data: Result


def run_job(job: SegmentJob, progress: Progress, warn: Warn) -> RunFiles:
    """Segment a file; write all outputs or none.

    Args:
        job: Input, outputs and options.
        progress: Called often; may stop the run by raising `Cancelled`.
        warn: Called with each warning.

    Raises:
        UserError: If the input, the model or an output is not usable, no spine is found, or memory
            runs out.
    """
    check_outputs(job)
    find_model(job.model)  # a wrong name is an error before a large file is read
    progress("read", 0.0)
    with translate_out_of_memory():
        volume = read_input(job, progress, warn)
        done = segment_on_device(volume, job, (progress, warn))
        write_outputs(job, volume, done, progress)
    return RunFiles(job.output, job.result, job.picture, done.result)


def read_input(job: SegmentJob, progress: Progress, warn: Warn) -> Volume:
    """Read the image of a job."""
    volume = read_volume(job.input, warn)
    if job.fine_slices:
        from spinemamba.imaging.fine_slices import with_fine_slices  # loads torch

        volume = with_fine_slices(volume)
    progress("read", 0.7)
    return volume


def segment_on_device(
    volume: Volume,
    job: SegmentJob,
    report: tuple[Progress, Warn],
    load: Load | None = None,
) -> Segmentation:
    """Segment an image on the device of the job.

    Args:
        volume: The image.
        job: Model, device and options.
        report: Progress and warnings, as in `run_job`.
        load: As in `with_model`.
    """
    from spinemamba.segment import SegmentOptions, segment

    progress, warn = report
    folder = find_model_for(job.model, choose_modality(without_padding(volume), job.modality))
    pins = tuple(map(parse_pin, job.fixed_levels))
    other = None if job.levels_from is None else read_other_scan(job.levels_from)
    options = SegmentOptions(job.modality, job.quality, pins, job.keep_pieces, other)

    def work(model: Model) -> Segmentation:
        progress("read", 1.0)
        done = segment(volume, model, options, progress, warn)
        if not job.run_id:
            return done
        return replace(done, result=replace(done.result, run_id=job.run_id))

    return with_model(folder, job, warn, work, load)


def write_outputs(
    job: SegmentJob, volume: Volume, done: Segmentation, progress: Progress
) -> tuple[View, View] | None:
    """Write labels, result and picture, all or none; return the views in the picture."""
    views = None
    progress("write", 0.0)
    with all_or_none(job.outputs, overwrite=job.overwrite) as partial:
        write_labels(done.labels, partial[job.output], segments_of(done.result))
        if job.result is not None:
            done.result.write(partial[job.result])
        progress("write", 0.5)
        if job.picture is not None:
            from spinemamba.report.run_picture import write_run_picture

            views = write_run_picture(volume, done.labels, done.result, partial[job.picture])
        progress("write", 1.0)
    return views


def segments_of(result: Result) -> list[SegmentInfo]:
    """Return name, colour, terminology code and provenance of each vertebra, top to bottom."""
    infos = []
    for item in result.instances:
        tags = {
            "SpineMamba.Model": f"{result.model_name} {result.model_version}",
            "SpineMamba.ModelHash": result.model_hash,
            "SpineMamba.Version": result.package_version,
            "SpineMamba.Run": result.run_id,
            "SpineMamba.Posterior": f"{item.posterior:.3f}",
            "SpineMamba.Flags": sentences(item.flags),
            "SpineMamba.FlagNames": names(item.flags),
        }
        infos.append(segment_info(BY_VALUE[item.label].value, tags))
    return infos
