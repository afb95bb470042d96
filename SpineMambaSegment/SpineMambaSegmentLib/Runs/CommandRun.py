"""Short commands of `spinemamba` in a separate process: query of devices, DICOM SEG export.

They are not imported, so that Slicer's process loads neither torch nor highdicom.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.common.scratch import sweep
from spinemamba.export.names import DICOM_ENDS
from spinemamba.protocol.result import RESULT_END
from spinemamba.protocol.worker_client import kill_group, start_module
from SpineMambaSegmentLib.Scene import Files
from SpineMambaSegmentLib.Scene.Provenance import volumeOf

_INSTANCES = "DICOM.instanceUIDs"
_USER_ERROR = 2
"""Exit code of `spinemamba` for a `UserError`; the last line of stderr is its message."""


def interpreter() -> str:
    """Return the path of Slicer's Python; in Slicer, this is the launcher PythonSlicer."""
    return shutil.which("PythonSlicer") or sys.executable


class CommandRun:
    """Runs ``python -m spinemamba``; starts at once.

    Args:
        arguments: Arguments of the command.
    """

    def __init__(self, arguments: list[str]):
        command = ["spinemamba", *arguments]
        self._process = start_module(interpreter(), command, subprocess.PIPE)
        self._texts = ("", "")
        # Both pipes are read together: a full pipe would block the process.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def isRunning(self) -> bool:
        """Return True until the process has ended."""
        return self._reader.is_alive()

    def stop(self) -> None:
        """Kill the process, and wait for its end."""
        if self._process.poll() is None:
            kill_group(self._process)
        self._reader.join()

    def _output(self) -> tuple[str, str]:
        """Wait for the end of the process, and return its stdout and stderr."""
        self._reader.join()
        return self._texts

    def _read(self) -> None:
        self._texts = self._process.communicate()


class ProbeRun(CommandRun):
    """Runs ``spinemamba probe``: versions of packages, and devices."""

    def __init__(self) -> None:
        super().__init__(["probe"])

    def facts(self) -> dict[str, Any]:
        """Wait for the process, and return the result of `spinemamba.inference.probe.probe`.

        Raises:
            ValueError: If there is no result; the message is one line.
        """
        answer, errors = self._output()
        # A launcher may print other lines before the result.
        start = answer.find("{")
        try:
            return json.loads(answer[max(start, 0) :])
        except ValueError as error:
            last = errors.strip().splitlines()[-1:] or ["no answer"]
            raise ValueError(last[0]) from error


class FilesRun(CommandRun):
    """Base of commands that write files from a segmentation.

    Attributes:
        outputs: Files that the command writes.

    Args:
        segmentationNode: The segmentation.
        arguments: Returns the arguments, given the path of the segmentation as a file.
        outputs: Files that the command writes.
        withResult: Whether result.json is put beside the segmentation.
    """

    def __init__(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        arguments: Callable[[Path], list[str]],
        outputs: Sequence[Path],
        *,
        withResult: bool = False,
    ):
        self.outputs = tuple(outputs)
        self._folder = tempfile.TemporaryDirectory(prefix="spinemamba-dicom-")
        labels = Path(self._folder.name) / f"spine{Files.SEGMENTATION}"
        Files.writeSegmentation(segmentationNode, labels)
        result = Files.resultText(segmentationNode)
        if withResult and result is not None:
            beside = labels.with_name(f"spine{RESULT_END}")
            beside.write_text(result, encoding="utf-8")
        super().__init__(arguments(labels))

    def finish(self) -> str:
        """Wait for the process, and return its output: file and warnings, one per line.

        Raises:
            UserError: If a file could not be written.
        """
        answer, errors = self._output()
        self._folder.cleanup()
        if self._process.returncode == 0:
            return "\n".join([answer.strip(), errors.strip()]).strip()
        lines = errors.strip().splitlines() or [_("The process ended without a message.")]
        isUserError = self._process.returncode == _USER_ERROR
        raise UserError(lines[-1], "", Code.OUTPUT_BAD if isUserError else Code.INTERNAL)

    def stop(self) -> None:
        """Kill the process, and remove partial files."""
        super().stop()
        self._folder.cleanup()
        for folder in {path.parent for path in self.outputs}:
            sweep(folder)


class DicomRun(FilesRun):
    """Runs ``spinemamba export --dicom-seg``.

    Args:
        segmentationNode: The segmentation; its volume was loaded from DICOM.
        path: File to write; replaced if it exists.
        fileOf: Returns the path of an instance UID, as Slicer's DICOM database does.

    Raises:
        UserError: If the volume is not from DICOM, or its files do not exist.
    """

    def __init__(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        path: Path,
        fileOf: Callable[[str], str],
    ):
        source = str(sourceFile(segmentationNode, fileOf))
        self.path = path

        def arguments(labels: Path) -> list[str]:
            words = ["export", str(labels), "--dicom-seg", str(path)]
            return [*words, "--source", source, "--overwrite"]

        super().__init__(segmentationNode, arguments, [path])


@dataclass(frozen=True)
class DicomRequest:
    """Which DICOM instances to write, and where.

    Attributes:
        source: The source series: its folder, or one of its files.
        folder: Folder to write.
        case: Beginning of the file names, as `export.names.safe_case` returns.
        kinds: Some of `export.names.DICOM_ENDS`.
        levels: Levels of segments and contours, such as "L1-L5"; empty for all.
    """

    source: Path
    folder: Path
    case: str
    kinds: tuple[str, ...]
    levels: str = ""

    def paths(self) -> list[Path]:
        """Return the files that will be written."""
        return [self.folder / f"{self.case}_{DICOM_ENDS[kind]}" for kind in self.kinds]


class DicomFilesRun(FilesRun):
    """Runs ``spinemamba dicom``; existing files are replaced.

    Args:
        segmentationNode: The segmentation.
        request: What to write.
    """

    def __init__(self, segmentationNode: slicer.vtkMRMLSegmentationNode, request: DicomRequest):
        def arguments(labels: Path) -> list[str]:
            words = ["dicom", str(labels), "--source", str(request.source), "--overwrite"]
            words += ["--out", str(request.folder), "--case", request.case]
            words += ["--kinds", *request.kinds]
            return [*words, "--levels", *request.levels.split()] if request.levels else words

        super().__init__(segmentationNode, arguments, request.paths(), withResult=True)


def isFromDicom(segmentationNode: slicer.vtkMRMLSegmentationNode) -> bool:
    """Return True if the volume of a segmentation was loaded from DICOM."""
    return bool(_instances(segmentationNode))


def sourceFile(
    segmentationNode: slicer.vtkMRMLSegmentationNode, fileOf: Callable[[str], str]
) -> Path:
    """Return a file of the series of a segmentation's volume.

    Raises:
        UserError: If the volume is not from DICOM, or the file does not exist.
    """
    instances = _instances(segmentationNode)
    if not instances:
        raise UserError(
            _("The volume was not loaded from DICOM."), _("Load its series with the DICOM module.")
        )
    path = fileOf(instances[0])
    if not path or not Path(path).is_file():
        raise UserError(
            _("The DICOM files of the volume do not exist any more."),
            _("Import the series into the DICOM database again."),
        )
    return Path(path)


def _instances(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[str]:
    volume = volumeOf(segmentationNode)
    return [] if volume is None else (volume.GetAttribute(_INSTANCES) or "").split()
