"""Export vertebrae as a DICOM Segmentation that refers to its source series.

DICOM PS3.3 A.51, written by highdicom. Patient and study are those of the series, as the standard
requires, so that the file can be stored in the archive of the series.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from spinemamba import __version__
from spinemamba.anatomy.labels import BY_NAME, ORDER, Label
from spinemamba.anatomy.terminology import CATEGORY, PLAIN_VERTEBRA, PRIVATE_SCHEME, meaning
from spinemamba.common.atomic_files import exists_error, write_together
from spinemamba.common.errors import UserError
from spinemamba.common.progress import Warn
from spinemamba.export.dicom_source import (
    patient_values_suppressed,
    read_sources,
    slice_thickness_mm,
)
from spinemamba.export.item import LeftOut, Vertebra
from spinemamba.export.seg_uids import SegUids, new_uids
from spinemamba.imaging.dicom_seg_file import highdicom_module
from spinemamba.imaging.formats.dicom import find_stack
from spinemamba.imaging.formats.dicom_stack import Stack
from spinemamba.imaging.volume import GRID_TOLERANCE_VOX, Geometry

ALGORITHM = "SpineMamba Segment"


@dataclass(frozen=True)
class Content:
    """Texts that say what a file contains.

    Attributes:
        description: Content Description.
        label: Content Label, in capitals.
        series: Series Description.
        series_number: Far from the series numbers of scanners.
    """

    description: str
    label: str
    series: str
    series_number: int


VERTEBRAE = Content("Vertebrae", "VERTEBRAE", "Vertebrae (SpineMamba Segment, research use)", 9001)


def write_dicom_seg(
    vertebrae: Sequence[Vertebra],
    series: Path,
    path: Path,
    *,
    overwrite: bool = False,
    uids: SegUids | None = None,
    warn: Warn = lambda message: None,
) -> list[str]:
    """Write a DICOM SEG with one segment per vertebra, from cranial to caudal.

    Args:
        vertebrae: Vertebrae on the grid of the series.
        series: Folder of the source series, or one of its files.
        path: File to write.
        overwrite: Whether an existing file may be replaced.
        uids: Identifiers of the file; None for new ones.
        warn: Called with each warning about the series.

    Returns:
        The written levels.

    Raises:
        UserError: If highdicom is missing (DEPENDENCY_MISSING), the series cannot be read,
            vertebrae are not on its grid or overlap, or the file cannot be written.
    """
    if path.exists() and not overwrite:
        raise exists_error([path])
    highdicom = highdicom_module()
    stack = find_stack(series, warn)
    ordered = sorted(vertebrae, key=lambda v: ORDER[v.level])
    numbers, present = segment_numbers(ordered, stack.geometry)
    uids = uids or new_uids()
    descriptions = [_description(highdicom, k, v, uids) for k, v in enumerate(present, 1)]
    with patient_values_suppressed():
        data = encoded(stack, numbers, descriptions, VERTEBRAE, uids=uids, warn=warn)
    write_together({path: data}, [path] if overwrite else [])
    return [vertebra.level for vertebra in present]


def encoded(
    stack: Stack,
    numbers: np.ndarray,
    descriptions: Sequence[Any],
    content: Content,
    *,
    uids: SegUids,
    warn: Warn,
) -> bytes:
    """Return the bytes of a file.

    Args:
        stack: The series.
        numbers: Segment number of each voxel of the series, 0 for none, (z, y, x).
        descriptions: highdicom's description of each segment.
        content: Texts that say what the file contains.
        uids: Identifiers of the file.
        warn: Called with each warning about invalid attributes.

    Raises:
        UserError: If highdicom is missing (DEPENDENCY_MISSING), or refuses the series.
    """
    highdicom = highdicom_module()
    sources = read_sources(stack, warn)
    try:
        dataset = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=numbers,
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=descriptions,
            series_instance_uid=uids.series,
            series_number=content.series_number,
            sop_instance_uid=uids.instance,
            instance_number=1,
            manufacturer="SpineMamba",
            manufacturer_model_name=ALGORITHM,
            software_versions=__version__,
            device_serial_number="none",
            content_description=content.description,
            content_label=content.label,
            pixel_measures=_pixel_measures(highdicom, stack),
        )
        dataset.SeriesDescription = content.series
        dataset.ContentCreatorName = ""  # must be present, and highdicom leaves it out
        dataset.save_as(buffer := io.BytesIO())
    # The message of the error may contain patient data.
    except Exception as error:
        raise UserError(
            "No DICOM SEG can be made of this series: highdicom refuses it "
            f"({type(error).__name__}).",
            "Choose the series as it came from the archive.",
        ) from None
    return buffer.getvalue()


def _pixel_measures(highdicom: ModuleType, stack: Stack) -> Any:
    """Return the voxel size. The step is the distance of slice positions, not a stated one."""
    step_mm, *in_plane_mm = stack.geometry.spacing_mm
    return highdicom.PixelMeasuresSequence(
        pixel_spacing=in_plane_mm,
        slice_thickness=slice_thickness_mm(stack),
        spacing_between_slices=step_mm,
    )


def segment_numbers(
    vertebrae: Sequence[Vertebra], grid: Geometry
) -> tuple[np.ndarray, list[Vertebra]]:
    """Return the segment number of each voxel of the series, (z, y, x), and the vertebrae.

    Raises:
        UserError: If voxels are not on the grid, or vertebrae overlap.
    """
    numbers = np.zeros(grid.shape, np.uint8)
    present: list[Vertebra] = []
    for vertebra in vertebrae:
        try:
            mask = vertebra.load()
        except LeftOut:
            continue
        index = np.argwhere(mask.voxels)[:, ::-1] + np.array(mask.first_xyz)
        if not len(index):
            continue
        place = grid.to_index_zyx(vertebra.place(index.astype(float)))
        voxels = np.rint(place).astype(int)
        outside = (voxels < 0).any() or (voxels >= np.array(grid.shape)).any()
        if outside or np.abs(place - voxels).max() > GRID_TOLERANCE_VOX:
            raise UserError(
                f"{vertebra.level} does not lie on the voxels of the DICOM series.",
                "Choose the series that was segmented. A resampled image has no series.",
            )
        where = tuple(voxels.T)
        if taken := int(np.count_nonzero(numbers[where])):
            raise UserError(
                f"{vertebra.level} shares {taken} voxels with another vertebra.",
                "Assign each voxel to one vertebra, and export again.",
            )
        present.append(vertebra)
        numbers[where] = len(present)
        if np.count_nonzero(numbers == len(present)) != len(index):
            raise UserError(
                f"The voxels of {vertebra.level} are smaller than those of the DICOM series.",
                "Choose the series that was segmented.",
            )
    if not present:
        raise UserError("There is no vertebra to export.", "Segment a spine first.")
    return numbers, present


def _description(highdicom: ModuleType, number: int, vertebra: Vertebra, uids: SegUids) -> Any:
    """Return the description of one segment: level, code, colour and algorithm."""
    label, origin = BY_NAME[vertebra.level], vertebra.origin
    automatic = bool(origin.model)
    kind = "MANUAL" if not automatic else "SEMIAUTOMATIC" if vertebra.reviewed else "AUTOMATIC"
    identification = highdicom.AlgorithmIdentificationSequence(
        name=ALGORITHM,
        family=highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
        version=origin.package_version or __version__,
        parameters={
            "model": f"{origin.model} {origin.model_version}",
            "weights": origin.model_hash,
            "run": origin.run_id,
        },
    )
    description = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.name,
        segmented_property_category=concept(CATEGORY),
        segmented_property_type=_property_type(highdicom, label),
        algorithm_type=kind,
        algorithm_identification=identification if automatic else None,
        tracking_uid=uids.tracking(vertebra.level),
        tracking_id=label.name,
        display_color=highdicom.color.CIELabColor.from_rgb(*label.color),
    )
    if label.snomed is None:
        # As in Slicer: the code of a vertebra, with a private modifier for the level.
        modifier = f"{PRIVATE_SCHEME}^{label.name}^{meaning(label)}"
        kind_item = description.SegmentedPropertyTypeCodeSequence[0]
        kind_item.SegmentedPropertyTypeModifierCodeSequence = [concept(modifier)]
    return description


def _property_type(highdicom: ModuleType, label: Label) -> Any:
    if label.snomed is None:
        return concept(PLAIN_VERTEBRA)
    return highdicom.sr.CodedConcept(label.snomed, "SCT", meaning(label))


def concept(entry: str) -> Any:
    """Return highdicom's code for ``scheme^value^meaning``."""
    scheme, value, words = entry.split("^")
    return highdicom_module().sr.CodedConcept(value, scheme, words)
