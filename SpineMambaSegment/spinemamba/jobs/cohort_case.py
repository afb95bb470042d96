"""One case of a cohort in three stages, which are those of `jobs.segment`: read, segment, write.

All files of a case are written into a hidden folder, which is renamed at the end, so that the
folder of a case is complete or does not exist.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from spinemamba.common.atomic_files import all_or_none
from spinemamba.common.errors import UserError
from spinemamba.common.folders import replace_folder
from spinemamba.common.process_tuning import peak_memory_mb, reset_peak_memory
from spinemamba.common.progress import Progress, ignore
from spinemamba.common.scratch import scratch
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.inference.device import Load
from spinemamba.jobs.segment import SegmentRun, segments_of
from spinemamba.protocol.cohort import DONE, CaseFile, CaseRecord, CaseSummary
from spinemamba.protocol.job import DICOM_SEG, NIFTI, STL, CohortJob
from spinemamba.protocol.review import STATUS_TAG

if TYPE_CHECKING:
    from spinemamba.anatomy.terminology import SegmentInfo
    from spinemamba.imaging.volume import Volume
    from spinemamba.segment import Segmentation

_VIEWS = ("side", "front")

MEASUREMENTS = "measurements"
EXTRA_ROLES = {NIFTI: "nifti", STL: "surfaces", DICOM_SEG: "dicom_seg"}
"""Roles in the record of the measurements, and of the further outputs of a job."""

NO_SURFACE = "No surface of "
"""Beginning of the warning about a vertebra without a surface."""


class CohortCase:
    """A case between its stages; each method is called once, in the order read, segment, write.

    Args:
        job: What to do.
        progress: Called often; may stop the work by raising `Cancelled`.
        name: Identifies the job in events.
    """

    def __init__(self, job: CohortJob, progress: Progress, name: str = ""):
        self.job, self.name = job, name
        self._warnings: list[str] = []
        self._missing: dict[str, str] = {}
        self._segments: Sequence[SegmentInfo] | None = None
        self._seconds = self._memory_mb = 0.0
        self._run = SegmentRun(job.segment_job(job.output), progress, self._warnings.append)

    @property
    def missing(self) -> dict[str, str]:
        """Outputs that could not be made, with the reasons."""
        return self._missing

    @property
    def warnings(self) -> list[str]:
        """Warnings so far."""
        return self._warnings

    @property
    def seconds(self) -> float:
        """Time of all stages so far."""
        return round(self._seconds, 2)

    def read(self) -> None:
        """Read the image.

        Raises:
            UserError: If it cannot be read.
        """
        with self._timed():
            self._run.read()

    def segment(self, load: Load) -> None:
        """Segment the image.

        Args:
            load: As in `with_model`.

        Raises:
            UserError: As `SegmentRun.segment`.
        """
        reset_peak_memory()
        with self._timed():
            self._run.segment(load)
        self._memory_mb = peak_memory_mb()

    def write(self) -> None:
        """Write the folder of the case; an older one is replaced.

        Raises:
            UserError: If it cannot be written.
        """
        cases = self.job.output.absolute().parent
        with scratch(cases) as hidden:
            folder = hidden / self.job.output.name
            folder.mkdir()
            with self._timed():
                files = self.write_files(folder)
            self._record(folder, files).write(folder)
            replace_folder(folder, self.job.output, hidden)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._seconds += time.monotonic() - started

    @classmethod
    def of(
        cls,
        job: CohortJob,
        volume: Volume,
        done: Segmentation,
        segments: Sequence[SegmentInfo] | None = None,
    ) -> CohortCase:
        """Return a case that is segmented already, to be written.

        Args:
            job: What to write.
            volume: The image.
            done: What was found in it.
            segments: Metadata of the segments after a review; None for those of the run.
        """
        case = cls(job, ignore)
        case._run.volume, case._run.done, case._segments = volume, done, segments
        return case

    def write_files(self, folder: Path) -> dict[str, Path]:
        """Write all files but the record into an empty folder; return their paths by role."""
        from spinemamba.report.thumbnail import write_thumbnail

        job = self.job.segment_job(folder)
        views = self._run.write(job, self._segments)
        files = {"labels": job.output, "result": job.result, "picture": job.picture}
        thumbnails = {role: folder / f"{self.job.case}_{role}.png" for role in _VIEWS}
        with all_or_none(list(thumbnails.values())) as new:
            for path, view in zip(thumbnails.values(), views, strict=True):
                write_thumbnail(view, self._run.done.result.modality, new[path])
        files |= thumbnails
        for role, write in self._optional():
            try:
                files |= write(folder)
            # The labels are worth keeping without this file.
            except UserError as error:
                self._missing[role] = str(error)
        return files

    def _optional(self) -> Iterator[tuple[str, Callable[[Path], dict[str, Path]]]]:
        """Yield the role and the function of each optional output."""
        yield "preview", self._write_preview
        if self.job.measurements:
            yield MEASUREMENTS, self._write_measurements
        extras = {
            NIFTI: self._write_nifti,
            STL: self._write_surfaces,
            DICOM_SEG: self._write_dicom_seg,
        }
        for word, write in extras.items():
            if word in self.job.also:
                yield EXTRA_ROLES[word], write

    def _write_preview(self, folder: Path) -> dict[str, Path]:
        from spinemamba.report.case_preview import write_preview

        path = folder / f"{self.job.case}_preview.zip"
        write_preview(self._run.volume, self._run.done.labels, self._run.done.result, path)
        return {"preview": path}

    def _write_measurements(self, folder: Path) -> dict[str, Path]:
        from spinemamba.jobs.measure import measure_run, write_case_page, write_csv, write_json

        done = measure_run(self._run.volume, self._run.done.labels, self._run.done.result)
        stem = self.job.case
        table, record = folder / f"{stem}_measurements.csv", folder / f"{stem}_measurements.json"
        page = folder / f"{stem}_report.html"
        with all_or_none([table, record, page]) as new:
            write_csv(done.measured, new[table])
            write_json(done.measured, new[record])
            write_case_page(done, new[page], stem)
        return {"measurements_table": table, "measurements": record, "report": page}

    def _write_nifti(self, folder: Path) -> dict[str, Path]:
        path = folder / f"{self.job.case}.nii.gz"
        write_labels(self._run.done.labels, path, segments_of(self._run.done.result))
        return {"nifti": path}

    def _write_surfaces(self, folder: Path) -> dict[str, Path]:
        from spinemamba.export.exporter import Export, Target
        from spinemamba.export.meshing.options import MeshOptions
        from spinemamba.export.run_files import find_files, source_of, vertebrae_of
        from spinemamba.labelmaps.read import read_label_file
        from spinemamba.protocol.manifest import JSON

        files = find_files(self.job.segment_job(folder).output)
        content = read_label_file(files.labels)
        surfaces = folder / "surfaces"
        surfaces.mkdir()
        source = source_of(content, self.job.case)
        target = Target(surfaces, self.job.case, unreviewed_accepted=True, source=source)
        export = Export(vertebrae_of(content, files), target, MeshOptions())
        export.run()
        self._warnings += [f"{NO_SURFACE}{level}: {why}" for level, why in export.left_out]
        return {"surfaces": surfaces / JSON}

    def _write_dicom_seg(self, folder: Path) -> dict[str, Path]:
        from spinemamba.export.dicom_seg import write_dicom_seg
        from spinemamba.export.run_files import find_files, read_vertebrae
        from spinemamba.export.seg_uids import SegUids

        path = folder / f"{self.job.case}.dcm"
        vertebrae = read_vertebrae(find_files(self.job.segment_job(folder).output))
        uids = SegUids(" ".join([self.job.fingerprint.run_id, *self._reviewed()]))
        write_dicom_seg(vertebrae, self.job.input, path, uids=uids, warn=self._warnings.append)
        return {"dicom_seg": path}

    def _reviewed(self) -> Iterator[str]:
        """Yield what a review has decided: an archive may have the file of the run already."""
        for segment in self._segments or ():
            yield f"{segment.name} {segment.tags.get(STATUS_TAG, '')}"

    def _record(self, folder: Path, files: dict[str, Path]) -> CaseRecord:
        return CaseRecord(
            case=self.job.case,
            input=self.job.source,
            fingerprint=self.job.fingerprint,
            input_stamp=self.job.input_stamp,
            state=DONE,
            attempts=self.job.attempt,
            seconds=self.seconds,
            memory_mb=round(self._memory_mb, 1),
            summary=CaseSummary.of(self._run.done.result),
            files=listed(files, folder),
            missing=self._missing,
            warnings=tuple(dict.fromkeys(self._warnings)),
            image=str(self.job.input),
        )


def listed(files: Mapping[str, Path], folder: Path) -> dict[str, CaseFile]:
    """Return the entries of the record for files of a case, by role."""
    return {
        role: CaseFile(path.relative_to(folder).as_posix(), path.stat().st_size)
        for role, path in files.items()
    }
