"""One series: fetch its images, segment them, store the DICOM SEG."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from spinemamba.cohort.dicom_series import why_no_volume
from spinemamba.common.atomic_files import write_error
from spinemamba.common.errors import Code, UserError
from spinemamba.common.scratch import scratch
from spinemamba.imaging.formats.dicom_header import read_headers
from spinemamba.imaging.read import LEAST_VOXELS
from spinemamba.pacs.dicomweb import ArchivedSeries, DicomWeb
from spinemamba.pacs.options import MODALITIES, SeriesOptions, SeriesTask, label_of
from spinemamba.protocol import events
from spinemamba.protocol.cohort import CaseRecord, read_record
from spinemamba.protocol.pipeline_client import CaseEnd, PipelineWorker

STORED, WAS_STORED = "stored", "stored before"
WRITTEN, WAS_WRITTEN = "written", "written before"
NO_SPINE, LEFT_OUT, FAILED = "no spine", "left out", "failed"

TRANSIENT = frozenset(
    {Code.SERVER_UNREACHABLE.value, Code.CRASH.value, Code.OOM_GPU.value, Code.OOM_HOST.value}
)
"""Failures after which a watch tries the series again."""

_POLL_S = 0.05
_MODE = 0o700


@dataclass(frozen=True)
class Outcome:
    """What became of a series.

    Attributes:
        label: Name of the series in messages.
        state: `STORED`, `WAS_STORED`, `WRITTEN`, `WAS_WRITTEN`, `NO_SPINE`, `LEFT_OUT`, `FAILED`.
        detail: Levels, or the reason.
        code: Value of `errors.Code` of a failure; empty otherwise.
        name: Name of the folder of the results; empty if there is none.
    """

    label: str
    state: str
    detail: str = ""
    code: str = ""
    name: str = ""

    @property
    def may_work_later(self) -> bool:
        """Whether another attempt may succeed."""
        return self.state == FAILED and self.code in TRANSIENT


@dataclass
class SeriesRun:
    """Segments series one after the other, with one worker process.

    Attributes:
        archive: The archive.
        options: Options of all series.
        output: Folder that keeps the results; None to keep none.
        store: Whether the DICOM SEG is stored in the archive.
        worker: The worker process; started with the first series.
        work: Folder for fetched images; only this user can read it.
        say: Called with what is being done.
    """

    archive: DicomWeb
    options: SeriesOptions
    output: Path | None
    store: bool
    worker: PipelineWorker
    work: Path
    say: Callable[[str], None] = field(default=lambda text: None)

    def run(self, series: ArchivedSeries) -> Outcome:
        """Segment a series, unless that was done before; errors are part of the outcome."""
        label = label_of(series)
        try:
            return self._run(series, label)
        except UserError as error:
            return Outcome(label, FAILED, str(error), error.code.value)

    def _run(self, series: ArchivedSeries, label: str) -> Outcome:
        if series.modality not in MODALITIES:
            return Outcome(label, LEFT_OUT, f"not CT or MR but {series.modality or 'unknown'}")
        if series.count is not None and series.count < LEAST_VOXELS:
            return Outcome(label, LEFT_OUT, f"only {series.count} slices")
        instances = self.archive.instances(series)
        if len(instances) < LEAST_VOXELS:
            return Outcome(label, LEFT_OUT, f"only {len(instances)} slices")
        task = SeriesTask.of(series, instances, self.options)
        kept = None if self.output is None else self.output / task.name
        if self.store and self.archive.has_series(series.study_uid, task.uids.series):
            return Outcome(label, WAS_STORED, name=task.name)
        if kept is not None and task.seg_file(kept).is_file():
            if not self.store:
                return Outcome(label, WAS_WRITTEN, name=task.name)
            return self._stored(task, label, kept)
        with scratch(self.work) as hidden:
            return self._segmented(task, label, hidden, kept)

    def _segmented(self, task: SeriesTask, label: str, hidden: Path, kept: Path | None) -> Outcome:
        images = hidden / "images"
        self.say(f"{label}: fetching {len(task.instances)} images")
        self._fetch(task, images)
        if why := why_no_volume(read_headers(images)):
            return Outcome(label, LEFT_OUT, why)
        self.say(f"{label}: segmenting")
        folder = hidden / task.name
        end = self._worked(task, images, folder)
        if isinstance(end.event, events.Failed):
            text = f"{end.event.message} {end.event.remedy}"
            if end.event.code == Code.NO_SPINE.value:
                return Outcome(label, NO_SPINE, text)
            return Outcome(label, FAILED, text, end.event.code)
        record = read_record(folder)
        if kept is not None:
            folder = _publish(folder, kept)
        if why := record.missing.get("dicom_seg"):
            return Outcome(label, FAILED, why, Code.INPUT_BAD.value, task.name)
        if self.store:
            return self._stored(task, label, folder)
        return Outcome(label, WRITTEN, _levels(record), name=task.name)

    def _fetch(self, task: SeriesTask, images: Path) -> None:
        """Write the images into a new folder; their names are numbers."""
        try:
            images.mkdir(mode=_MODE)
            for number, uid in enumerate(task.instances, start=1):
                path = images / f"{number:06d}.dcm"
                path.write_bytes(self.archive.instance(task.series, uid))
        except OSError as error:
            raise write_error(images, error) from error

    def _worked(self, task: SeriesTask, images: Path, folder: Path) -> CaseEnd:
        """Run the worker process on a series."""
        self.worker.submit(task.job(images, folder))
        while not (ends := self.worker.ended_cases()):
            time.sleep(_POLL_S)
        return ends[0]

    def _stored(self, task: SeriesTask, label: str, folder: Path) -> Outcome:
        """Store a DICOM SEG that the archive does not have, and check that it has it then."""
        try:
            file = task.seg_file(folder).read_bytes()
        except OSError as error:
            raise UserError(
                f"{task.seg_file(folder).name} cannot be read: {error.strerror}.",
                "Remove its folder, and run again.",
            ) from error
        self.say(f"{label}: storing")
        self.archive.store(task.series.study_uid, file)
        if not self.archive.has_series(task.series.study_uid, task.uids.series):
            raise UserError(
                "The archive accepted the DICOM SEG, but does not list it.",
                "Ask its administrator; some archives hold new files back for a check.",
                Code.SERVER_REFUSED,
            )
        return Outcome(label, STORED, _levels(read_record(folder)), name=task.name)


def _publish(folder: Path, target: Path) -> Path:
    """Rename a complete folder to its place; an existing one is not replaced.

    Raises:
        UserError: If it cannot be renamed.
    """
    try:
        return folder.rename(target)
    except OSError as error:
        raise write_error(target, error) from error


def _levels(record: CaseRecord) -> str:
    """Return the levels of a series, and whether they are in doubt."""
    if record.summary is None:
        return ""
    names = ", ".join(v.name for v in record.summary.vertebrae)
    return f"{names} (levels in doubt)" if record.summary.ambiguous else names
