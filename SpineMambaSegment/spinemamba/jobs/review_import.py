"""Labels of any software, with quality flags, as a segmentation for the review."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from spinemamba.anatomy.label_schemes import Numbering
from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.anatomy.terminology import SegmentInfo, segment_info
from spinemamba.common.atomic_files import all_or_none
from spinemamba.common.errors import Code, UserError
from spinemamba.common.progress import Warn
from spinemamba.findings.labelled_spine import LabelledVertebra, result_of
from spinemamba.findings.shape_flags import ShapeFlags, with_metal
from spinemamba.imaging.intensity import choose_modality
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import to_image
from spinemamba.labelmaps.read import LabelledSpine, read_vertebra_labels
from spinemamba.protocol.flags import names, sentences
from spinemamba.protocol.result import Result
from spinemamba.protocol.review import (
    FLAGGED,
    INSTANCE_TAG,
    STATUS_TAG,
    STATUS_TEXT,
    TAKEN,
    TAKEN_TAG,
)


@dataclass(frozen=True)
class ImportedSpine:
    """Labels with what the review shows.

    Attributes:
        spine: The labels as read; on the grid of the image, if one is given.
        result: Sizes, positions and flags.
    """

    spine: LabelledSpine
    result: Result


def import_labels(
    labels: Path, numbering: Numbering | None, image: Path | None, warn: Warn
) -> ImportedSpine:
    """Read labels of any software, and check them as far as no network is needed.

    Args:
        labels: A label map, segmentation, DICOM SEG, or folder with one mask per structure.
        numbering: As for `read_vertebra_labels`.
        image: The segmented image; vertebrae that its edge cuts, or with metal, are flagged.
        warn: Called with each warning.

    Raises:
        UserError: If the labels or the image cannot be read, or do not belong together.
    """
    spine = read_vertebra_labels(labels, numbering)
    volume = None if image is None else read_volume(image, warn)
    if volume is not None:
        spine = replace(spine, volume=_on_image(spine.volume, volume))
    array = spine.volume.array
    boxes = enumerate(ndimage.find_objects(array), start=1)
    vertebrae = [
        LabelledVertebra(
            BY_VALUE[value].name, array[box] == value, tuple(part.start for part in box)
        )
        for value, box in boxes
        if box is not None
    ]
    result = result_of(vertebrae, spine.volume.geometry)
    return ImportedSpine(spine, result if volume is None else _with_metal(result, volume, array))


def save_imported(done: ImportedSpine, labels: Path, result: Path, *, overwrite: bool) -> None:
    """Write the segmentation and its result, both or none.

    Raises:
        UserError: If a file cannot be written, or exists and must not be replaced (OUTPUT_BAD,
            DISK_FULL).
    """
    with all_or_none([labels, result], overwrite=overwrite) as partial:
        write_labels(done.spine.volume, partial[labels], segments_of(done.result))
        done.result.write(partial[result])


def segments_of(result: Result) -> list[SegmentInfo]:
    """Return name, colour, code and flags of each vertebra, from head to tail."""
    infos = []
    for item in result.instances:
        tags = {
            TAKEN_TAG: TAKEN,
            "SpineMamba.VolumeMl": f"{item.volume_ml:.1f}",
            "SpineMamba.Flags": sentences(item.flags),
            "SpineMamba.FlagNames": names(item.flags),
            INSTANCE_TAG: str(item.id),
            STATUS_TAG: STATUS_TEXT[FLAGGED] if item.flags else "",
        }
        infos.append(segment_info(item.label, {key: text for key, text in tags.items() if text}))
    return infos


def _on_image(labels: Volume, image: Volume) -> Volume:
    """Return labels on the grid of the image, by nearest neighbour.

    DICOM SEG omits empty slices, so that its grid is a part of the image's.

    Raises:
        UserError: If most labels lie outside of the image.
    """
    if labels.geometry.matches(image.geometry):
        return labels
    nearest, still = sitk.sitkNearestNeighbor, sitk.Transform()
    resampled = sitk.Resample(to_image(labels), to_image(image), still, nearest, 0)
    moved = image.with_array(sitk.GetArrayFromImage(resampled))
    before = np.count_nonzero(labels.array) * labels.geometry.voxel_ml
    after = np.count_nonzero(moved.array) * image.geometry.voxel_ml
    if after < before / 2:
        raise UserError(
            f"Of {before:.0f} mL of labels, {after:.0f} mL lie in the image.",
            "Give the image that was segmented.",
            Code.INPUT_BAD,
        )
    return moved


def _with_metal(result: Result, image: Volume, labels: np.ndarray) -> Result:
    modality = choose_modality(image, "auto")
    if modality != "ct":
        return replace(result, modality=modality)
    values = {item.id: item.label for item in result.instances}
    none = ShapeFlags({}, ())
    flags = with_metal(none, image.array, labels, values, image.geometry.voxel_ml).by_number
    instances = (
        replace(item, flags=(*item.flags, *flags.get(item.id, ()))) for item in result.instances
    )
    return replace(result, instances=tuple(instances))
