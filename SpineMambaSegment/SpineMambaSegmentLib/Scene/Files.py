"""Files written from nodes, without parent transforms.

For the worker: volumes and label arrays as uncompressed NRRD. For the user: segmentations as
``.seg.nrrd``, and the result of a run as JSON.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import slicer
from slicer.i18n import tr as _
from vtk.util.numpy_support import vtk_to_numpy

from spinemamba.common.errors import Code, UserError
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf
from SpineMambaSegmentLib.Scene.Inputs import checkVolume
from SpineMambaSegmentLib.Scene.Provenance import RESULT_ATTRIBUTE

_BLOCK_BYTES = 1 << 26
"""Bytes per call of `write`. A call holds no GIL; between two calls the thread needs it, and
Slicer's main thread, which holds it also while it is idle, passes it on only at its next tick."""

SEGMENTATION = ".seg.nrrd"
RESULT = ".json"
_TYPES = {
    "int8": "signed char",
    "uint8": "unsigned char",
    "int16": "short",
    "uint16": "unsigned short",
    "int32": "int",
    "uint32": "unsigned int",
    "int64": "long long",
    "uint64": "unsigned long long",
    "float32": "float",
    "float64": "double",
}
"""NumPy types and their names in NRRD headers."""

Extent = tuple[int, int, int, int, int, int]


class ArrayFile:
    """Voxels to be written as a file, in any thread.

    Slicer's own writer would hold the GIL, and block the panel, for seconds on a large CT.

    Args:
        array: Values (k, j, i); must not change before they are written.
        grid: Grid of the array.
        path: File to write, ``.nrrd``.
    """

    def __init__(self, array: np.ndarray, grid: Grid, path: Path):
        self.grid, self._array, self._path = grid, array, path
        self._stopped = threading.Event()

    def write(self) -> None:
        """Write the file; returns early after `stop`.

        Raises:
            UserError: If the file cannot be written (DISK_FULL).
        """
        try:
            with self._path.open("wb") as file:
                file.write(_header(self.grid, self._array.dtype).encode("ascii"))
                step = max(1, _BLOCK_BYTES // max(1, self._array[:1].nbytes))
                for k in range(0, len(self._array), step):
                    if self._stopped.is_set():
                        return
                    file.write(np.ascontiguousarray(self._array[k : k + step]).data)
        except OSError as error:
            raise UserError(
                _("The volume could not be written to {path}.").format(path=self._path),
                _("Free some disk space, or choose another temporary folder in the settings."),
                Code.DISK_FULL,
            ) from error

    def stop(self) -> None:
        """Let `write` return early."""
        self._stopped.set()


class VolumeFile(ArrayFile):
    """File of a volume node. The voxels are referenced at once; `write` may run in any thread.

    Args:
        volumeNode: A scalar volume.
        path: File to write, ``.nrrd``.
        extent: First and last voxels (i, i, j, j, k, k) to write; None for all.

    Raises:
        UserError: If the node is not an image that can be segmented.
    """

    def __init__(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        path: Path,
        extent: Extent | None = None,
    ):
        checkVolume(volumeNode)
        array, grid = voxelsIn(volumeNode, extent)
        super().__init__(array, grid, path)


def voxelsIn(
    volumeNode: slicer.vtkMRMLScalarVolumeNode, extent: Extent | None = None
) -> tuple[np.ndarray, Grid]:
    """Return a view of a volume's voxels (k, j, i), optionally of an extent, and their grid."""
    whole = gridOf(volumeNode)
    i0, i1, j0, j1, k0, k1 = extent or [n for m in whole.size for n in (0, m - 1)]
    scalars = volumeNode.GetImageData().GetPointData().GetScalars()
    array = vtk_to_numpy(scalars).reshape(whole.size[::-1])
    part = array[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1]
    return part, whole.cut((i0, i1, j0, j1, k0, k1))


def writeVolume(volumeNode: slicer.vtkMRMLScalarVolumeNode, path: Path) -> None:
    """Write a volume on its own grid; raises the errors of `VolumeFile`."""
    VolumeFile(volumeNode, path).write()


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


def _header(grid: Grid, kind: np.dtype) -> str:
    """Return the header of an NRRD file with raw encoding, i fastest, in LPS."""
    toLps = np.diag([-1.0, -1.0, 1.0])
    directions = " ".join(_vector(toLps @ grid.ijkToRas[:3, axis]) for axis in range(3))
    lines = {
        "type": _TYPES[kind.name],
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, grid.size)),
        "space directions": directions,
        "kinds": "domain domain domain",
        "endian": sys.byteorder,
        "encoding": "raw",
        "space origin": _vector(toLps @ grid.ijkToRas[:3, 3]),
    }
    return "NRRD0004\n" + "".join(f"{name}: {value}\n" for name, value in lines.items()) + "\n"


def _vector(numbers: np.ndarray) -> str:
    return "(" + ",".join(repr(float(n)) for n in numbers) + ")"


def _cannotWrite(path: Path) -> UserError:
    return UserError(
        _("{file} cannot be written.").format(file=path.name),
        _("Choose a folder that you may write to, on a disk with space left."),
        Code.OUTPUT_BAD,
    )
