"""Load the vertebrae to export from the files of a run or of a review in Slicer, for the shell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from spinemamba.anatomy.label_schemes import Numbering
from spinemamba.common.errors import UserError
from spinemamba.export.item import LeftOut, Vertebra, cut_by_result, label_centroids
from spinemamba.export.meshing.raw_surface import Mask, Place
from spinemamba.imaging.dicom_seg_file import is_dicom_seg
from spinemamba.imaging.seg_nrrd import Segment
from spinemamba.imaging.structure_folder import is_structure_folder
from spinemamba.imaging.volume import Box, Geometry
from spinemamba.labelmaps.read import (
    LabelFile,
    NamedLabel,
    are_parts,
    read_label_file,
    result_beside,
)
from spinemamba.protocol.case_source import CaseSource, Located
from spinemamba.protocol.image_formats import LABEL_FORMATS
from spinemamba.protocol.manifest import Origin
from spinemamba.protocol.result import RESULT_END, Result, read_result
from spinemamba.protocol.review import APPROVED, BY_TAG, STATUS_TAG, STATUS_TEXT

_SEGMENTATION_END = ".seg.nrrd"
_RUN_TAG = "SpineMamba.Run"


@dataclass(frozen=True)
class RunFiles:
    """The two files of a run.

    Attributes:
        labels: Label map.
        result: result.json, or None.
    """

    labels: Path
    result: Path | None


def find_files(path: Path) -> RunFiles:
    """Return the files of a run, given one of them. Both are in the same folder.

    Raises:
        UserError: If the file is missing, or a result.json has no labels.
    """
    if is_structure_folder(path) or is_dicom_seg(path):
        return RunFiles(path, None)
    if path.is_dir():
        raise UserError(
            f"{path} is a folder.", "Give the label image of a run, or its result.json."
        )
    if not path.is_file():
        raise UserError(f"Input not found: {path}.", "Check the path.")
    lower = path.name.lower()
    ending = next((e for e in LABEL_FORMATS if lower.endswith(e)), "")
    if ending:
        return RunFiles(path, result_beside(path))
    if not lower.endswith(RESULT_END):
        raise UserError(
            f"{path.name} is neither a label map nor a result of a run.",
            f"Give a label map ({', '.join(LABEL_FORMATS)}) or a file ...{RESULT_END}.",
        )
    stem = path.name[: -len(RESULT_END)]
    for ending in LABEL_FORMATS:
        if (labels := path.with_name(stem + ending)).is_file():
            return RunFiles(labels, path)
    raise UserError(
        f"The labels of {path.name} are not in its folder.", f"Put {stem}{_SEGMENTATION_END} there."
    )


def read_vertebrae(files: RunFiles, numbering: Numbering | None = None) -> list[Vertebra]:
    """Return the vertebrae of a run, from its files.

    Raises:
        UserError: If a file cannot be read, or has no vertebra.
    """
    return vertebrae_of(read_label_file(files.labels, numbering), files)


def vertebrae_of(content: LabelFile, files: RunFiles) -> list[Vertebra]:
    """Return the vertebrae of a label file.

    Raises:
        UserError: If its result.json cannot be read, or it has no vertebra.
    """
    result = None if files.result is None else read_result(files.result)
    boxes = [_boxes(layer.array) for layer in content.layers]
    place = _place_of(content.layers[0].geometry)
    vertebrae = []
    for labels in _grouped(content):
        first, level = labels[0].segment, labels[0].level.name
        values = [label.segment.value for label in labels]
        present = [boxes[first.layer][v] for v in values if v in boxes[first.layer]]
        vertebrae.append(
            Vertebra(
                level=level,
                load=partial(_mask, content.layers[first.layer].array, present, values),
                place=place,
                segment_id=first.segment_id,
                cut_sides=cut_by_result(result, level),
                image_xyz=content.image_xyz,
                reviewed=first.tags.get(STATUS_TAG) == STATUS_TEXT[APPROVED],
                reviewed_by=first.tags.get(BY_TAG, ""),
                origin=_origin(first, result),
            )
        )
    if not vertebrae:
        raise UserError(f"{content.name} has no vertebra.", "Choose the labels of a spine.")
    return vertebrae


def source_of(content: LabelFile, case: str) -> CaseSource:
    """Return the case source, which distinguishes a label file from those of other cases.

    Args:
        content: The file.
        case: Name of the case before conversion to a safe file name.
    """
    centroids = [label_centroids(layer.array) for layer in content.layers]
    geometry = content.layers[0].geometry
    located = {}
    for labels in _grouped(content):
        optional = [centroids[x.segment.layer].get(x.segment.value) for x in labels]
        parts = [part for part in optional if part is not None]
        if parts:
            largest = max(parts, key=lambda part: part.voxels)
            centre_mm = geometry.to_lps_mm(np.array(largest.centroid_zyx)).round(3)
            voxels = sum(part.voxels for part in parts)
            volume_ml = voxels * geometry.voxel_ml
            located.setdefault(
                labels[0].level.name, Located(tuple(centre_mm.tolist()), round(volume_ml, 6))
            )
    return CaseSource.of(case, located)


def _place_of(geometry: Geometry) -> Place:
    """Return the function that maps voxel indices of a grid to LPS."""
    return lambda index_xyz: geometry.to_lps_mm(index_xyz[:, ::-1])


def _grouped(content: LabelFile) -> list[list[NamedLabel]]:
    """Group the labels by vertebra: one label each, or the parts of a sacrum."""
    sacrum = [x for x in content.vertebrae if x.level.name == "Sacrum"]
    in_one_layer = len({x.segment.layer for x in sacrum}) == 1
    if in_one_layer and (content.numbering is not None or are_parts(sacrum)):
        return [*([x] for x in content.vertebrae if x not in sacrum), sacrum]
    return [[x] for x in content.vertebrae]


def _boxes(array: np.ndarray) -> dict[int, Box]:
    """Return the bounding box of each nonzero value of a label map."""
    boxes = ndimage.find_objects(array.astype(np.int32, copy=False), max(int(array.max()), 1))
    return {value: box for value, box in enumerate(boxes, 1) if box is not None}


def _mask(array: np.ndarray, boxes: list[Box], values: list[int]) -> Mask:
    if not boxes:
        raise LeftOut("It is empty.")
    box = tuple(
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*boxes, strict=True)
    )
    return Mask(np.isin(array[box], values), tuple(s.start for s in box[::-1]))


def _origin(segment: Segment, result: Result | None) -> Origin:
    if result is None or segment.tags.get(_RUN_TAG):
        return Origin.from_tags(segment.tags)
    return Origin(
        result.model_name,
        result.model_version,
        result.model_hash,
        result.package_version,
        result.run_id,
    )
