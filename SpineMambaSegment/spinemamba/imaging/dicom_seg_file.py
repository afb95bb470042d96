"""Read DICOM SEG of any writer: names, codes and voxels of its segments."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from spinemamba.common.errors import Code, UserError
from spinemamba.common.process_tuning import enough_memory
from spinemamba.imaging.seg_nrrd import Segment, SegmentationFile
from spinemamba.imaging.volume import Geometry, Volume

_SOP_CLASSES = (b"1.2.840.10008.5.1.4.1.1.66.4", b"1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation, and Label Map Segmentation. The meta header, at the start of a file, has it."""

_META_BYTES = 1024
_MOST_SEGMENTS = 255
_OMITTED_SLICES = 2
"""Empty slices that are added above and below: writers omit them, so that the first and the last
slice of a file are not the edge of the image."""


def is_dicom_seg(path: Path) -> bool:
    """Return whether a file is a DICOM SEG, or a folder holds nothing but one."""
    if (file := _file_of(path)) is None:
        return False
    try:
        with file.open("rb") as content:
            start = content.read(_META_BYTES)
    except OSError:  # reported by the reader
        return False
    return start[128:132] == b"DICM" and any(uid in start for uid in _SOP_CLASSES)


def _file_of(path: Path) -> Path | None:
    try:
        if not path.is_dir():
            return path
        files = [file for file in path.iterdir() if not file.name.startswith(".")]
    except OSError:
        return None
    return files[0] if len(files) == 1 and files[0].is_file() else None


@enough_memory()
def read_dicom_seg(path: Path) -> SegmentationFile:
    """Read a DICOM SEG.

    Args:
        path: The file, or a folder that holds nothing but it.

    Returns:
        Its segments, with the code of each as the tag ``TerminologyEntry``. Overlapping segments
        are in different layers.

    Raises:
        UserError: If it cannot be read, its frames are no 3-D image, or highdicom is not installed
            (DEPENDENCY_MISSING).
    """
    file = _file_of(path) or path
    highdicom = highdicom_module()
    try:
        seg = highdicom.seg.segread(str(file))
        numbers = [int(item.SegmentNumber) for item in seg.SegmentSequence]
        layers, places = _layers(seg, numbers)
    # Any of many exceptions of the parser; the file is somebody else's.
    except (ValueError, RuntimeError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{file.name} cannot be read as DICOM SEG: {error}.",
            "Load it in 3D Slicer and save it as .seg.nrrd.",
            Code.INPUT_BAD,
        ) from error
    segments = tuple(
        Segment(
            str(item.SegmentNumber),
            str(item.SegmentLabel),
            *places[int(item.SegmentNumber)],
            {"TerminologyEntry": _entry(item)},
            k,
        )
        for k, item in enumerate(seg.SegmentSequence)
    )
    extent = tuple((0, length - 1) for length in layers[0].geometry.shape[::-1])
    return SegmentationFile(layers, segments, extent, {})


def highdicom_module() -> ModuleType:
    """Import highdicom.

    Raises:
        UserError: If it is not installed (DEPENDENCY_MISSING).
    """
    try:
        return import_module("highdicom")
    except ModuleNotFoundError as error:
        raise UserError(
            "DICOM SEG needs the package highdicom, which is not installed.",
            "Install it with: pip install 'spinemamba[dicom]'; 3D Slicer brings it from 5.12 on.",
            Code.DEPENDENCY_MISSING,
        ) from error


def _layers(
    seg: Any, numbers: Sequence[int]
) -> tuple[tuple[Volume, ...], dict[int, tuple[int, int]]]:
    """Return label maps, and value and layer of each segment number."""
    if max(numbers) <= _MOST_SEGMENTS:
        try:
            whole = seg.get_volume(combine_segments=True, dtype=np.uint8)
            return (_volume(whole),), {number: (number, 0) for number in numbers}
        except RuntimeError:  # segments overlap
            pass
    parts = [seg.get_volume(segment_numbers=[number]) for number in numbers]
    layers = tuple(_volume(part.squeeze_channel()) for part in parts)
    return layers, {number: (1, layer) for layer, number in enumerate(numbers)}


def _volume(stored: Any) -> Volume:
    """Return a volume of highdicom, whose axes are slices, rows and columns, in LPS."""
    array = (np.asarray(stored.array) + 0.5).astype(np.uint8)  # 1.0 in a fractional SEG
    steps = np.asarray(stored.affine)[:3, :3]
    spacing = np.linalg.norm(steps, axis=0)
    origin = np.asarray(stored.affine)[:3, 3] - _OMITTED_SLICES * steps[:, 0]
    array = np.pad(array, ((_OMITTED_SLICES,) * 2, (0, 0), (0, 0)))
    geometry = Geometry(
        array.shape,
        tuple(float(mm) for mm in spacing),
        tuple(float(mm) for mm in origin),
        (steps / spacing)[:, ::-1],
    )
    return Volume(array, geometry)


def _entry(item: Any) -> str:
    """Return the codes of a segment in the form of Slicer's terminology entry."""
    category = _code(item.get("SegmentedPropertyCategoryCodeSequence"))
    kinds = item.get("SegmentedPropertyTypeCodeSequence")
    modifiers = kinds[0].get("SegmentedPropertyTypeModifierCodeSequence") if kinds else None
    return "~".join(("", category, _code(kinds), _code(modifiers), "", "^^", "^^"))


def _code(sequence: Any) -> str:
    if not sequence:
        return "^^"
    item = sequence[0]
    scheme, value = item.get("CodingSchemeDesignator", ""), item.get("CodeValue", "")
    return f"{scheme}^{value}^{item.get('CodeMeaning', '')}"
