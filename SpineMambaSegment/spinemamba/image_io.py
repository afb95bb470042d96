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
NIFTI_HEADER_BYTES = 348
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
    warn = warn or _ignore
    if not path.exists():
        raise UserError(f"Input not found: {path}.", "Check the path.")
    if path.is_dir() or path.suffix.lower() in (".dcm", ".ima"):
        from spinemamba.dicom import read_series

        image = read_series(path, warn)
    else:
        image = _read_file(path)
    return _checked(image, path.name)


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
    voxel_bytes = sitk.GetArrayViewFromImage(image).itemsize
    expected = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel() * voxel_bytes
    if path.suffix.lower() == ".gz":
        with gzip.open(path) as file:
            size = sum(map(len, iter(lambda: file.read(1 << 22), b"")))
    else:
        size = path.stat().st_size
    # Scaled integers are stored in fewer bytes than they are read into.
    least = expected // voxel_bytes if _is_scaled(image) else expected
    if size < least + NIFTI_HEADER_BYTES:
        raise EOFError


def _is_scaled(image: sitk.Image) -> bool:
    """Return whether NIfTI's slope and intercept changed the values, and with them the type."""

    def number(key: str, usual: float) -> float:
        return float(image.GetMetaData(key)) if image.HasMetaDataKey(key) else usual

    return number("scl_slope", 1.0) not in (0.0, 1.0) or number("scl_inter", 0.0) != 0.0


def _checked(image: sitk.Image, name: str) -> Volume:
    """Turn an image into a volume, or say why it is none."""
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(
            f"{name} has {image.GetNumberOfComponentsPerPixel()} values per voxel (a colour or "
            "vector image).",
            "Choose a grey-value CT or MR volume.",
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
    return Volume(_values(sitk.GetArrayFromImage(image), name), geometry)


def _geometry(image: sitk.Image, name: str) -> Geometry:
    direction = np.array(image.GetDirection()).reshape(3, 3)
    if np.abs(direction @ direction.T - np.eye(3)).max() > ORTHONORMAL_TOLERANCE:
        raise _not_orthonormal(name)
    spacing = image.GetSpacing()[::-1]
    if not all(np.isfinite(spacing)) or min(spacing) <= 0 or max(spacing) > 50:
        raise UserError(
            f"{name} has the voxel size {' x '.join(f'{s:g}' for s in spacing)} mm.",
            "Export the image again with its true voxel size.",
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
    if array.dtype.kind in "iu" and low >= -32768 and high <= 32767:
        return array.astype(np.int16)
    return array.astype(np.float32)


def _ignore(message: str) -> None:
    """Warn nobody."""
