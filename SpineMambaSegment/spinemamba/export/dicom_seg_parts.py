"""Export the parts of a spine as a DICOM Segmentation that refers to its source series."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spinemamba import __version__
from spinemamba.anatomy.terminology import CATEGORY, SegmentInfo
from spinemamba.common.atomic_files import check_place, write_together
from spinemamba.common.errors import UserError
from spinemamba.common.progress import Warn
from spinemamba.export.dicom_seg import ALGORITHM, Content, concept, encoded
from spinemamba.export.dicom_source import patient_values_suppressed
from spinemamba.export.seg_uids import new_uids
from spinemamba.imaging.dicom_seg_file import highdicom_module
from spinemamba.imaging.formats.dicom import find_stack
from spinemamba.imaging.orientation import canonical_view, with_axes_of
from spinemamba.imaging.volume import Geometry, Volume

_NONE = "^^"
_PARTS = Content(
    "Parts of vertebrae, discs, spinal canal",
    "SPINE_PARTS",
    "Parts of vertebrae (SpineMamba Segment, research use)",
    9002,
)


def write_parts_seg(
    labels: Volume,
    segments: Sequence[SegmentInfo],
    series: Path,
    path: Path,
    *,
    overwrite: bool = False,
    warn: Warn = lambda message: None,
) -> None:
    """Write a DICOM SEG with one segment per part.

    Args:
        labels: Values of parts, on the grid of the series in any orientation.
        segments: The segments to write.
        series: Folder of the source series, or one of its files.
        path: File to write.
        overwrite: Whether an existing file may be replaced.
        warn: Called with each warning about the series.

    Raises:
        UserError: If highdicom is missing (DEPENDENCY_MISSING), the series cannot be read or has
            another grid, or the file cannot be written.
    """
    check_place(path, overwrite=overwrite)
    highdicom_module()
    stack = find_stack(series, warn)
    numbers = _numbers(_on_grid(labels, stack.geometry), segments)
    descriptions = [_description(number, segment) for number, segment in enumerate(segments, 1)]
    with patient_values_suppressed():
        data = encoded(stack, numbers, descriptions, _PARTS, uids=new_uids(), warn=warn)
    write_together({path: data}, [path] if overwrite else [])


def _on_grid(labels: Volume, grid: Geometry) -> np.ndarray:
    """Return the values of parts on the grid of a series.

    Raises:
        UserError: If the labels have other voxels.
    """
    series = Volume(np.zeros(grid.shape, bool), grid)
    upright = canonical_view(labels)[0].geometry
    if difference := canonical_view(series)[0].geometry.difference(upright):
        raise UserError(
            f"The labels do not lie on the voxels of the DICOM series: {difference}.",
            "Choose the series that was segmented. A resampled image has no series.",
        )
    return with_axes_of(series, labels).array


def _numbers(values: np.ndarray, segments: Sequence[SegmentInfo]) -> np.ndarray:
    """Return the segment number of each voxel, from 1 in the order of the segments; 0 for none."""
    table = np.zeros(max(int(values.max()), *(s.value for s in segments)) + 1, np.uint16)
    table[[segment.value for segment in segments]] = np.arange(1, len(segments) + 1)
    return table[values]


def _description(number: int, segment: SegmentInfo) -> Any:
    """Return the description of a segment: codes of part, side and level, colour, algorithm."""
    highdicom = highdicom_module()
    kind, modifier, _, region = segment.terminology.split("~")[2:6]
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=concept(CATEGORY),
        segmented_property_type=concept(kind),
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=ALGORITHM,
            family=highdicom.sr.CodedConcept("123104", "DCM", "Morphological Operations"),
            version=__version__,
        ),
        tracking_uid=highdicom.UID(),
        tracking_id=segment.name,
        anatomic_regions=None if region == _NONE else [concept(region)],
        display_color=highdicom.color.CIELabColor.from_rgb(*segment.color),
    )
    if modifier != _NONE:
        item = description.SegmentedPropertyTypeCodeSequence[0]
        item.SegmentedPropertyTypeModifierCodeSequence = [concept(modifier)]
    return description
