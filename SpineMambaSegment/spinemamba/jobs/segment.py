"""Segment a volume: read it, run the method, write labels, result and picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.anatomy.terminology import SegmentInfo, segment_info
from spinemamba.common.atomic_files import all_or_none
from spinemamba.common.process_tuning import enough_memory
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


class SegmentRun:
    """A segmentation in three stages, called in the order read, segment, write.

    A single image passes them in turn; a cohort has several images in different stages.

    Args:
        job: Input, outputs and options.
        progress: Called often; may stop the run by raising `Cancelled`.
        warn: Called with each warning.
    """

    def __init__(self, job: SegmentJob, progress: Progress, warn: Warn):
        self._job, self._progress, self._warn = job, progress, warn
        self.volume: Volume | None = None
        self.done: Segmentation | None = None

    def read(self) -> None:
        """Read the image.

        Raises:
            UserError: If it cannot be read, or memory runs out.
        """
        self._progress("read", 0.0)
        with enough_memory():
            self.volume = read_input(self._job, self._progress, self._warn)

    def segment(self, load: Load | None = None) -> None:
        """Segment the image.

        Args:
            load: As in `with_model`.

        Raises:
            UserError: If the model is not usable, no spine is found, or memory runs out.
        """
        with translate_out_of_memory():
            report = (self._progress, self._warn)
            self.done = segment_on_device(self.volume, self._job, report, load)

    def write(
        self, job: SegmentJob | None = None, segments: Sequence[SegmentInfo] | None = None
    ) -> tuple[View, View] | None:
        """Write all outputs or none; return the views in the picture.

        Args:
            job: The job with other paths of the outputs; None for its own.
            segments: As in `write_outputs`.

        Raises:
            UserError: If an output cannot be written, or memory runs out.
        """
        with enough_memory():
            work = (self.volume, self.done, self._progress)
            return write_outputs(job or self._job, *work, segments)


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
    run = SegmentRun(job, progress, warn)
    run.read()
    run.segment()
    run.write()
    return RunFiles(job.output, job.result, job.picture, run.done.result)


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
    job: SegmentJob,
    volume: Volume,
    done: Segmentation,
    progress: Progress,
    segments: Sequence[SegmentInfo] | None = None,
) -> tuple[View, View] | None:
    """Write labels, result and picture, all or none; return the views in the picture.

    Args:
        job: Outputs.
        volume: The image.
        done: What was found in it.
        progress: As in `run_job`.
        segments: Metadata of the segments; None for those of the run.
    """
    views = None
    progress("write", 0.0)
    with all_or_none(job.outputs, overwrite=job.overwrite) as partial:
        write_labels(done.labels, partial[job.output], segments or segments_of(done.result))
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
