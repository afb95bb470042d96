"""Segment a volume on a server: send it, follow the job, write the same files as `jobs.segment`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from spinemamba.common.atomic_files import ending
from spinemamba.common.errors import UserError
from spinemamba.common.progress import Warn, ignore
from spinemamba.common.scratch import scratch
from spinemamba.imaging.formats.stored_voxels import HEX, TEXT
from spinemamba.imaging.read import read_labels, read_volume, read_volume_header, tags_of
from spinemamba.imaging.write import LABEL_FORMATS, write_image
from spinemamba.jobs.outputs import check_outputs
from spinemamba.jobs.segment import RunFiles, read_input
from spinemamba.labelmaps.other_scan import copy_other_scan
from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.remote.formats import IMAGE_ENDINGS, LABELS, OTHER_SCAN, PICTURE, RESULT
from spinemamba.protocol.remote.http_connection import Connection
from spinemamba.protocol.remote.remote_job import RemoteJob, ReportProgress
from spinemamba.protocol.remote.server_client import ServerClient
from spinemamba.protocol.remote.site import Site
from spinemamba.protocol.result import read_result

_COPY = f"{OTHER_SCAN}{LABEL_FORMATS[0]}"
"""Name of the labels of another scan on the server, and in its messages."""


def run_on_server(
    job: SegmentJob,
    site: Site,
    progress: ReportProgress,
    warn: Warn,
    say: Callable[[str], None] = lambda text: None,
) -> RunFiles:
    """Segment a file on a server; write all outputs or none.

    DICOM series, and other formats that a server does not read, are converted first. Nothing is
    sent if the image is not one 3-D volume.

    Args:
        job: Input, outputs and options.
        site: The server.
        progress: Called often; may stop the run by raising `Cancelled`.
        warn: Called with each warning.
        say: Called with the server and the model that have done the work.

    Raises:
        UserError: If the input or an output is not usable, or the server cannot be reached,
            refuses the job or fails.
    """
    check_outputs(job)
    with ExitStack() as stack:
        hidden = stack.enter_context(scratch(_existing(job.output.absolute().parent)))
        sent = _readable(job, hidden, warn)
        if job.levels_from is not None:
            copy_other_scan(job.levels_from, hidden / _COPY)
            sent = replace(sent, levels_from=hidden / _COPY)
        # The shell prints the result, whether it is an output or not.
        wanted = replace(sent, result=hidden / "result.json") if job.result is None else sent
        connection = stack.enter_context(Connection(site))
        names = _OtherName(job)
        remote = RemoteJob(
            ServerClient(connection), progress, lambda text: warn(names.put_back(text))
        )
        remote.amend = names.amend
        with names.in_errors():
            remote.run(wanted)
        say(remote.where)
        result = read_result(wanted.result)
    return RunFiles(job.output, job.result, job.picture, result)


def _existing(folder: Path) -> Path:
    """Return the folder, or its next parent that exists."""
    while not folder.is_dir():
        folder = folder.parent
    return folder


def _readable(job: SegmentJob, hidden: Path, warn: Warn) -> SegmentJob:
    """Return the job with an image that a server reads.

    Raises:
        UserError: If it cannot be read, or is not one 3-D volume.
    """
    if job.input.is_file() and ending(job.input) in IMAGE_ENDINGS:
        voxels = read_volume_header(job.input).voxels
        if voxels.files == (job.input,) and voxels.encoding not in (TEXT, HEX):
            return job
    volume = read_volume(job.input, warn)
    path = hidden / "image.nrrd"
    write_image(volume, path, tags_of(volume))
    return replace(job, input=path)


@dataclass(frozen=True)
class _OtherName:
    """The name of the other scan, which is not sent: it may be that of a patient.

    Attributes:
        job: Job of the user.
    """

    job: SegmentJob

    def put_back(self, text: str) -> str:
        """Return a text of the server with the name instead of that of the copy."""
        if self.job.levels_from is None:
            return text
        return text.replace(_COPY, self.job.levels_from.name)

    @contextmanager
    def in_errors(self) -> Iterator[None]:
        """Put the name back into errors of the block."""
        try:
            yield
        except UserError as error:
            if (message := self.put_back(error.message)) == error.message:
                raise
            raise UserError(message, error.remedy, error.code) from error

    def amend(self, files: Mapping[str, Path]) -> None:
        """Put the name back into the result, and into the picture if it shows it.

        Args:
            files: Fetched files by role.
        """
        result = read_result(files[RESULT])
        if result.levels_from is None:
            return
        named = replace(
            result,
            levels_from=replace(
                result.levels_from, source=self.put_back(result.levels_from.source)
            ),
            warnings=tuple(map(self.put_back, result.warnings)),
        )
        named.write(files[RESULT])
        if PICTURE in files and named.warnings != result.warnings:
            from spinemamba.report.run_picture import write_run_picture  # loads Matplotlib

            labels, image = read_labels(files[LABELS]), read_input(self.job, ignore, _no_warning)
            write_run_picture(image, labels, named, files[PICTURE])


def _no_warning(text: str) -> None:
    """Drop a warning about the image; it was given before the image was sent."""
