"""Read images, or say in a sentence why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from spinemamba.common.atomic_files import check_spelling
from spinemamba.common.errors import UserError
from spinemamba.common.process_tuning import enough_memory
from spinemamba.common.progress import Warn
from spinemamba.imaging.formats.image_file import read_file
from spinemamba.imaging.formats.stated_geometry import is_orthonormal, not_orthonormal
from spinemamba.imaging.volume import Geometry, Volume

LEAST_VOXELS = 8
"""Along every axis; less is a slice, not a volume."""

LABEL_ROUNDING = 0.05
"""Labels that were computed as floats are often stored scaled, which moves them a little."""

VOXEL_MM = (0.01, 50.0)
"""Sizes that a voxel can have; smaller ones are metres written as millimetres."""

DICOM_MARK = (128, b"DICM")
"""Where a DICOM file says that it is one; many have no suffix."""

MODALITY_TAG = "0008|0060"


def read_volume(path: Path, warn: Warn | None = None) -> Volume:
    """Read an image.

    Args:
        path: NRRD, NIfTI or MetaImage file, DICOM file, or folder with a DICOM series.
        warn: Told what the user should know about the file.

    Returns:
        The image as stored: int16 if its values are whole and fit, else float32. What is not a
        number (NaN) and reaches the border lies outside of what was scanned; it becomes the
        least value of the image.

    Raises:
        UserError: If there is no such file, it is damaged, does not say or contradicts itself
            where its voxels lie, or it is not a 3-D grey-value image of at least `LEAST_VOXELS`
            voxels along every axis, with finite and different values; if there is too little
            memory (OOM_HOST).
    """
    warn = warn or _ignore
    with enough_memory():
        volume = _checked(_open(path, warn), path.name)
        array = _without_nan(volume.array, path.name, warn)
        return volume.with_array(_values(array, path.name))


def read_labels(path: Path) -> Volume:
    """Read a label image, which may be background everywhere.

    Args:
        path: As for `read_volume`.

    Returns:
        The label values: as stored if that is a type of whole numbers, else int16.

    Raises:
        UserError: As `read_volume`, but an image of one value is read; if a value is further than
            `LABEL_ROUNDING` from a whole number.
    """
    with enough_memory():
        return labels_in(_open(path, _ignore), path.name)


def labels_in(image: sitk.Image, name: str) -> Volume:
    """Return the label values of an image; as `read_labels`."""
    volume = _checked(image, name)
    if volume.array.dtype.kind in "iu":
        return volume
    with np.errstate(invalid="ignore"):  # what is no number differs below
        labels = np.rint(volume.array).astype(np.int16)
        wrong = volume.array[~(np.abs(volume.array - labels) <= LABEL_ROUNDING)]
    if wrong.size:
        raise UserError(
            f"{name} holds values that are no labels, such as {wrong[0]:g}.",
            "Choose a label image, not the CT, the MR or probabilities.",
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
    if not is_orthonormal(direction):
        raise not_orthonormal(name)
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


def _without_nan(array: np.ndarray, name: str, warn: Warn) -> np.ndarray:
    """Return values with the least one where NaN lies outside of what was scanned."""
    if array.dtype.kind != "f" or (finite := np.isfinite(array)).all():
        return array
    strange = ~finite
    pieces, _ = ndimage.label(strange, np.ones((3, 3, 3)))
    faces = [np.moveaxis(pieces, axis, 0)[[0, -1]] for axis in range(3)]
    at_border = np.unique(np.concatenate([face.ravel() for face in faces]))
    bad = int((strange & (np.isinf(array) | ~np.isin(pieces, at_border))).sum())
    if bad or strange.all():
        raise UserError(
            f"{name} holds {bad or array.size} values that are not numbers (NaN or infinite).",
            "Export the image again, or replace these values by the background.",
        )
    count = int(strange.sum())
    warn(
        f"{count} voxels of {name} at the border of the image are not numbers (NaN); they count "
        "as outside of what was scanned."
    )
    return np.where(strange, array[finite].min(), array)


def _values(array: np.ndarray, name: str) -> np.ndarray:
    """Return int16 where nothing is lost, else float32."""
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
