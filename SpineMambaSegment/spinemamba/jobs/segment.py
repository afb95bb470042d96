"""One run from file to file: what the worker and the shell both do."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.anatomy.terminology import SegmentInfo, segment_info
from spinemamba.common.atomic_files import all_or_none, check_place
from spinemamba.common.errors import Code, UserError
from spinemamba.common.process_tuning import enough_memory
from spinemamba.common.progress import Progress
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import check_output
from spinemamba.protocol.flags import names, sentences
from spinemamba.protocol.job import FileJob, Job, ModelJob
from spinemamba.protocol.model_card import find_model
from spinemamba.protocol.result import Result

if TYPE_CHECKING:
    from spinemamba.inference.model import Model
    from spinemamba.segment import Segmentation

Warn = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class RunFiles:
    """What a run wrote; all of it complete."""

    labels: Path
    result: Path | None
    picture: Path | None
    result_data: Result


def run_job(job: Job, progress: Progress, warn: Warn) -> RunFiles:
    """Segment a file; write all results or none.

    Args:
        job: What to do.
        progress: Called often; may stop the run by raising `Cancelled`.
        warn: Told what the user should know.

    Raises:
        UserError: For everything the user can put right.
    """
    check_outputs(job)
    folder = find_model(job.model)
    progress("read", 0.0)
    with no_memory():
        volume = read_volume(job.input, warn)
        progress("read", 0.7)
        done = _segment_somewhere(volume, folder, job, progress, warn)
        progress("write", 0.0)
        with all_or_none(job.outputs, overwrite=job.overwrite) as partial:
            write_labels(done.labels, partial[job.output], segments_of(done.result))
            if job.result is not None:
                done.result.write(partial[job.result])
            progress("write", 0.5)
            if job.picture is not None:
                from spinemamba.report.run_picture import write_report

                write_report(volume, done.labels, done.result, partial[job.picture])
            progress("write", 1.0)
    return RunFiles(job.output, job.result, job.picture, done.result)


def _segment_somewhere(
    volume: Volume, folder: Path, job: Job, progress: Progress, warn: Warn
) -> Segmentation:
    from spinemamba.levels.pins import parse_pin
    from spinemamba.segment import SegmentOptions, segment

    options = SegmentOptions(job.modality, job.quality, tuple(map(parse_pin, job.pins)))

    def work(model: Model) -> Segmentation:
        progress("read", 1.0)
        return segment(volume, model, options, progress, warn)

    return with_model(folder, job, warn, work)


def with_model(folder: Path, job: ModelJob, warn: Warn, work: Callable[[Model], T]) -> T:
    """Work with a model on a job's device, or on the CPU if a GPU has too little memory.

    A GPU that was asked for by name is no reason to fail: the answer is the same, only later.
    """
    import torch

    from spinemamba.inference.model import load_model

    try:
        return work(load_model(folder, pick_device(job.device), job.precision))
    except torch.cuda.OutOfMemoryError:
        warn("The GPU has too little free memory for this volume; the CPU goes on, more slowly.")
    # Outside of `except`: the error holds on to what fills the GPU.
    torch.cuda.empty_cache()
    return work(load_model(folder, "cpu", "float32"))


def segments_of(result: Result) -> list[SegmentInfo]:
    """Return name, colour, code and provenance of each vertebra, from head to tail."""
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


def pick_device(name: str) -> str:
    """Return the torch device for "auto", "cpu", "cuda", "cuda:1" or "mps".

    Raises:
        UserError: If a GPU is asked for that is not there (NO_GPU).
    """
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available()}
    present["mps"] = torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if present["cuda"] else "cpu"
    kind, _, number = name.partition(":")
    if not present[kind] or (number and int(number) >= torch.cuda.device_count()):
        raise UserError(
            f"The device '{name}' is not available here.",
            "Choose 'auto' or 'cpu', or check the GPU's driver.",
            Code.NO_GPU,
        )
    return name


def check_outputs(job: FileJob) -> None:
    """Refuse outputs that are inputs, or could not be written, before the work.

    Raises:
        UserError: As `spare_inputs`, `output.check_output` for the first output, which is an image,
            and `files.check_place` for the others.
    """
    spare_inputs(job)
    check_output(job.output, overwrite=job.overwrite)
    for path in job.outputs:
        if path != job.output:
            check_place(path, overwrite=job.overwrite)


def spare_inputs(job: FileJob) -> None:
    """Refuse to write over what is read; as `spare`."""
    spare(job.outputs, job.inputs)


def spare(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over what is read.

    Raises:
        UserError: If an output is an input (OUTPUT_BAD).
    """
    for path, read in itertools.product(outputs, inputs):
        both = path.exists() and read.exists()
        if path.absolute() == read.absolute() or (both and path.samefile(read)):
            raise UserError(
                f"{path.name} is the input; it would be overwritten.",
                "Choose another name for the output.",
                Code.OUTPUT_BAD,
            )


@contextmanager
def no_memory() -> Iterator[None]:
    """Turn running out of memory into what the user can do about it."""
    import torch

    try:
        with enough_memory():
            yield
    except torch.cuda.OutOfMemoryError as error:
        raise UserError(
            "The GPU has too little free memory for this volume.",
            "Close other programs that use the GPU, or choose the device 'cpu'.",
            Code.OOM_GPU,
        ) from error
