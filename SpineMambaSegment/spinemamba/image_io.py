"""Read images, or say in a sentence why not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spinemamba.errors import UserError
from spinemamba.volume import Geometry, Volume

FORMATS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
LEAST_VOXELS = 8
"""Along every axis; less is a slice, not a volume."""

ORTHONORMAL_TOLERANCE = 1e-3
VOXEL_MM = (0.01, 50.0)
"""Sizes that a voxel can have; smaller ones are metres written as millimetres."""

DICOM_MARK = (128, b"DICM")
"""Where a DICOM file says that it is one; many have no suffix."""

MODALITY_TAG = "0008|0060"

Warn = Callable[[str], None]


def read_volume(path: Path, warn: Warn | None = None) -> Volume:
    """Read an image.

    Args:
        path: NRRD, NIfTI or MetaImage file, DICOM file, or folder with a DICOM series.
        warn: Told what the user should know about the file.

    Returns:
        The image as stored: int16 if its values are whole and fit, else float32.

    Raises:
        UserError: If there is no such file, or it is not a 3-D grey-value image of at least
            `LEAST_VOXELS` voxels along every axis, with finite and different values.
    """
    volume = _checked(_open(path, warn or _ignore), path.name)
    return volume.with_array(_values(volume.array, path.name))


def read_labels(path: Path) -> Volume:
    """Read a label image, which may be background everywhere.

    Args:
        path: As for `read_volume`.

    Returns:
        The label values: as stored if that is a type of whole numbers, else int16.

    Raises:
        UserError: As `read_volume`, but an image of one value is read; if a value is no whole
            number.
    """
    return labels_in(_open(path, _ignore), path.name)


def labels_in(image: sitk.Image, name: str) -> Volume:
    """Return the label values of an image; as `read_labels`."""
    volume = _checked(image, name)
    if volume.array.dtype.kind in "iu":
        return volume
    with np.errstate(invalid="ignore"):  # what is no number differs below
        labels = volume.array.astype(np.int16)
    wrong = volume.array[labels != volume.array]
    if wrong.size:
        raise UserError(
            f"{name} holds values that are no labels, such as {wrong[0]:g}.",
            "Choose a label image, not the CT, the MR or probabilities.",
        )
    return volume.with_array(labels)


def _open(path: Path, warn: Warn) -> sitk.Image:
    if not _exists(path):
        raise UserError(f"Input not found: {path}.", "Check the path.")
    if path.is_dir() or _is_dicom(path):
        from spinemamba.dicom import read_series

        return read_series(path, warn)
    return _read_file(path)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no file system allows
        return False


def _is_dicom(path: Path) -> bool:
    offset, mark = DICOM_MARK
    try:
        with path.open("rb") as file:
            start = file.read(offset + len(mark))
    except OSError as error:
        raise UserError(
            f"{path.name} may not be read: {error.strerror}.",
            "Ask for permission to read it, or copy it to a folder of your own.",
        ) from error
    return path.suffix.lower() in (".dcm", ".ima") or start[offset:] == mark


def _read_file(path: Path) -> sitk.Image:
    if not path.name.lower().endswith(FORMATS):
        raise UserError(
            f"{path.name} is not an image format that can be read.",
            f"Give a DICOM folder or one of {', '.join(FORMATS)}.",
        )
    if path.stat().st_size == 0:
        raise UserError(f"{path.name} is empty (0 bytes).", "Export or copy the image again.")
    try:
        image = sitk.ReadImage(str(path))
        if path.name.lower().endswith((".nii", ".nii.gz")):
            _check_whole(path, image)
    except (RuntimeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        if "orthonormal" in str(error).lower():
            raise _not_orthonormal(path.name) from error
        raise UserError(
            f"{path.name} cannot be read: it is damaged, cut off, or not what its name says.",
            "Export or copy the image again.",
        ) from error
    return image


def _check_whole(path: Path, image: sitk.Image) -> None:
    """Raise EOFError if a NIfTI file is cut off: ITK fills what is missing with zeros."""
    if image.GetNumberOfComponentsPerPixel() != 1:
        return  # refused later, for a better reason
    # As stored: a slope makes ITK read small integers into large floats.
    bits, start = (int(float(image.GetMetaData(key))) for key in ("bitpix", "vox_offset"))
    if path.suffix.lower() == ".gz":
        with gzip.open(path) as file:
            size = sum(map(len, iter(lambda: file.read(1 << 22), b"")))
    else:
        size = path.stat().st_size
    if size < start + image.GetNumberOfPixels() * bits // 8:
        raise EOFError


def _checked(image: sitk.Image, name: str) -> Volume:
    """Turn an image into a volume with its values as stored, or say why it is none."""
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(
            f"{name} has {image.GetNumberOfComponentsPerPixel()} values per voxel (a colour or "
            "vector image).",
            "Choose a grey-value CT or MR volume.",
        )
    if "complex" in image.GetPixelIDTypeAsString():
        raise UserError(
            f"{name} holds numbers of the kind '{image.GetPixelIDTypeAsString()}'.",
            "Choose a grey-value CT or MR volume, for MR the magnitude image.",
        )
    size = image.GetSize()
    if len(size) == 4 and size[3] == 1:
        image = image[:, :, :, 0]
    elif len(size) != 3:
        raise UserError(
            f"{name} has {len(size)} dimensions ({' x '.join(map(str, size))}), not 3.",
            "Choose a 3-D volume; export one frame of a sequence.",
        )
    if min(image.GetSize()) < LEAST_VOXELS:
        raise UserError(
            f"{name} has only {min(image.GetSize())} voxels along one axis "
            f"({' x '.join(map(str, image.GetSize()))}).",
            f"Choose a volume with at least {LEAST_VOXELS} voxels along every axis.",
        )
    geometry = _geometry(image, name)
    return Volume(sitk.GetArrayFromImage(image), geometry, _modality(image))


def _modality(image: sitk.Image) -> str | None:
    """Return the modality by DICOM's tag; an NRRD file made from a series may hold it, too."""
    known = {"CT": "ct", "MR": "mr"}
    name = image.GetMetaData(MODALITY_TAG) if image.HasMetaDataKey(MODALITY_TAG) else ""
    return known.get(name.strip().upper())


def _geometry(image: sitk.Image, name: str) -> Geometry:
    direction = np.array(image.GetDirection()).reshape(3, 3)
    if np.abs(direction @ direction.T - np.eye(3)).max() > ORTHONORMAL_TOLERANCE:
        raise _not_orthonormal(name)
    spacing = image.GetSpacing()[::-1]
    least, most = VOXEL_MM
    if not all(least <= s <= most for s in spacing):
        raise UserError(
            f"{name} has the voxel size {' x '.join(f'{s:g}' for s in spacing)} mm.",
            "Export the image again with its true voxel size.",
        )
    if not all(np.isfinite(image.GetOrigin())):
        raise UserError(
            f"{name} lies at {image.GetOrigin()}, which is no place.", "Export the image again."
        )
    return Geometry(image.GetSize()[::-1], spacing, image.GetOrigin(), direction)


def _not_orthonormal(name: str) -> UserError:
    return UserError(
        f"{name} has axes that are not at right angles (a sheared volume).",
        "Resample the volume to a regular grid, for example with Slicer's 'Resample Scalar "
        "Volume', and try again.",
    )


def _values(array: np.ndarray, name: str) -> np.ndarray:
    """Return int16 where nothing is lost, else float32."""
    if array.dtype.kind == "f":
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            raise UserError(
                f"{name} holds {bad} values that are not numbers (NaN or infinite).",
                "Export the image again, or replace these values by the background.",
            )
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
    """Warn nobody."""
