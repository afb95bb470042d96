"""The files of a run, or of a review in Slicer, as vertebrae to export. For the shell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from spinemamba.errors import UserError
from spinemamba.export.draft import Mask, Place
from spinemamba.export.item import LeftOut, Vertebra, cut_by_result
from spinemamba.export.manifest import Origin
from spinemamba.image_file import FORMATS
from spinemamba.image_io import read_labels
from spinemamba.labels import LABELS
from spinemamba.output import LABEL_FORMATS
from spinemamba.result import Result, read_result
from spinemamba.segnrrd import Segment, SegmentationFile, read_segmentation
from spinemamba.terminology import level_of, segment_info
from spinemamba.volume import Geometry, Volume

RESULT_END = "_result.json"
SEGMENTATION_END = ".seg.nrrd"
COMPLETED = "completed"
"""What Slicer writes as the status of a segment that was reviewed."""

ENTRY_TAG, STATUS_TAG = "TerminologyEntry", "Segmentation.Status"
REVIEWER_TAG, RUN_TAG = "SpineMamba.ReviewedBy", "SpineMamba.Run"
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class RunFiles:
    """The two files of a run.

    Attributes:
        labels: Label image.
        result: result.json, None if there is none.
    """

    labels: Path
    result: Path | None


def find_files(path: Path) -> RunFiles:
    """Return the files of a run when one of them is given; they lie side by side.

    Raises:
        UserError: If there is no such file, or only a result.json without its labels.
    """
    if not path.is_file():
        raise UserError(f"Input not found: {path}.", "Check the path.")
    lower = path.name.lower()
    ending = next((e for e in LABEL_FORMATS if lower.endswith(e)), "")
    if ending:
        return RunFiles(path, result_beside(path))
    if not lower.endswith(RESULT_END):
        raise UserError(
            f"{path.name} is neither labels nor a result of a run.",
            f"Give a label image ({', '.join(LABEL_FORMATS)}) or a file ...{RESULT_END}.",
        )
    stem = path.name[: -len(RESULT_END)]
    for ending in LABEL_FORMATS:
        if (labels := path.with_name(stem + ending)).is_file():
            return RunFiles(labels, path)
    raise UserError(
        f"The labels of {path.name} are not beside it.", f"Put {stem}{SEGMENTATION_END} there."
    )


def result_beside(labels: Path) -> Path | None:
    """Return the result.json of the run that made a label image; None if none lies beside it."""
    lower = labels.name.lower()
    ending = next((e for e in (*LABEL_FORMATS, *FORMATS) if lower.endswith(e)), "")
    stem = labels.name[: len(labels.name) - len(ending)]
    result = labels.with_name(stem + RESULT_END)
    try:
        return result if result.is_file() else None
    except OSError:  # a name that no file system allows
        return None


def read_vertebrae(files: RunFiles) -> list[Vertebra]:
    """Return the vertebrae of a run, from its files.

    Raises:
        UserError: If a file cannot be read, or holds no vertebra.
    """
    result = None if files.result is None else read_result(files.result)
    if files.labels.name.lower().endswith(SEGMENTATION_END):
        content = read_segmentation(files.labels)
    else:
        content = _of_labels(read_labels(files.labels))
    found = _vertebrae(content, result)
    if not found:
        raise UserError(f"{files.labels.name} holds no vertebra.", "Choose the labels of a spine.")
    return found


def place_of(geometry: Geometry) -> Place:
    """Return where the voxels of a grid lie."""
    return lambda index_xyz: geometry.to_lps_mm(index_xyz[:, ::-1])


def _of_labels(volume: Volume) -> SegmentationFile:
    """Return a label image as a segmentation; values that are no level are left out."""
    extent = tuple((0, length - 1) for length in volume.geometry.shape[::-1])
    infos = [segment_info(label.value) for label in LABELS]
    segments = tuple(Segment(info.segment_id, info.name, info.value, 0, {}) for info in infos)
    present = set(_boxes(volume.array))
    return SegmentationFile((volume,), tuple(s for s in segments if s.value in present), extent)


def _vertebrae(content: SegmentationFile, result: Result | None) -> list[Vertebra]:
    boxes = [_boxes(layer.array) for layer in content.layers]
    place = place_of(content.layers[0].geometry)
    found = []
    for segment in content.segments:
        label = level_of(segment.name, segment.tags.get(ENTRY_TAG, ""))
        if label is None:
            continue
        box = boxes[segment.layer].get(segment.value)
        array = content.layers[segment.layer].array
        found.append(
            Vertebra(
                level=label.name,
                load=partial(_mask, array, box, segment.value),
                place=place,
                segment_id=segment.segment_id,
                cut_sides=cut_by_result(result, label.name),
                image_xyz=content.image_xyz,
                reviewed=segment.tags.get(STATUS_TAG) == COMPLETED,
                reviewed_by=segment.tags.get(REVIEWER_TAG, ""),
                origin=_origin(segment, result),
            )
        )
    return found


def _boxes(array: np.ndarray) -> dict[int, Box]:
    """Return the box around each value of a label image, without 0."""
    found = ndimage.find_objects(array.astype(np.int32, copy=False))
    return {value: box for value, box in enumerate(found, 1) if box is not None}


def _mask(array: np.ndarray, box: Box | None, value: int) -> Mask:
    if box is None:
        raise LeftOut("It is empty.")
    return Mask(array[box] == value, tuple(s.start for s in box[::-1]))


def _origin(segment: Segment, result: Result | None) -> Origin:
    if result is None or segment.tags.get(RUN_TAG):
        return Origin.from_tags(segment.tags)
    return Origin(
        result.model_name,
        result.model_version,
        result.model_hash,
        result.package_version,
        result.run_id,
    )
