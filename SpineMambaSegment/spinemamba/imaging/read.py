"""Read images and label maps in any supported format."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from spinemamba.common.atomic_files import check_spelling
from spinemamba.common.errors import UserError
from spinemamba.common.process_tuning import enough_memory
from spinemamba.common.progress import Warn
from spinemamba.imaging.formats.image_file import read_file, read_header
from spinemamba.imaging.formats.image_header import ImageHeader
from spinemamba.imaging.formats.mr_sequence import SEQUENCE
from spinemamba.imaging.formats.stated_geometry import is_orthonormal, not_orthonormal
from spinemamba.imaging.volume import Geometry, Volume

LEAST_VOXELS = 8
"""Minimum along every axis; a thinner image is a slice, not a volume."""

_LABEL_ROUNDING = 0.05
"""Largest deviation of a label from an integer. Float labels stored with a scale are inexact."""

_VOXEL_MM = (0.01, 50.0)
"""Accepted range of voxel sizes; smaller ones are metres written as millimetres."""

_DICOM_MARK = (128, b"DICM")
"""Offset and content of the DICOM prefix; many DICOM files have no suffix."""

_MODALITY_TAG, _FRAME_TAG = "0008|0060", "0020|0052"
_FRAME_HASH = "SpineMamba.FrameHash"
"""Metadata key that stands for the Frame of Reference UID, which identifies a study."""


def read_volume(path: Path, warn: Warn | None = None) -> Volume:
    """Read an image.

    Args:
        path: NRRD, NIfTI or MetaImage file, DICOM file, or folder with a DICOM series.
        warn: Called with each warning about the file.

    Returns:
        The image as stored: int16 if all values are integers in its range, else float32. NaN
        regions that reach the border are outside the field of view and get the minimum of the
        image.

    Raises:
        UserError: If the file is missing or damaged, its geometry is missing or contradictory, or
            it is not a 3-D grey-value image of at least `LEAST_VOXELS` voxels along every axis
            with finite, non-constant values; if memory is too small (OOM_HOST).
    """
    warn = warn or _ignore
    with enough_memory():
        volume = _checked(_open(path, warn), path.name)
        array = _without_nan(volume.array, path.name, warn)
        return volume.with_array(_values(array, path.name))


def read_volume_header(path: Path) -> ImageHeader:
    """Read the header of an image file, and refuse an image that `read_volume` would refuse by it.

    Args:
        path: NRRD, NIfTI or MetaImage file.

    Raises:
        UserError: If the header is damaged, or not of a 3-D scalar image.
    """
    header = read_header(path)
    _check_axes(path.name, header.volume_sizes, header.components)
    return header


def tags_of(volume: Volume) -> dict[str, str]:
    """Return the metadata of an image file from which `read_volume` takes what is not a voxel."""
    known = {
        _MODALITY_TAG: (volume.modality or "").upper(),
        _FRAME_HASH: volume.frame or "",
        SEQUENCE: volume.sequence or "",
    }
    return {key: value for key, value in known.items() if value}


def read_labels(path: Path) -> Volume:
    """Read a label map. It may be empty.

    Args:
        path: As for `read_volume`.

    Returns:
        The label values: as stored if the type is an integer type, else int16.

    Raises:
        UserError: As `read_volume`, but a constant image is accepted; if a value differs by more
            than `_LABEL_ROUNDING` from an integer.
    """
    with enough_memory():
        return labels_from_image(_open(path, _ignore), path.name)


def labels_from_image(image: sitk.Image, name: str) -> Volume:
    """Convert an image to label values. Arguments and errors as in `read_labels`."""
    volume = _checked(image, name)
    if volume.array.dtype.kind in "iu":
        return volume
    with np.errstate(invalid="ignore"):  # NaN is rejected by the comparison below
        labels = np.rint(volume.array).astype(np.int16)
        wrong = volume.array[~(np.abs(volume.array - labels) <= _LABEL_ROUNDING)]
    if wrong.size:
        raise UserError(
            f"{name} holds values that are not labels, such as {wrong[0]:g}.",
            "Choose a label map, not the CT, the MR or probabilities.",
        )
    return volume.with_array(labels)


def _open(path: Path, warn: Warn) -> sitk.Image:
    check_spelling(path)
    if not _exists(path):
        raise UserError(f"Input not found: {path}.", "Check the path.")
    if path.is_dir() or _is_dicom(path):
        from spinemamba.imaging.formats.dicom import read_series

        return read_series(path, warn)
    return read_file(path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # the name is invalid on this file system
        return False


def _is_dicom(path: Path) -> bool:
    offset, mark = _DICOM_MARK
    try:
        with path.open("rb") as file:
            start = file.read(offset + len(mark))
    except OSError as error:
        raise UserError(
            f"{path.name} cannot be read: {error.strerror}.",
            "Ask for permission to read it, or copy it to a folder of your own.",
        ) from error
    return path.suffix.lower() in (".dcm", ".ima") or start[offset:] == mark


def _checked(image: sitk.Image, name: str) -> Volume:
    """Convert an image to a volume with its values as stored.

    Raises:
        UserError: If it is not a 3-D scalar image, is too small or has an invalid geometry.
    """
    size = image.GetSize()
    if len(size) == 4 and size[3] == 1:
        image, size = image[:, :, :, 0], size[:3]
    _check_axes(name, size, image.GetNumberOfComponentsPerPixel())
    if "complex" in image.GetPixelIDTypeAsString():
        raise UserError(
            f"{name} has the pixel type '{image.GetPixelIDTypeAsString()}'.",
            "Choose a grey-value CT or MR volume, for MR the magnitude image.",
        )
    if min(image.GetSize()) < LEAST_VOXELS:
        raise UserError(
            f"{name} has only {min(image.GetSize())} voxels along one axis "
            f"({' x '.join(map(str, image.GetSize()))}).",
            f"Choose a volume with at least {LEAST_VOXELS} voxels along every axis.",
        )
    geometry = _geometry(image, name)
    sequence = image.GetMetaData(SEQUENCE) if image.HasMetaDataKey(SEQUENCE) else ""
    array = sitk.GetArrayFromImage(image)
    return Volume(array, geometry, _modality(image), _frame(image), sequence or None)


def _check_axes(name: str, sizes: tuple[int, ...], components: int) -> None:
    """Refuse colours, vectors, and sequences, whose frames are a fourth axis or components.

    Raises:
        UserError: If the image is not a 3-D scalar image.
    """
    if components != 1:
        raise UserError(
            f"{name} has {components} values per voxel (a sequence, or a colour or vector image).",
            "Choose a grey-value CT or MR volume; export one frame of a sequence.",
        )
    if len(sizes) != 3:
        raise UserError(
            f"{name} has {len(sizes)} dimensions ({' x '.join(map(str, sizes))}), not 3.",
            "Choose a 3-D volume; export one frame of a sequence.",
        )


def _modality(image: sitk.Image) -> str | None:
    """Return the modality from the DICOM tag, which NRRD files made from a series may keep."""
    known = {"CT": "ct", "MR": "mr"}
    return known.get(_tag(image, _MODALITY_TAG).upper())


def _frame(image: sitk.Image) -> str | None:
    """Return the hash of the Frame of Reference UID from the DICOM tag, which NRRD files may keep.

    The UID itself identifies a study of the patient, and does not belong into a result.
    """
    stated = _tag(image, _FRAME_HASH)
    if re.fullmatch("[0-9a-f]{64}", stated):
        return stated
    uid = _tag(image, _FRAME_TAG)
    return hashlib.sha256(uid.encode()).hexdigest() if uid else None


def _tag(image: sitk.Image, tag: str) -> str:
    return image.GetMetaData(tag).strip() if image.HasMetaDataKey(tag) else ""


def _geometry(image: sitk.Image, name: str) -> Geometry:
    direction = np.array(image.GetDirection()).reshape(3, 3)
    if not is_orthonormal(direction):
        raise not_orthonormal(name)
    spacing = image.GetSpacing()[::-1]
    least, most = _VOXEL_MM
    if not all(least <= s <= most for s in spacing):
        raise UserError(
            f"{name} has the voxel size {' x '.join(f'{s:g}' for s in spacing)} mm.",
            "Export the image again with its true voxel size.",
        )
    if not all(np.isfinite(image.GetOrigin())):
        raise UserError(
            f"{name} has the invalid origin {image.GetOrigin()}.", "Export the image again."
        )
    return Geometry(image.GetSize()[::-1], spacing, image.GetOrigin(), direction)


def _without_nan(array: np.ndarray, name: str, warn: Warn) -> np.ndarray:
    """Replace NaN outside the field of view by the minimum."""
    if array.dtype.kind != "f" or (finite := np.isfinite(array)).all():
        return array
    non_finite = ~finite
    pieces, _ = ndimage.label(non_finite, np.ones((3, 3, 3)))
    faces = [np.moveaxis(pieces, axis, 0)[[0, -1]] for axis in range(3)]
    at_border = np.unique(np.concatenate([face.ravel() for face in faces]))
    bad = int((non_finite & (np.isinf(array) | ~np.isin(pieces, at_border))).sum())
    if bad or non_finite.all():
        raise UserError(
            f"{name} holds {bad or array.size} values that are not numbers (NaN or infinite).",
            "Export the image again, or replace these values by the background.",
        )
    count = int(non_finite.sum())
    warn(
        f"{count} voxels of {name} at the border of the image are not numbers (NaN); they are "
        "treated as outside of the field of view."
    )
    return np.where(non_finite, array[finite].min(), array)


def _values(array: np.ndarray, name: str) -> np.ndarray:
    """Convert to int16 if that is lossless, else to float32."""
    low, high = float(array.min()), float(array.max())
    if low == high:
        raise UserError(
            f"{name} has the value {low:g} in every voxel.", "Choose an image that shows a spine."
        )
    if low >= -32768 and high <= 32767:
        whole = array.astype(np.int16)
        if np.array_equal(whole, array):
            return whole
    return array.astype(np.float32)


def _ignore(message: str) -> None:
    """Drop a warning."""
