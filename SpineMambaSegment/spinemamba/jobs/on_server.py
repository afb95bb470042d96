"""Segment a volume on a server: send it, follow the job, write the same files as `jobs.segment`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from spinemamba.common.atomic_files import ending
from spinemamba.common.errors import UserError
from spinemamba.common.progress import Warn
from spinemamba.common.scratch import scratch
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.write import write_image
from spinemamba.jobs.outputs import check_outputs
from spinemamba.jobs.segment import RunFiles
from spinemamba.protocol.job import SegmentJob
from spinemamba.protocol.remote.formats import IMAGE_ENDINGS
from spinemamba.protocol.remote.http_connection import Connection
from spinemamba.protocol.remote.remote_job import RemoteJob, ReportProgress
from spinemamba.protocol.remote.server_client import ServerClient
from spinemamba.protocol.remote.site import Site
from spinemamba.protocol.result import read_result


def run_on_server(
    job: SegmentJob,
    site: Site,
    progress: ReportProgress,
    warn: Warn,
    say: Callable[[str], None] = lambda text: None,
) -> RunFiles:
    """Segment a file on a server; write all outputs or none.

    DICOM series, and other formats that a server does not read, are converted first.

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
    if job.levels_from is not None:
        raise UserError(
            "A server does not take the levels from another scan.",
            "Leave out --server, or --levels-from.",
        )
    with ExitStack() as stack:
        hidden = stack.enter_context(scratch(_existing(job.output.absolute().parent)))
        sent = _readable(job, hidden, warn)
        # The shell prints the result, whether it is an output or not.
        wanted = replace(sent, result=hidden / "result.json") if job.result is None else sent
        connection = stack.enter_context(Connection(site))
        remote = RemoteJob(ServerClient(connection), progress, warn)
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
    """Return the job with an image in a format that a server reads."""
    if job.input.is_file() and ending(job.input) in IMAGE_ENDINGS:
        return job
    volume = read_volume(job.input, warn)
    path = hidden / "image.nrrd"
    write_image(volume, path)
    # The format that is sent has no field for the modality.
    stated = volume.modality if job.modality == "auto" else None
    return replace(job, input=path, modality=stated or job.modality)
