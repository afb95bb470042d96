"""The folder of one job: its request, the files that were sent, and the result."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from spinemamba.protocol.job import FileJob, RelabelJob, ResegmentJob, SegmentJob
from spinemamba.protocol.remote.formats import (
    IMAGE,
    JOB_STATE,
    JSON_ENDING,
    LABELS,
    OTHER_RESULT,
    OTHER_SCAN,
    PICTURE,
    PICTURE_ENDING,
    REQUEST,
    RESULT,
    JobRequest,
    JobState,
    RelabelRequest,
    ResegmentRequest,
    ResultFile,
    SegmentRequest,
    SentFile,
)
from spinemamba.protocol.result import RESULT_END

_REQUEST_NAME, _STATE_NAME = "request.json", "state.json"
_BLOCK_BYTES = 1 << 20
_PRIVATE = 0o700


@dataclass(frozen=True)
class JobFolder:
    """A folder that only the server may read. All names in it are given by the server.

    Attributes:
        path: The folder.
    """

    path: Path

    def make(self) -> None:
        """Create it.

        Raises:
            OSError: If it cannot be created.
        """
        (self.path / "sent").mkdir(_PRIVATE, parents=True)
        self.path.chmod(_PRIVATE)

    def sent(self, file: SentFile) -> Path:
        """Return the path of a file that was sent."""
        # Beside the labels of the other scan, where they are read together.
        is_other = file.role == OTHER_RESULT
        name = f"{OTHER_SCAN}{RESULT_END}" if is_other else f"{file.role}{file.ending}"
        return self.path / "sent" / name

    def result_path(self, attempt: int, role: str, ending: str) -> Path:
        """Return the path of a file of the result.

        Args:
            attempt: Number of the start of the job. The process of an earlier start may still
                write into the folder of that one.
            role: Role of the file.
            ending: Ending of its name.
        """
        return self.path / f"result-{attempt}" / f"{role}{ending}"

    def write_request(self, request: JobRequest) -> None:
        """Keep the request for a restart."""
        REQUEST.write(request, self.path / _REQUEST_NAME)

    def read_request(self) -> JobRequest:
        """Return the request.

        Raises:
            UserError: If it is missing or damaged.
        """
        return REQUEST.read(self.path / _REQUEST_NAME)

    def write_state(self, state: JobState) -> None:
        """Keep the last state of a job for a restart; without a message if the disk is full."""
        with contextlib.suppress(OSError):
            JOB_STATE.write(state, self.path / _STATE_NAME)

    def read_state(self) -> JobState:
        """Return the last state.

        Raises:
            UserError: If it is missing or damaged.
        """
        return JOB_STATE.read(self.path / _STATE_NAME)

    def erase_sent(self) -> None:
        """Erase the files that were sent."""
        shutil.rmtree(self.path / "sent", ignore_errors=True)

    def erase(self) -> None:
        """Erase everything."""
        shutil.rmtree(self.path, ignore_errors=True)

    def worker_job(self, request: JobRequest, attempt: int, model: str, device: str) -> FileJob:
        """Return the job for the worker, and create the folder of its outputs.

        Args:
            request: The request.
            attempt: As in `result_path`.
            model: Name or folder of the model; unused without networks.
            device: Device.

        Raises:
            OSError: If the folder cannot be created.
        """
        sent = {file.role: self.sent(file) for file in request.files}
        labels = self.result_path(attempt, LABELS, request.labels_ending)
        labels.parent.mkdir(_PRIVATE, exist_ok=True)
        result = self.result_path(attempt, RESULT, JSON_ENDING)
        if isinstance(request, RelabelRequest):
            return RelabelJob(
                sent[LABELS],
                labels,
                result,
                run=sent[RESULT],
                fixed_levels=request.fixed_levels,
                levels_from=sent.get(OTHER_SCAN),
            )
        options = {"model": model, "device": device}
        options |= {"modality": request.modality, "precision": request.precision}
        if isinstance(request, ResegmentRequest):
            return ResegmentJob(
                sent[IMAGE],
                labels,
                result,
                labels=sent.get(LABELS),
                point_lps_mm=request.point_lps_mm,
                replaced_label=request.replaced_label,
                locked_labels=request.locked_labels,
                **options,
            )
        picture = self.result_path(attempt, PICTURE, PICTURE_ENDING)
        return _segment_job(request, sent, (labels, result, picture), options)

    def result_files(self, request: JobRequest, attempt: int) -> tuple[ResultFile, ...]:
        """Return the files of a result, with their hashes.

        Raises:
            OSError: If one cannot be read.
        """
        endings = {LABELS: request.labels_ending, RESULT: JSON_ENDING, PICTURE: PICTURE_ENDING}
        files = []
        for role, ending in endings.items():
            path = self.result_path(attempt, role, ending)
            if path.is_file():
                files.append(ResultFile(role, ending, path.stat().st_size, _sha256_of(path)))
        return tuple(files)


def _segment_job(
    request: SegmentRequest,
    sent: dict[str, Path],
    outputs: tuple[Path, Path, Path],
    options: dict[str, str],
) -> SegmentJob:
    labels, result, picture = outputs
    return SegmentJob(
        sent[IMAGE],
        labels,
        result,
        picture if request.picture else None,
        quality=request.quality,
        fixed_levels=request.fixed_levels,
        keep_pieces=request.keep_pieces,
        fine_slices=request.fine_slices,
        levels_from=sent.get(OTHER_SCAN),
        **options,
    )


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
