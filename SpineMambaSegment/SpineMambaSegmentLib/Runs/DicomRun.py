"""DICOM SEG export in a separate process, so that Slicer does not import highdicom."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from spinemamba.common.scratch import sweep
from spinemamba.protocol.worker_client import kill_group, start_module
from SpineMambaSegmentLib.Runs import Interpreter
from SpineMambaSegmentLib.Scene import SegmentationFiles

INSTANCES = "DICOM.instanceUIDs"
_USER_ERROR = 2
"""Exit code of `spinemamba` for a `UserError`; the last line of stderr is its message."""


class DicomRun:
    """Runs ``spinemamba export --dicom-seg``; starts at once.

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
        source = sourceFile(segmentationNode, fileOf)
        self.path = path
        self._folder = tempfile.TemporaryDirectory(prefix="spinemamba-dicom-")
        labels = Path(self._folder.name) / f"spine{SegmentationFiles.SEGMENTATION}"
        SegmentationFiles.writeSegmentation(segmentationNode, labels)
        command = ["spinemamba", "export", str(labels), "--dicom-seg", str(path)]
        command += ["--source", str(source), "--overwrite"]
        self._process = start_module(Interpreter.path(), command, subprocess.PIPE)
        self._texts = ("", "")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def isRunning(self) -> bool:
        """Return True until the process has ended."""
        return self._reader.is_alive()

    def finish(self) -> str:
        """Wait for the process, and return its output: file and warnings, one per line.

        Raises:
            UserError: If the file could not be written.
        """
        self._reader.join()
        self._folder.cleanup()
        answer, errors = self._texts
        if self._process.returncode == 0:
            return "\n".join([answer.strip(), errors.strip()]).strip()
        lines = errors.strip().splitlines() or [_("The process ended without a message.")]
        isUserError = self._process.returncode == _USER_ERROR
        raise UserError(lines[-1], "", Code.OUTPUT_BAD if isUserError else Code.INTERNAL)

    def stop(self) -> None:
        """Kill the process, and remove partial files."""
        if self._process.poll() is None:
            kill_group(self._process)
        self._reader.join()
        self._folder.cleanup()
        sweep(self.path.parent)

    def _read(self) -> None:
        self._texts = self._process.communicate()


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
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    volume = segmentationNode.GetNodeReference(role)
    return [] if volume is None else (volume.GetAttribute(INSTANCES) or "").split()
