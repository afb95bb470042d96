"""A DICOM SEG of a segmentation, by a process of its own: highdicom stays out of Slicer's."""

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
USER = 2
"""Exit code of a command whose last line of errors tells the user what to do."""


class DicomRun:
    """Runs ``spinemamba export --dicom-seg``; starts at once.

    Args:
        segmentationNode: What to write; its volume was loaded from DICOM.
        path: File to write; the user was asked whether it may be replaced.
        fileOf: Returns the file of an instance UID, as Slicer's DICOM database does.

    Raises:
        UserError: If the volume is not from DICOM, or its files are gone.
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
        """Return whether the file is still to come."""
        return self._reader.is_alive()

    def finish(self) -> str:
        """Return what was written and what to know about it, in lines; waits for it.

        Raises:
            UserError: If it could not be written.
        """
        self._reader.join()
        self._folder.cleanup()
        answer, errors = self._texts
        if self._process.returncode == 0:
            return "\n".join([answer.strip(), errors.strip()]).strip()
        told = errors.strip().splitlines()[-1:] or [_("The process ended without a word.")]
        isTheirs = self._process.returncode == USER
        raise UserError(told[0], "", Code.OUTPUT_BAD if isTheirs else Code.INTERNAL)

    def stop(self) -> None:
        """End it at once; no file is left."""
        if self._process.poll() is None:
            kill_group(self._process)
        self._reader.join()
        self._folder.cleanup()
        sweep(self.path.parent)

    def _read(self) -> None:
        self._texts = self._process.communicate()


def isFromDicom(segmentationNode: slicer.vtkMRMLSegmentationNode) -> bool:
    """Return whether the volume of a segmentation was loaded from DICOM."""
    return bool(_instances(segmentationNode))


def sourceFile(
    segmentationNode: slicer.vtkMRMLSegmentationNode, fileOf: Callable[[str], str]
) -> Path:
    """Return a file of the series that a segmentation was made from.

    Raises:
        UserError: If its volume is not from DICOM, or the file is gone.
    """
    instances = _instances(segmentationNode)
    if not instances:
        raise UserError(
            _("The volume was not loaded from DICOM."), _("Load its series with the DICOM module.")
        )
    path = fileOf(instances[0])
    if not path or not Path(path).is_file():
        raise UserError(
            _("The DICOM files of the volume are not where the database says."),
            _("Import the series into the DICOM database again."),
        )
    return Path(path)


def _instances(segmentationNode: slicer.vtkMRMLSegmentationNode) -> list[str]:
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    volume = segmentationNode.GetNodeReference(role)
    return [] if volume is None else (volume.GetAttribute(INSTANCES) or "").split()
