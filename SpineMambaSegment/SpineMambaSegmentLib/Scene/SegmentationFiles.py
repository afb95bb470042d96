"""Saving a segmentation and its result as files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError
from SpineMambaSegmentLib.Scene.Provenance import RESULT_ATTRIBUTE

SEGMENTATION = ".seg.nrrd"
RESULT = ".json"


def writeSegmentation(segmentationNode: slicer.vtkMRMLSegmentationNode, path: Path) -> None:
    """Write all segments on the grid of the volume, without parent transforms.

    Args:
        segmentationNode: Not changed; its storage node keeps its file name.
        path: Replaced when the new file is complete.

    Raises:
        UserError: If it cannot be written (OUTPUT_BAD).
    """
    storage = slicer.vtkMRMLSegmentationStorageNode()
    try:
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=path.parent) as folder:
            partial = Path(folder) / f"spine{SEGMENTATION}"
            storage.SetFileName(str(partial))
            if not storage.WriteData(segmentationNode):
                raise _cannotWrite(path)
            partial.replace(path)
    except OSError as error:
        raise _cannotWrite(path) from error


def resultText(segmentationNode: slicer.vtkMRMLSegmentationNode) -> str | None:
    """Return the result.json of the run that made a segmentation; None if there is none."""
    return segmentationNode.GetAttribute(RESULT_ATTRIBUTE)


def writeResult(segmentationNode: slicer.vtkMRMLSegmentationNode, path: Path) -> None:
    """Write the result.json of the run that made a segmentation.

    Raises:
        UserError: If it cannot be written (OUTPUT_BAD).
        ValueError: If no run made the segmentation.
    """
    text = resultText(segmentationNode)
    if text is None:
        raise ValueError("no run made this segmentation")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _cannotWrite(path) from error


def _cannotWrite(path: Path) -> UserError:
    return UserError(
        _("{file} cannot be written.").format(file=path.name),
        _("Choose a folder that you may write to, on a disk with space left."),
        Code.OUTPUT_BAD,
    )
