"""Read an image file whole and as its header says, or say in a sentence why not."""

from __future__ import annotations

import gzip
import locale
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from spinemamba.imaging.formats.stored_voxels import UnreadableError, Walked, walk

READERS: dict[str, Callable[[Path], ImageHeader]] = {
    ".nii.gz": read_nifti_header,
    ".nii": read_nifti_header,
    ".nrrd": read_nrrd_header,
    ".nhdr": read_nrrd_header,
    ".mha": read_metaimage_header,
    ".mhd": read_metaimage_header,
}
FORMATS = tuple(READERS)
DAMAGED = (
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    EOFError,
    struct.error,
    zlib.error,
    gzip.BadGzipFile,
)
"""What a header raises that is not what its file's name says."""

SCALE_ROUNDING = 1e-5
"""Share of the greatest value that the library's float32 may be off after scaling."""


def read_file(path: Path) -> sitk.Image:
    """Read an image that is no DICOM: lengths in mm, and NaN where the file has it.

    Args:
        path: One of `FORMATS`; also a vector image or one of other dimensions.

    Raises:
        UserError: If it is no such file; if voxels are missing, too many or damaged; if it does
            not say where its voxels lie, or says it differently twice, or otherwise than the
            library reads it; if there is too little memory (OOM_HOST).
    """
    check_spelling(path)
    end = next((end for end in FORMATS if path.name.lower().endswith(end)), None)
    if end is None:
        raise UserError(
            f"{path.name} is not an image format that can be read.",
            f"Give a DICOM folder or one of {', '.join(FORMATS)}.",
        )
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path.name} is empty (0 bytes).", "Export or copy the image again.")
        with enough_memory(), quiet_library():
            return _guarded(path, READERS[end])
    except UnreadableError as error:
        raise _unreadable(path, str(error)) from error
    except DAMAGED as error:
        raise _unreadable(path) from error
    except OSError as error:
        raise _unreadable(path, str(error.strerror or error)) from error
    except RuntimeError as error:
        if "orthonormal" in str(error).lower():
            raise not_orthonormal(path.name) from error
        raise _unreadable(path) from error


def _unreadable(path: Path, why: str = "") -> UserError:
    why = why or "it is damaged, cut off, or not what its name says"
    return UserError(f"{path.name} cannot be read: {why}.", "Export or copy the image again.")


def _guarded(path: Path, read_header: Callable[[Path], ImageHeader]) -> sitk.Image:
    header = read_header(path)
    # Before the library reserves memory for what the header says.
    found = walk(header.voxels)
    sizes, shape = _without_ones(header.sizes), header.sizes[:3]
    spatial = len(sizes) in (3, 4)
    if spatial:
        check_statements(path.name, shape, header.statements, header.missing)
    image = _read(path)
    if (read := _without_ones(image.GetSize())) != sizes:
        raise UnreadableError(
            f"its header states {_times(sizes)} voxels, but {_times(read)} are read"
        )
    _check_values(image, header, found)
    if spatial:
        said = (*header.statements, _statement(image))
        check_statements(path.name, shape, said, header.missing)
        _to_mm(image, header.unit_mm)
    return image if found.strange is None else _with_strange(image, found)


@contextmanager
def quiet_library() -> Iterator[None]:
    """Let ITK print no warnings of its own: what matters is told in a sentence.

    Numbers in headers have a point. Where a program has chosen a locale that writes a comma, ITK
    reads them up to the point, and writes commas.
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
    # Of a.nii.gz the library reads only the header, and the voxels of a.nii if that is beside it.
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "image.nii.gz"
        shutil.copyfile(path, alone)
        return sitk.ReadImage(str(alone))


def _without_ones(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Return sizes without axes behind the third that have one voxel."""
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes = sizes[:-1]
    return sizes


def _times(numbers: tuple[int, ...]) -> str:
    return " x ".join(map(str, numbers))


def _check_values(image: sitk.Image, header: ImageHeader, found: Walked) -> None:
    """Refuse values that are not those of the file, as after a failed decompression."""
    if not header.in_order:
        return
    values = sitk.GetArrayViewFromImage(image)
    if header.voxels.scale is not None:
        factor, shift = header.voxels.scale
        ends = sorted(factor * end + shift for end in found.ends)
        rounding = SCALE_ROUNDING * max(map(abs, ends))
        same = np.allclose((values.min(), values.max()), ends, rtol=0, atol=rounding)
    else:
        same = values.dtype == header.voxels.dtype.newbyteorder("=")
        same = same and zlib.crc32(np.ascontiguousarray(values)) == found.crc
    if not same:
        raise UnreadableError("its voxels are read otherwise than they are stored")


def _statement(image: sitk.Image) -> Statement:
    axes = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(axes, axes)[:3, :3]
    return Statement("as it is read", image.GetSpacing()[:3], direction, image.GetOrigin()[:3])


def _to_mm(image: sitk.Image, unit_mm: float) -> None:
    """Turn lengths into millimetres where the library ignores the unit of a header."""
    if unit_mm != 1:
        for get, put in (
            (image.GetSpacing, image.SetSpacing),
            (image.GetOrigin, image.SetOrigin),
        ):
            put([value * unit_mm for value in get()])


def _with_strange(image: sitk.Image, found: Walked) -> sitk.Image:
    """Return an image with NaN where the file has NaN or infinity, which the library hides."""
    array = sitk.GetArrayFromImage(image)
    array.reshape(-1)[found.strange] = np.inf if found.infinite else np.nan
    vector = image.GetNumberOfComponentsPerPixel() > 1
    again = sitk.GetImageFromArray(array, isVector=vector)
    again.CopyInformation(image)
    return again
