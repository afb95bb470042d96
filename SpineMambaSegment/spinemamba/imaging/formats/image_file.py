"""Read image files that are not DICOM, and verify them against their header."""

from __future__ import annotations

import gzip
import locale
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from spinemamba.common.atomic_files import check_spelling
from spinemamba.common.errors import UserError
from spinemamba.common.process_tuning import enough_memory
from spinemamba.imaging.formats.image_header import ImageHeader
from spinemamba.imaging.formats.metaimage_header import read_metaimage_header
from spinemamba.imaging.formats.nifti_header import read_nifti_header
from spinemamba.imaging.formats.nrrd_header import read_nrrd_header
from spinemamba.imaging.formats.stated_geometry import Statement, check_statements, not_orthonormal
from spinemamba.imaging.formats.stored_voxels import UnreadableError, VoxelScan, scan_voxels
from spinemamba.protocol.image_formats import IMAGE_KINDS

READERS: dict[str, Callable[[Path], ImageHeader]] = {
    ".nii.gz": read_nifti_header,
    ".nii": read_nifti_header,
    ".nrrd": read_nrrd_header,
    ".nhdr": read_nrrd_header,
    ".mha": read_metaimage_header,
    ".mhd": read_metaimage_header,
}
FORMATS = tuple(IMAGE_KINDS)
PARSE_ERRORS = (
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    EOFError,
    struct.error,
    zlib.error,
    gzip.BadGzipFile,
)
"""Raised while parsing a header of another format or a damaged one."""

SCALE_ROUNDING = 1e-5
"""Largest float32 error of scaled values, relative to the largest value."""


def read_file(path: Path) -> sitk.Image:
    """Read an image that is not DICOM, with lengths in mm and NaN as stored.

    Args:
        path: File in one of `FORMATS`. Vector images and other dimensions are accepted.

    Raises:
        UserError: If the format is unknown; if voxels are missing, surplus or damaged; if the
            geometry is missing, contradictory or read differently by the library; if memory is
            too small (OOM_HOST).
    """
    with _translated_errors(path), enough_memory(), quiet_library():
        return _guarded(path, _reader(path))


def read_header(path: Path) -> ImageHeader:
    """Read the header of an image that is not DICOM, without its voxels.

    Args:
        path: As for `read_file`.

    Raises:
        UserError: If the format is unknown, or the header is missing or damaged.
    """
    with _translated_errors(path):
        return _reader(path)(path)


def _reader(path: Path) -> Callable[[Path], ImageHeader]:
    check_spelling(path)
    end = next((end for end in FORMATS if path.name.lower().endswith(end)), None)
    if end is None:
        raise UserError(
            f"{path.name} is not in an image format that can be read.",
            f"Give a DICOM folder or one of {', '.join(FORMATS)}.",
        )
    if path.stat().st_size == 0:
        raise UserError(f"{path.name} is empty (0 bytes).", "Export or copy the image again.")
    return READERS[end]


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except UnreadableError as error:
        raise _unreadable(path, str(error)) from error
    except PARSE_ERRORS as error:
        raise _unreadable(path) from error
    except OSError as error:
        raise _unreadable(path, str(error.strerror or error)) from error
    except RuntimeError as error:
        if "orthonormal" in str(error).lower():
            raise not_orthonormal(path.name) from error
        raise _unreadable(path) from error


def _unreadable(path: Path, why: str = "") -> UserError:
    why = why or "it is damaged, truncated, or not of the type that its name states"
    return UserError(f"{path.name} cannot be read: {why}.", "Export or copy the image again.")


def _guarded(path: Path, read_header: Callable[[Path], ImageHeader]) -> sitk.Image:
    header = read_header(path)
    # Before the library allocates memory for the size that the header states.
    scan = scan_voxels(header.voxels)
    sizes, shape = header.volume_sizes, header.sizes[:3]
    spatial = len(sizes) in (3, 4)
    if spatial:
        check_statements(path.name, shape, header.statements, header.missing)
    image = _read(path)
    if (read := replace(header, sizes=image.GetSize()).volume_sizes) != sizes:
        raise UnreadableError(
            f"its header states {_times(sizes)} voxels, but {_times(read)} are read"
        )
    _check_values(image, header, scan)
    if spatial:
        statements = (*header.statements, _statement(image))
        check_statements(path.name, shape, statements, header.missing)
        _to_mm(image, header.unit_mm)
    return image if scan.non_finite is None else _with_non_finite(image, scan)


@contextmanager
def quiet_library() -> Iterator[None]:
    """Suppress ITK's warnings, and make it read and write numbers in the C locale.

    In a locale with a decimal comma, ITK reads numbers of a header up to the point, and writes
    commas.
    """
    was_on = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    numbers = locale.setlocale(locale.LC_NUMERIC)
    locale.setlocale(locale.LC_NUMERIC, "C")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_NUMERIC, numbers)
        sitk.ProcessObject.SetGlobalWarningDisplay(was_on)


def _read(path: Path) -> sitk.Image:
    if not path.name.lower().endswith(".nii.gz") or not path.with_suffix("").exists():
        return sitk.ReadImage(str(path))
    # If a.nii lies beside a.nii.gz, the library reads the voxels from a.nii.
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "image.nii.gz"
        shutil.copyfile(path, alone)
        return sitk.ReadImage(str(alone))


def _times(numbers: tuple[int, ...]) -> str:
    return " x ".join(map(str, numbers))


def _check_values(image: sitk.Image, header: ImageHeader, scan: VoxelScan) -> None:
    """Refuse values that differ from those in the file, as after a failed decompression."""
    if not header.in_order:
        return
    values = sitk.GetArrayViewFromImage(image)
    if header.voxels.scale is not None:
        factor, shift = header.voxels.scale
        ends = sorted(factor * end + shift for end in scan.ends)
        rounding = SCALE_ROUNDING * max(map(abs, ends))
        same = np.allclose((values.min(), values.max()), ends, rtol=0, atol=rounding)
    else:
        same = values.dtype == header.voxels.dtype.newbyteorder("=")
        same = same and zlib.crc32(np.ascontiguousarray(values)) == scan.crc
    if not same:
        raise UnreadableError("its voxels are read differently from how they are stored")


def _statement(image: sitk.Image) -> Statement:
    axes = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(axes, axes)[:3, :3]
    return Statement("as read", image.GetSpacing()[:3], direction, image.GetOrigin()[:3])


def _to_mm(image: sitk.Image, unit_mm: float) -> None:
    """Convert lengths to millimetres, because the library ignores the unit of the header."""
    if unit_mm != 1:
        for get, put in (
            (image.GetSpacing, image.SetSpacing),
            (image.GetOrigin, image.SetOrigin),
        ):
            put([value * unit_mm for value in get()])


def _with_non_finite(image: sitk.Image, scan: VoxelScan) -> sitk.Image:
    """Put NaN (infinity if the file has any) where the library replaced non-finite values by 0."""
    array = sitk.GetArrayFromImage(image)
    array.reshape(-1)[scan.non_finite] = np.inf if scan.infinite else np.nan
    vector = image.GetNumberOfComponentsPerPixel() > 1
    out = sitk.GetImageFromArray(array, isVector=vector)
    out.CopyInformation(image)
    return out
